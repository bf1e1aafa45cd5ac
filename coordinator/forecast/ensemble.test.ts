import fc from "fast-check";
import { expect, test } from "vitest";
import { seededRandom } from "../../shared/runtime/random.ts";
import { Ensemble } from "./ensemble.ts";
import { LEVELS } from "./levels.ts";

const L = LEVELS.length;
const HOUR_MS = 3_600_000;
const past = (counts: number[] | Float64Array) => ({
  startMs: 0,
  binMs: HOUR_MS,
  counts: Float64Array.from(counts),
});

/** Poisson-like counts about a daily wave. */
function daily(bins: number, seed: string, scale = (_: number) => 1): Float64Array {
  const random = seededRandom(seed);
  return Float64Array.from({ length: bins }, (_, t) => {
    const mean = scale(t) * (100 + 80 * Math.sin((2 * Math.PI * t) / 24));
    const noise = random.next() + random.next() + random.next() - 1.5;
    return Math.max(0, Math.round(mean + 2 * noise * Math.sqrt(mean)));
  });
}

function expectSane(quantiles: Float64Array): void {
  for (const [i, value] of quantiles.entries()) {
    expect(Number.isFinite(value) && value >= 0).toBe(true);
    if (i % L > 0) expect(value).toBeGreaterThanOrEqual(quantiles[i - 1] ?? 0);
  }
}

test("ensemble: quantiles are finite, non-negative and rising (whatever the past)", () => {
  const count = fc.oneof(
    { weight: 4, arbitrary: fc.integer({ min: 0, max: 50 }) },
    fc.constantFrom(0, Number.NaN, 1e15, 1e-9),
  );
  fc.assert(
    fc.property(fc.array(count, { maxLength: 400 }), fc.integer({ min: 1, max: 30 }), (y, h) => {
      expectSane(Ensemble.fit(past(y), h).predict(h));
    }),
    { numRuns: 60 },
  );
});

test("ensemble: a year of zeros is forecast as zeros", () => {
  const quantiles = Ensemble.fit(past(new Float64Array(8760)), 12).predict(12);
  expect([...quantiles].every((value) => value < 0.5)).toBe(true);
});

test("ensemble: the same past gives the same forecasts, as a replay needs", () => {
  const counts = daily(700, "steps");
  const grown = Ensemble.fit(past(counts), 6);
  const again = Ensemble.fit(past(counts), 6);
  for (let t = 0; t < 50; t++) {
    grown.update(t);
    again.update(t);
  }
  expect([...grown.predict(6)]).toEqual([...again.predict(6)]);
});

test("ensemble: finds the day and follows it (a daily wave)", () => {
  const counts = daily(24 * 22, "wave");
  const origin = 24 * 20 + 5;
  const fitted = Ensemble.fit(past(counts.subarray(0, origin)), 24);
  expect(fitted.signal.seasons).toEqual([24]);
  const quantiles = fitted.predict(24);
  let error = 0;
  for (let h = 0; h < 24; h++) {
    const mean = 100 + 80 * Math.sin((2 * Math.PI * (origin + h)) / 24);
    error += Math.abs((quantiles[h * L + 4] ?? 0) - mean) / 24;
  }
  expect(error).toBeLessThan(9);
});

test("ensemble: nine in ten are inside the 90 % interval (steady; two seasons after ×3, which alarms once)", () => {
  const hits = { steady: 0, after: 0 };
  let rounds = 0;
  for (const seed of ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"]) {
    const step = 24 * 21;
    const counts = daily(step + 24 * 9, seed, (t) => (t < step ? 1 : 3));
    const fitted = Ensemble.fit(past(counts.subarray(0, step - 24 * 7)), 3);
    for (let t = step - 24 * 7; t < counts.length; t++) {
      const row = fitted.predict(1);
      const actual = counts[t] ?? 0;
      const inside = actual >= (row[1] ?? 0) && actual <= (row[7] ?? 0);
      if (t < step) hits.steady += Number(inside);
      else if (t >= step + 48) hits.after += Number(inside);
      if (t < step) rounds++;
      fitted.update(actual);
    }
    const alarms = fitted.drifts();
    expect(alarms).toHaveLength(1);
    expect(alarms[0]).toBeGreaterThanOrEqual(step);
    expect(alarms[0]).toBeLessThan(step + 24);
  }
  expect(hits.steady / rounds).toBeGreaterThan(0.85);
  expect(hits.steady / rounds).toBeLessThan(0.95);
  expect(hits.after / rounds).toBeGreaterThan(0.85);
  expect(hits.after / rounds).toBeLessThan(0.95);
});

test("ensemble: zeros in a series that is all but never zero are gaps, until they last", () => {
  const counts = daily(24 * 20, "gap");
  const medianAfter = (zeros: number) => {
    const fitted = Ensemble.fit(past(counts), 3);
    for (let i = 0; i < zeros; i++) fitted.update(0);
    return fitted.predict(1)[4] ?? Number.NaN;
  };
  expect(Math.abs(medianAfter(2) / (100 + 80 * Math.sin((2 * Math.PI * 2) / 24)) - 1)).toBeLessThan(
    0.25,
  );
  expect(medianAfter(30)).toBeLessThan(30);
});

test("ensemble: is no less sure for a week it knows (work days at three times the weekend)", () => {
  const random = seededRandom("week");
  const at = (t: number, weekly: boolean) => {
    const wave = 100 + 50 * Math.sin((2 * Math.PI * t) / 24);
    return wave * (weekly && Math.floor(t / 24) % 7 < 5 ? 3 : 1);
  };
  const noise = Float64Array.from({ length: 24 * 7 * 10 }, () => 1 + 0.2 * (random.next() - 0.5));
  const widthOf = (weekly: boolean) => {
    const counts = noise.map((part, t) => part * at(t, weekly));
    const row = Ensemble.fit(past(counts), 1).predict(1);
    return ((row[7] ?? 0) - (row[1] ?? 0)) / at(counts.length, weekly);
  };
  expect(widthOf(true)).toBeLessThan(1.5 * widthOf(false));
});
