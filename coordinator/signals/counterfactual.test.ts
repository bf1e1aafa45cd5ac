import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { seededRandom } from "../../shared/runtime/random.ts";
import { counterfactual } from "./counterfactual.ts";

const MINUTE = 60_000;
const DAY = 1440;
const startMs = Date.UTC(2026, 0, 5);
const at = (minute: number) => startMs + minute * MINUTE;
const always = () => true;

function demand(days: number, rateOf: (minute: number) => number) {
  return { startMs, counts: Float64Array.from({ length: days * DAY }, (_, m) => rateOf(m)) };
}
const expected = (
  d: ReturnType<typeof demand>,
  from: number,
  minutes: number,
  free: (fromMs: number, toMs: number) => boolean = always,
) =>
  counterfactual(
    d,
    { fromMs: at(from), toMs: at(from + minutes) },
    [{ fromMs: at(from), toMs: at(from + minutes) }],
    free,
  );

describe("counterfactual", () => {
  test("follows the time of day (a peak at noon)", () => {
    const d = demand(9, (m) => (Math.floor((m % DAY) / 60) === 12 ? 30 : 3));
    expect(expected(d, 8 * DAY + 720, 60)?.expected[0]).toBeCloseTo(1800, -1);
    expect(expected(d, 8 * DAY + 600, 60)?.expected[0]).toBeCloseTo(180, 0);
  });

  test("follows the level (twice as much since two days)", () => {
    const d = demand(9, (m) => (m < 6 * DAY ? 5 : 10));
    expect(expected(d, 8 * DAY, 120)?.expected[0]).toBeCloseTo(1200, -1);
  });

  test("makes do with hours (a category of this morning)", () => {
    const d = demand(2, (m) => (m < 1.5 * DAY ? 0 : 4));
    expect(expected(d, 1.5 * DAY + 180, 60)?.expected[0]).toBeCloseTo(240, 0);
  });

  test("says nothing without history", () => {
    expect(
      expected(
        demand(1, (m) => (m > 700 ? 1 : 0)),
        720,
        60,
      ),
    ).toBeNull();
    expect(
      expected(
        demand(1, () => 0),
        720,
        60,
      ),
    ).toBeNull();
  });

  test("placebos show how far off it is by itself", () => {
    const random = seededRandom(1);
    const level = Array.from({ length: 30 * 24 }, () => Math.exp(0.3 * random.normal()));
    const d = demand(20, (m) => 50 * (level[Math.floor(m / 60)] ?? 1));
    const found = expected(d, 19 * DAY, 60);
    expect(found?.placebos.length).toBe(14);
    const errors = (found?.placebos ?? []).map((p) => Math.log(p.actual / p.expected) ** 2);
    const rms = Math.sqrt(errors.reduce((a, b) => a + b, 0) / errors.length);
    expect(rms).toBeGreaterThan(0.1);
    expect(rms).toBeLessThan(0.6);
  });

  test("placebos keep away from events while there are other days", () => {
    const d = demand(20, () => 5);
    const busy = at(10 * DAY);
    const found = expected(d, 19 * DAY, 60, (fromMs) => fromMs < busy);
    expect(found?.placebos.length).toBeGreaterThanOrEqual(3);
    expect(found?.placebos.length).toBeLessThanOrEqual(5);
  });

  test("looks at nothing after the window's begin", () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(50), { minLength: 6 * DAY, maxLength: 6 * DAY }),
        fc.nat(1000),
        fc.constantFrom(90, 2_000),
        (counts, later, minutes) => {
          const from = 5 * DAY + 300;
          const changed = counts.map((c, m) => (m < from ? c : later));
          const one = expected({ startMs, counts: Float64Array.from(counts) }, from, minutes);
          const two = expected({ startMs, counts: Float64Array.from(changed) }, from, minutes);
          expect(two).toEqual(one);
        },
      ),
      { numRuns: 20 },
    );
  });
});
