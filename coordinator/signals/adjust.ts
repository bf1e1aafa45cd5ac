/** The two sides of an effect: forecasts get it, and what the base models learn from loses it. */
import { type Forecast, QUANTILE_LEVELS } from "../../shared/domain.ts";
import type { EventEffect } from "./event-effects.ts";

/** Of the standard normal at `QUANTILE_LEVELS`. */
const Z = [-1.6449, -1.2816, -0.6745, 0, 0.6745, 1.2816, 1.6449];
const MEDIAN = 3;
/** Below, a ratio says nothing. */
const TINY = 1e-6;

/** Quantiles at `QUANTILE_LEVELS` of counts with that mean and variance. */
export type CountQuantiles = (mean: number, variance: number) => number[];

/** Of `QUANTILE_LEVELS`: the share of the probability that is nearest to each. */
const WEIGHTS = [0.075, 0.1, 0.2, 0.25, 0.2, 0.1, 0.075];
/** So few requests come in whole ones: multiplied quantiles would be too far apart. */
const FEW = 8;

/** Base quantiles × effect, wider by its uncertainty; arrivals become as much more likely. */
export function adjustForecast(
  base: Forecast,
  effect: EventEffect | null,
  counts: CountQuantiles,
): Forecast {
  if (!effect) return base;
  const { arrivalProbability } = base;
  return {
    ...base,
    quantiles: base.quantiles.map((quantiles, bin) => {
      const log = effect.logEffect[bin] ?? 0;
      const sd = effect.sd[bin] ?? 0;
      if (log === 0) return quantiles;
      const few = (quantiles.at(-1) ?? 0) < FEW;
      return few
        ? adjustFew(quantiles, arrivalProbability[bin] ?? 0, log, sd, counts)
        : adjustQuantiles(quantiles, log, sd);
    }),
    arrivalProbability: arrivalProbability.map((p, bin) =>
      adjustProbability(p, effect.logEffect[bin] ?? 0),
    ),
  };
}

/** By mean and variance: of independent requests the variance grows as the mean does. */
function adjustFew(
  quantiles: readonly number[],
  arrival: number,
  log: number,
  sd: number,
  counts: CountQuantiles,
): number[] {
  const factor = Math.exp(log);
  const mid = quantiles.reduce((sum, q, j) => sum + q * (WEIGHTS[j] ?? 0), 0);
  const mean = Math.max(mid, -Math.log1p(-Math.min(arrival, 0.999)));
  const spread = ((quantiles.at(-1) ?? 0) - (quantiles[0] ?? 0)) / (2 * (Z.at(-1) ?? 1));
  const excess = Math.max(0, spread * spread - mean);
  const moved = mean * factor;
  return counts(moved, moved + excess * factor * factor + (moved * sd) ** 2);
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
    if (log === 0 || !(count > 0)) return count; // missing ones stay missing
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
