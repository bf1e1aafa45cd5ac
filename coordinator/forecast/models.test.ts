import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { seededRandom } from "../../shared/runtime/random.ts";
import { countQuantiles, normalQuantile, pinballLoss } from "./counts.ts";
import { fastLog } from "./log.ts";
import { fitOccurrence, occurrence } from "./occurrence.ts";
import { PooledTable } from "./pooled.ts";

const MINUTE = 60_000;
const pastOf = (counts: ArrayLike<number>, binMs = MINUTE) => ({
  startMs: 0,
  binMs,
  counts: Float64Array.from(counts),
});
const MEDIAN = 3;

test("log: is the natural logarithm to 1.3e-4", () => {
  fc.assert(
    fc.property(fc.double({ min: 1e-30, max: 1e30, noNaN: true }), (x) => {
      expect(Math.abs(fastLog(x) - Math.log(x))).toBeLessThan(1.3e-4);
    }),
  );
});

test("pooled: frequencies follow the newest trials (context that changed)", () => {
  const table = new PooledTable(2, 100);
  for (let i = 0; i < 1000; i++) table.learn(1, false);
  for (let i = 0; i < 300; i++) table.learn(1, true);
  expect(table.trials(1)).toBeCloseTo(100);
  expect(table.hits(1) / table.trials(1)).toBeGreaterThan(0.9);
  expect(table.trials(0)).toBe(0);
  const copy = new PooledTable(2, 100);
  copy.restore(table.state());
  expect(copy.state()).toEqual(table.state());
});

describe("counts", () => {
  test.each([
    // Poisson quantiles at 5 10 25 50 75 90 95 %, from tables.
    [1, [0, 0, 0, 1, 2, 2, 3]],
    [4, [1, 2, 3, 4, 5, 7, 8]],
    [20, [13, 14, 17, 20, 23, 26, 28]],
  ])("counts: with no more scatter than Poisson its quantiles (mean %i)", (mean, quantiles) => {
    expect(countQuantiles(mean, mean)).toEqual(quantiles);
  });

  test("counts: quantiles rise for any mean and variance", () => {
    const positive = fc.double({ min: 0, max: 1e7, noNaN: true });
    fc.assert(
      fc.property(positive, positive, (mean, variance) => {
        const quantiles = countQuantiles(mean, variance);
        for (const [i, quantile] of quantiles.entries()) {
          expect(quantile).toBeGreaterThanOrEqual(quantiles[i - 1] ?? 0);
          expect(Number.isFinite(quantile)).toBe(true);
        }
      }),
    );
  });

  test("counts: nine in ten draws are inside (more scatter than Poisson, small and large)", () => {
    const random = seededRandom("gamma");
    for (const mean of [10, 1000]) {
      const spread = mean / 4;
      const quantiles = countQuantiles(mean, spread * spread);
      let inside = 0;
      for (let i = 0; i < 4000; i++) {
        const draw = Math.round(mean + spread * random.normal());
        if (draw >= (quantiles[0] ?? 0) && draw <= (quantiles[6] ?? 0)) inside++;
      }
      expect(inside / 4000).toBeGreaterThan(0.86);
      expect(inside / 4000).toBeLessThan(0.98);
    }
  });

  test("counts: the true quantiles have the least pinball loss", () => {
    const draws = Array.from({ length: 101 }, (_, i) => i);
    const loss = (quantiles: number[]) =>
      draws.reduce((sum, draw) => sum + pinballLoss(quantiles, draw), 0);
    const truth = [5, 10, 25, 50, 75, 90, 95];
    expect(loss(truth)).toBeLessThan(loss(truth.map((q) => q + 5)));
    expect(loss(truth)).toBeLessThan(loss(truth.map(() => 50)));
    expect(normalQuantile(0.95)).toBeCloseTo(1.645, 3);
    expect(normalQuantile(0.05)).toBeCloseTo(-1.645, 3);
  });
});

describe("occurrence", () => {
  test("occurrence: is the hazard first, the general rate once something may have come", () => {
    const probabilities = occurrence([0, 1, 0, 0], 0.2, 6);
    expect(probabilities[0]).toBe(0);
    expect(probabilities[1]).toBe(1);
    for (const probability of probabilities.slice(2)) expect(probability).toBeCloseTo(0.2);
  });

  test("occurrence: quantiles are zero up to P(nothing), then the usual counts", () => {
    const past = pastOf([0, 0, 12, 0, 8, 0, 10]);
    expect(fitOccurrence(past, [0.04])?.predict(0)).toEqual([0, 0, 0, 0, 0, 0, 0]);
    const likely = fitOccurrence(past, [1])?.predict(0) ?? [];
    expect(likely[MEDIAN]).toBeGreaterThan(7);
    expect(likely[MEDIAN]).toBeLessThan(13);
    expect(fitOccurrence(pastOf([0, 0]), [0.5])).toBeNull();
  });
});
