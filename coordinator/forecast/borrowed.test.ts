import { describe, expect, test } from "vitest";
import { seededRandom } from "../../shared/runtime/random.ts";
import { borrowedPast, type Lane } from "./borrowed.ts";

const DAY = 1440;
const BEGIN = 28_000_000;
const BIRTH = BEGIN + 5 * DAY;
const lane = (workload: string, category: string): Lane => ({
  key: `${workload}/${category}`,
  workload,
  category,
});
const NEW = lane("w", "new");
const peakOf = { morning: 0, evening: DAY / 2 };

/** A daily wave about `rate`, with Poisson-like scatter. */
function wave(rate: number, peak: number, seed: string) {
  const random = seededRandom(seed);
  const counts = Float64Array.from({ length: 6 * DAY }, (_, t) => {
    const mean = rate * (1 + 0.8 * Math.cos((2 * Math.PI * (BEGIN + t - peak)) / DAY));
    return Math.max(0, Math.round(mean + Math.sqrt(mean) * random.normal()));
  });
  return (from: number, to: number) =>
    Float64Array.from({ length: to - from }, (_, i) => counts[from + i - BEGIN] ?? 0);
}

const fleet = new Map([
  ["w/like", wave(100, peakOf.morning, "like")],
  ["w/other", wave(100, peakOf.evening, "other")],
  ["v/like", wave(100, peakOf.morning, "stranger")],
]);
const lanes = [lane("w", "like"), lane("w", "other"), lane("v", "like"), NEW];
const read = (of: Lane, from: number, to: number) =>
  fleet.get(of.key)?.(from, to) ?? new Float64Array(to - from);
const shownBy = (rate: number, peak: number, bins: number) => ({
  begin: BEGIN,
  birth: BIRTH,
  own: wave(rate, peak, "new")(BIRTH, BIRTH + bins),
});
const meanAt = (past: Float64Array, minuteOfDay: number) => {
  let sum = 0;
  for (let day = 0; day < 5; day++)
    for (let i = 0; i < 30; i++)
      sum += past[((((minuteOfDay - BEGIN) % DAY) + DAY) % DAY) + day * DAY + i] ?? 0;
  return sum / 150;
};

describe("a borrowed past", () => {
  test("has the shape of those that are like it, at its own level (a fifth of theirs)", () => {
    const past = borrowedPast(NEW, shownBy(20, peakOf.morning, 180), lanes, read);
    expect(past).toHaveLength(5 * DAY);
    const [high, low] = [
      meanAt(past ?? new Float64Array(), 0),
      meanAt(past ?? new Float64Array(), DAY / 2),
    ];
    expect(high).toBeGreaterThan(25);
    expect(high).toBeLessThan(46);
    expect(low).toBeLessThan(0.6 * high);
  });

  test("scatters as its own counts do (constant counts)", () => {
    const own = new Float64Array(120).fill(50);
    const past = borrowedPast(NEW, { begin: BEGIN, birth: BIRTH, own }, lanes, read);
    const steps = [...(past ?? [])].map((count, i, all) => Math.abs(count - (all[i - 1] ?? count)));
    expect(steps.reduce((a, b) => a + b, 0) / steps.length).toBeLessThan(5);
  });

  test("is the same each time, and knows nothing of what came after what was shown", () => {
    const shown = shownBy(20, peakOf.morning, 30);
    const blind = (of: Lane, from: number, to: number) => {
      expect(to).toBeLessThanOrEqual(BIRTH + 30);
      return read(of, from, to);
    };
    expect(borrowedPast(NEW, shown, lanes, blind)).toEqual(
      borrowedPast(NEW, shown, lanes.toReversed(), read),
    );
  });

  test("there is none where nobody has been there for days", () => {
    expect(borrowedPast(NEW, shownBy(20, 0, 60), [NEW], read)).toBeNull();
    const begin = BIRTH - DAY;
    expect(borrowedPast(NEW, { ...shownBy(20, 0, 60), begin }, lanes, read)).toBeNull();
  });
});
