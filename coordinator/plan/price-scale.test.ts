import { expect, test } from "vitest";
import { seededRandom } from "../../shared/runtime/random.ts";
import { IdleTimes } from "./keep-alive.ts";
import { viewOf } from "./prewarm.ts";
import { PriceScale, priceOfOneMinute, type Stakes, WORTHS } from "./price-scale.ts";

const STAKES: Stakes = { missCost: 2, memoryGb: 0.25, loadShare: 0.1, leadMinutes: 1 };

/** Memoryless categories whose true rate is known. */
function seen(categories: number, minutes: number): PriceScale {
  const random = seededRandom("scale");
  const scale = new PriceScale();
  scale.setUnit(priceOfOneMinute([STAKES]));
  const state = Array.from({ length: categories }, (_, i) => {
    const rate = 0.003 * 1.4 ** (i % 14);
    const hazardPerMinute = new Array<number>(120).fill(rate);
    return { key: `w/${i}`, rate, hazardPerMinute, last: 0, idle: new IdleTimes() };
  });
  for (let minute = 1; minute < minutes; minute++) {
    for (const one of state) {
      const { key, rate, hazardPerMinute, idle } = one;
      const view = viewOf(hazardPerMinute, minute - one.last, idle, STAKES.leadMinutes);
      scale.decide(key, view, STAKES);
      const arrived = random.next() < rate;
      scale.settle(key, arrived);
      if (!arrived) continue;
      idle.learn(minute - one.last);
      one.last = minute;
    }
    scale.endMinute();
  }
  return scale;
}

test("price scale: a larger share of memory is a higher worth (memoryless demand)", () => {
  const scale = seen(40, 600);
  const worths = [0.5, 0.8, 1, 1.3].map((ratio) => scale.worthMinutes(ratio) ?? 0);
  expect(worths).toEqual(worths.toSorted((a, b) => a - b));
  expect(worths[0]).toBeLessThan((worths[3] ?? 0) / 2);
  expect(worths[0]).toBeGreaterThanOrEqual(WORTHS[0]);
});

test("price scale: knows no price before anything was held", () => {
  expect(new PriceScale().worthMinutes(1)).toBeNull();
});

test("price scale: takes no more categories than its bound (one over)", () => {
  const scale = new PriceScale({ categoriesMax: 1 });
  const view = viewOf([0.5], 1, new IdleTimes(), STAKES.leadMinutes);
  expect(scale.decide("w/a", view, STAKES)).not.toBeNull();
  expect(scale.decide("w/b", view, STAKES)).toBeNull();
  scale.retain(new Set(["w/b"]));
  expect(scale.decide("w/b", view, STAKES)).not.toBeNull();
});

test("price scale: one minute of the average category's memory is worth its cold arrival", () => {
  const price = priceOfOneMinute([STAKES, { ...STAKES, missCost: 6 }]);
  expect((price * STAKES.memoryGb) / 60).toBeCloseTo(4, 12);
  // A tiny environment does not make all memory dear.
  const tiny = priceOfOneMinute([STAKES, { ...STAKES, memoryGb: 0.001 }]);
  expect(tiny).toBeLessThan(2 * priceOfOneMinute([STAKES]));
});
