import { expect, test } from "vitest";
import { seededRandom } from "../../shared/runtime/random.ts";
import { INTERMITTENT, Intermittent } from "./intermittent.ts";
import { LEVELS } from "./levels.ts";

const L = LEVELS.length;
const NAMES = INTERMITTENT.map(([name]) => name);

function seen(zAt: (t: number) => number, bins: number, horizon = 12): Intermittent {
  const expert = new Intermittent(horizon);
  for (let t = 0; t < bins; t++) expert.update(zAt(t));
  return expert;
}

function quantile(expert: Intermittent, name: string, ahead: number, level: number): number {
  const rows = new Float64Array(INTERMITTENT.length * L);
  expert.write(ahead, rows, 0);
  return rows[NAMES.indexOf(name) * L + LEVELS.indexOf(level as 0.5)] ?? Number.NaN;
}

test("intermittent: idle time foretells a timer, demand and pauses alike (each bin of two rounds)", () => {
  const every = 7;
  const expert = seen((t) => (t % every === 0 ? 2 : 0), 50 * every);
  for (let ahead = 1; ahead <= 12; ahead++) {
    const due = (50 * every + ahead - 1) % every === 0;
    for (const level of [0.1, 0.5, 0.9]) {
      expect(quantile(expert, "idle-time", ahead, level)).toBeCloseTo(due ? 2 : 0, 6);
    }
  }
});

test("intermittent: quantiles are those of zero and sizes together (one bin in five has demand)", () => {
  const random = seededRandom("sparse");
  const expert = seen(() => (random.next() < 0.2 ? 1 + random.next() : 0), 4000);
  expect(quantile(expert, "sparse", 3, 0.75)).toBe(0);
  // 0.9 of all bins is the middle of the sizes.
  expect(Math.abs(quantile(expert, "sparse", 3, 0.9) - 1.5)).toBeLessThan(0.25);
  expect(quantile(expert, "sparse", 3, 0.99)).toBeGreaterThan(1.7);
});

test("intermittent: is silent where demand never pauses", () => {
  expect(seen((t) => 1 + (t % 3), 500).awake).toBe(false);
  expect(
    quantile(
      seen(() => 0, 500),
      "sparse",
      1,
      0.5,
    ),
  ).toBeNaN();
});
