import { expect, test } from "vitest";
import { seededRandom } from "../../shared/runtime/random.ts";
import { Drift } from "./drift.ts";

function alarms(errorAt: (t: number, noise: number) => number): readonly number[] {
  const random = seededRandom("drift");
  const drift = new Drift(24);
  for (let t = 0; t < 1000; t++) drift.update(t, errorAt(t, random.next() - 0.5));
  return drift.alarms;
}

test("drift: none (noise; one spike; a wider scatter for an hour)", () => {
  expect(alarms((_, noise) => noise)).toEqual([]);
  expect(alarms((t, noise) => (t === 500 ? 1000 : noise))).toEqual([]);
  expect(alarms((t, noise) => (t > 500 && t < 505 ? 6 * noise : noise))).toEqual([]);
});

test("drift: once for a change that the forecast catches up with (up and down)", () => {
  for (const sign of [1, -1]) {
    const told = alarms((t, noise) => noise + (t < 500 ? 0 : sign * 3 * 0.96 ** (t - 500)));
    expect(told).toHaveLength(1);
    expect(told[0]).toBeGreaterThanOrEqual(500);
    expect(told[0]).toBeLessThan(524);
  }
});
