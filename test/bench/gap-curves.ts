/**
 * A small curve source for benchmarks: per key the discounted histogram of gaps between minutes
 * with arrivals, shrunk towards that of all keys. Not the forecaster; enough to judge decisions.
 */
import type { CurveSource } from "../../coordinator/plan/replay.ts";

const GAPS = 480;
const AHEAD = 120;
const PRIOR_WEIGHT = 2;
const DISCOUNT = 0.97;

type Histogram = { gaps: Float64Array; last: number };

export function gapCurves(): CurveSource {
  const keys = new Map<string, Histogram>();
  const pooled = new Float64Array(GAPS + AHEAD + 2);
  const of = (key: string, minute: number) => {
    let histogram = keys.get(key);
    if (!histogram) {
      histogram = { gaps: new Float64Array(GAPS + AHEAD + 2), last: minute - 1 };
      keys.set(key, histogram);
    }
    return histogram;
  };
  return {
    observe(key, minute, count) {
      const histogram = of(key, minute);
      if (count === 0) return;
      const gap = Math.min(GAPS, Math.max(1, minute - histogram.last));
      for (let g = 1; g <= GAPS; g++) histogram.gaps[g] = (histogram.gaps[g] ?? 0) * DISCOUNT;
      histogram.gaps[gap] = (histogram.gaps[gap] ?? 0) + 1;
      pooled[gap] = (pooled[gap] ?? 0) + 1;
      histogram.last = minute;
    },
    curve(key, minute) {
      const { gaps, last } = of(key, minute);
      const age = Math.min(GAPS, Math.max(1, minute - last));
      let own = 0;
      let all = 0;
      for (let g = age; g < gaps.length; g++) {
        own += gaps[g] ?? 0;
        all += pooled[g] ?? 0;
      }
      const hazardPerMinute = new Float64Array(AHEAD);
      for (let k = 0; k < AHEAD; k++) {
        const g = age + k;
        const prior = all > 0 ? (pooled[g] ?? 0) / all : 1 / 60;
        const hazard = ((gaps[g] ?? 0) + PRIOR_WEIGHT * prior) / (own + PRIOR_WEIGHT);
        hazardPerMinute[k] = Math.min(1, hazard);
        own -= gaps[g] ?? 0;
        all -= pooled[g] ?? 0;
      }
      return { hazardPerMinute, probabilityWithin: (ms) => within(hazardPerMinute, ms) };
    },
  };
}

function within(hazard: Float64Array, ms: number): number {
  let survival = 1;
  for (let k = 0; k < Math.min(hazard.length, ms / 60_000); k++) survival *= 1 - (hazard[k] ?? 0);
  return 1 - survival;
}
