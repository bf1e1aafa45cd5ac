/** The two sides of an effect: forecasts get it, and what the base models learn from loses it. */
import { type Forecast, QUANTILE_LEVELS } from "../../shared/domain.ts";
import type { EventEffect } from "./event-effects.ts";

/** Of the standard normal at `QUANTILE_LEVELS`. */
const Z = [-1.6449, -1.2816, -0.6745, 0, 0.6745, 1.2816, 1.6449];
const MEDIAN = 3;
/** Below, a ratio says nothing. */
const TINY = 1e-6;

/** Base quantiles × effect, wider by its uncertainty; arrivals become as much more likely. */
export function adjustForecast(base: Forecast, effect: EventEffect | null): Forecast {
  if (!effect) return base;
  return {
    ...base,
    quantiles: base.quantiles.map((quantiles, bin) => {
      const log = effect.logEffect[bin] ?? 0;
      return log === 0 ? quantiles : adjustQuantiles(quantiles, log, effect.sd[bin] ?? 0);
    }),
    arrivalProbability: base.arrivalProbability.map((p, bin) =>
      adjustProbability(p, effect.logEffect[bin] ?? 0),
    ),
  };
}

/** Variances add on the logarithmic scale; the median only moves. */
export function adjustQuantiles(quantiles: readonly number[], log: number, sd: number): number[] {
  const factor = Math.exp(log);
  const median = (quantiles[MEDIAN] ?? 0) * factor;
  let floor = 0;
  return QUANTILE_LEVELS.map((_, j) => {
    const moved = (quantiles[j] ?? 0) * factor;
    const z = (Z[j] ?? 0) * sd;
    if (median > TINY && moved > TINY && z !== 0) {
      const spread = Math.log(moved / median);
      floor = Math.max(floor, median * Math.exp(Math.sign(z) * Math.hypot(spread, z)));
    } else floor = Math.max(floor, moved);
    return floor;
  });
}

/** P(at least one arrival) when the rate is so many times as high. */
export function adjustProbability(p: number, log: number): number {
  return log === 0 ? p : 1 - Math.max(0, 1 - p) ** Math.exp(log);
}

/**
 * Counts without the effect. Parts of one request become one or none, so that they are so on
 * average: a minute of the event is then as likely idle as it would have been without. The same
 * minute is always decided alike (`key` and its time).
 */
export function withoutEffect(
  series: { startMs: number; binMs: number; counts: Float64Array },
  effect: EventEffect | null,
  key: string,
): Float64Array {
  if (!effect) return series.counts;
  return series.counts.map((count, bin) => {
    const log = effect.logEffect[bin] ?? 0;
    if (log === 0 || count === 0) return count;
    const clean = count * Math.exp(-log);
    if (clean >= 1) return clean;
    return clean > share(`${key}@${series.startMs + bin * series.binMs}`) ? 1 : 0;
  });
}

/** In 0..1, evenly spread over texts (FNV-1a with a final mix). */
function share(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++)
    hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193) >>> 0;
  hash = Math.imul(hash ^ (hash >>> 16), 0x45d9f3b);
  hash = Math.imul(hash ^ (hash >>> 16), 0x45d9f3b);
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32;
}
