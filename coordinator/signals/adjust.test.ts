import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { adjustForecast, adjustProbability, adjustQuantiles, withoutEffect } from "./adjust.ts";

const quantiles = fc
  .array(fc.double({ min: 0, max: 1e9, noNaN: true }), { minLength: 7, maxLength: 7 })
  .map((q) => q.toSorted((a, b) => a - b));
const log = fc.double({ min: -6, max: 6, noNaN: true });

describe("adjust: forecasts", () => {
  test("quantiles stay in order and non-negative, and move with the effect", () => {
    fc.assert(
      fc.property(quantiles, log, fc.double({ min: 0, max: 2, noNaN: true }), (q, l, sd) => {
        const moved = adjustQuantiles(q, l, sd);
        for (const [j, value] of moved.entries()) {
          expect(Number.isFinite(value) && value >= 0).toBe(true);
          expect(value).toBeGreaterThanOrEqual(moved[j - 1] ?? 0);
        }
      }),
    );
  });

  test("a sure effect multiplies, an unsure one widens about the same median", () => {
    const q = [1, 2, 5, 10, 15, 20, 25];
    expect(adjustQuantiles(q, Math.log(3), 0)).toEqual(q.map((v) => expect.closeTo(v * 3, 9)));
    const wide = adjustQuantiles(q, Math.log(3), 0.5);
    expect(wide[3]).toBeCloseTo(30, 9);
    expect(wide[6]).toBeGreaterThan(75);
    expect(wide[0]).toBeLessThan(3);
  });

  test("arrivals: a rate times three", () => {
    expect(adjustProbability(1 - Math.exp(-0.1), Math.log(3))).toBeCloseTo(1 - Math.exp(-0.3), 9);
    expect(adjustProbability(0, 5)).toBe(0);
    expect(adjustProbability(1, -5)).toBe(1);
  });

  test("without an event it is the base forecast itself", () => {
    const base = {
      workload: "w",
      category: "c",
      host: null,
      madeMs: 0,
      startMs: 0,
      binMs: 60_000,
      quantiles: [[1, 2, 3, 4, 5, 6, 7]],
      arrivalProbability: [0.5],
      mix: {},
    };
    expect(adjustForecast(base, null)).toBe(base);
    const effect = { logEffect: new Float64Array(1), sd: new Float64Array(1) };
    expect(adjustForecast(base, effect)).toEqual(base);
  });
});

describe("adjust: what the base models see", () => {
  const series = (counts: number[]) => ({
    startMs: 0,
    binMs: 60_000,
    counts: Float64Array.from(counts),
  });
  const effect = (value: number, bins: number) => ({
    logEffect: new Float64Array(bins).fill(Math.log(value)),
    sd: new Float64Array(bins),
  });

  test("many requests are divided", () => {
    expect([...withoutEffect(series([30, 9, 0]), effect(3, 3), "k")]).toEqual([
      expect.closeTo(10, 9),
      expect.closeTo(3, 9),
      0,
    ]);
  });

  test("single requests stay one or none, as often as they would have come", () => {
    const clean = withoutEffect(series(new Array(9_000).fill(1)), effect(3, 9_000), "w/c");
    expect(clean.every((v) => v === 0 || v === 1)).toBe(true);
    const kept = clean.reduce((a, b) => a + b, 0);
    expect(kept).toBeGreaterThan(2_800);
    expect(kept).toBeLessThan(3_200);
  });

  test("the same minute is decided alike from wherever the series begins", () => {
    const whole = withoutEffect(series(new Array(50).fill(1)), effect(3, 50), "w/c");
    const part = withoutEffect(
      { startMs: 20 * 60_000, binMs: 60_000, counts: new Float64Array(30).fill(1) },
      effect(3, 30),
      "w/c",
    );
    expect([...part]).toEqual([...whole.slice(20)]);
  });
});
