import { expect, test } from "vitest";
import { seededRandom } from "../../shared/runtime/random.ts";
import { DEFAULT_PRICE_OPTIONS, priceFromHistory } from "./price.ts";
import type { CurveSource, MinuteSeries } from "./replay.ts";

/** Knows the true rates: a memoryless process per key, plus a timer for keys that say so. */
function trueRates(rates: Map<string, number>): CurveSource {
  return {
    observe() {},
    curve: (key) => ({
      hazardPerMinute: new Array<number>(120).fill(rates.get(key) ?? 0),
      probabilityWithin: () => 0,
    }),
  };
}

function history(keys: number, minutes: number, seed: string) {
  const random = seededRandom(seed);
  const rates = new Map<string, number>();
  const series: MinuteSeries[] = [];
  for (let i = 0; i < keys; i++) {
    const key = `w${i}/c`;
    const rate = 0.005 * 1.35 ** (i % 15);
    rates.set(key, rate);
    series.push({
      key,
      counts: Array.from({ length: minutes }, () => (random.next() < rate ? 1 : 0)),
      startMinute: 0,
      missCost: 1,
      memoryGb: 0.25,
      leadMinutes: 1,
    });
  }
  return { series, rates };
}

test("price: memory-time lands just under the wanted share (30 categories, 8 hours)", () => {
  const { series, rates } = history(30, 480, "a");
  for (const memoryRatio of [0.5, 0.95]) {
    const result = priceFromHistory(series, trueRates(rates), {
      ...DEFAULT_PRICE_OPTIONS,
      memoryRatio,
    });
    expect(result?.ratio).toBeLessThanOrEqual(memoryRatio);
    expect(result?.ratio).toBeGreaterThan(memoryRatio * 0.6);
  }
});

test("price: spends the same memory better than the keep-alive (mixed rates)", () => {
  const { series, rates } = history(30, 480, "b");
  const result = priceFromHistory(series, trueRates(rates), {
    ...DEFAULT_PRICE_OPTIONS,
    memoryRatio: 1,
  });
  expect(result?.policy.coldMinutes).toBeLessThan((result?.fixed.coldMinutes ?? 0) * 0.8);
});

test("price: is nothing where nothing arrived (empty and silent histories)", () => {
  expect(priceFromHistory([], trueRates(new Map()))).toBeNull();
  const silent = history(3, 100, "c").series.map((s) => ({
    ...s,
    counts: s.counts.length ? [0] : [],
  }));
  expect(priceFromHistory(silent, trueRates(new Map()))).toBeNull();
});

test("price: computes no more curves than its bound (1,000 categories)", () => {
  const { series, rates } = history(1000, 480, "d");
  let asked = 0;
  const known = trueRates(rates);
  const counting: CurveSource = {
    ...known,
    curve: (key, minute) => {
      asked++;
      return known.curve(key, minute);
    },
  };
  const result = priceFromHistory(series, counting, {
    ...DEFAULT_PRICE_OPTIONS,
    curvesMax: 5_000,
  });
  expect(asked).toBeLessThanOrEqual(5_000);
  expect(result?.seriesUsed).toBe(10);
});

test("price: the same history gives the same price (twice)", () => {
  const { series, rates } = history(40, 300, "e");
  const run = () =>
    priceFromHistory(series, trueRates(rates), { ...DEFAULT_PRICE_OPTIONS, curvesMax: 6_000 });
  expect(run()).toEqual(run());
});
