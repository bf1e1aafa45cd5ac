import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { countQuantiles } from "../forecast/counts.ts";
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

  const base = (quantiles: number[], arrival: number) => ({
    ...{ workload: "w", category: "c", host: null, madeMs: 0, startMs: 0, binMs: 60_000 },
    quantiles: [quantiles],
    arrivalProbability: [arrival],
    mix: {},
  });
  const effect = (log: number, sd = 0) => ({
    logEffect: Float64Array.of(log),
    sd: Float64Array.of(sd),
  });

  test("without an event it is the base forecast itself", () => {
    const forecast = base([1, 2, 3, 4, 5, 6, 7], 0.5);
    expect(adjustForecast(forecast, null, countQuantiles)).toBe(forecast);
    expect(adjustForecast(forecast, effect(0), countQuantiles)).toEqual(forecast);
  });

  test("rare requests become whole ones, as many as the mean says", () => {
    const rare = base([0, 0, 0, 0, 0, 1, 1], 1 - Math.exp(-0.2));
    const { quantiles, arrivalProbability } = adjustForecast(
      rare,
      effect(Math.log(10)),
      countQuantiles,
    );
    expect(quantiles[0]?.[3]).toBe(2);
    expect(quantiles[0]?.[6]).toBeLessThanOrEqual(6);
    expect(arrivalProbability[0]).toBeCloseTo(1 - Math.exp(-2), 6);
  });

  test("few or many: rising, finite, and never below none", () => {
    fc.assert(
      fc.property(quantiles, log, fc.double({ min: 0, max: 2, noNaN: true }), (q, l, sd) => {
        const few = q.map((v) => v % 7).toSorted((a, b) => a - b);
        const moved = adjustForecast(base(few, 0.3), effect(l, sd), countQuantiles).quantiles[0];
        for (const [j, value] of (moved ?? []).entries()) {
          expect(Number.isFinite(value)).toBe(true);
          expect(value).toBeGreaterThanOrEqual(moved?.[j - 1] ?? 0);
        }
      }),
    );
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

  test("many requests are divided, missing bins stay missing", () => {
    expect([...withoutEffect(series([30, 9, 0, Number.NaN]), effect(3, 4), "k")]).toEqual([
      expect.closeTo(10, 9),
      expect.closeTo(3, 9),
      0,
      Number.NaN,
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
