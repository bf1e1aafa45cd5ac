/** Quantiles of counts that scatter at least as much as Poisson. */
import { QUANTILE_LEVELS } from "../../shared/domain.ts";

/** One value per `QUANTILE_LEVELS`, rising. */
export type Quantiles = number[];

/** Beyond that mean a smooth approximation does, and summing would take long. */
const SUM_MEAN_MAX = 200;
/** Below, not even the highest quantile is 1. */
const MEAN_MIN = 1e-6;
const SUM_TERMS_MAX = 5_000;

export const ZERO_QUANTILES: Quantiles = QUANTILE_LEVELS.map(() => 0);

/** Quantiles of a negative binomial (Poisson when the variance is no larger than the mean). */
export function countQuantiles(
  mean: number,
  variance: number,
  levels: readonly number[] = QUANTILE_LEVELS,
): Quantiles {
  if (!(mean > MEAN_MIN)) return levels.map(() => 0);
  if (mean > SUM_MEAN_MAX) return gammaQuantiles(mean, Math.max(variance, mean), levels);
  // Gamma–Poisson: shape r, success probability p; r → ∞ is Poisson.
  const excess = Math.max(variance - mean, mean * 1e-6);
  const shape = (mean * mean) / excess;
  const tail = mean / (mean + shape);
  let mass = Math.exp(shape * Math.log1p(-tail));
  if (!(mass > 0)) return gammaQuantiles(mean, variance, levels);
  let sum = mass;
  let count = 0;
  return levels.map((level) => {
    while (sum < level && count < SUM_TERMS_MAX) {
      mass *= (tail * (shape + count)) / (count + 1);
      count++;
      sum += mass;
    }
    return count;
  });
}

/** Wilson & Hilferty's (1931) cube-root approximation. */
function gammaQuantiles(mean: number, variance: number, levels: readonly number[]): Quantiles {
  const spread = variance / (mean * mean) / 9;
  return levels.map((level) => {
    const root = 1 - spread + normalQuantile(level) * Math.sqrt(spread);
    return mean * Math.max(0, root) ** 3;
  });
}

/** Of the standard normal, to 5e-4 (Abramowitz & Stegun 26.2.23). */
export function normalQuantile(level: number): number {
  const outer = Math.min(level, 1 - level);
  const t = Math.sqrt(-2 * Math.log(Math.max(outer, 1e-12)));
  const above = 2.515517 + t * (0.802853 + t * 0.010328);
  const below = 1 + t * (1.432788 + t * (0.189269 + t * 0.001308));
  const z = t - above / below;
  return level < 0.5 ? -z : z;
}

/** Mean over the levels of the loss that the true quantiles make smallest. */
export function pinballLoss(quantiles: readonly number[], actual: number): number {
  let sum = 0;
  for (const [i, level] of QUANTILE_LEVELS.entries()) {
    const error = actual - (quantiles[i] ?? 0);
    sum += error >= 0 ? level * error : (level - 1) * error;
  }
  return sum / QUANTILE_LEVELS.length;
}
