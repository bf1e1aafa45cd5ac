/**
 * For sparse categories: whether a bin has requests at all comes from the hazard model, how many
 * then from the bins that had some.
 */
import { QUANTILE_LEVELS } from "../../shared/domain.ts";
import { countQuantiles, type Quantiles } from "./counts.ts";
import type { Fitted, Past } from "./model.ts";

export const OCCURRENCE = "hazard";
/** Active bins whose counts are remembered, by weight. */
const COUNT_KEEP = 0.95;

/**
 * P(request) per bin from the hazards given idleness: either the first request falls into it, or
 * one came before it and the general rate goes on.
 */
export function occurrence(hazards: readonly number[], rate: number, bins: number): number[] {
  const probabilities: number[] = [];
  let idle = 1;
  for (let i = 0; i < bins; i++) {
    const hazard = hazards[i] ?? rate;
    probabilities.push(Math.min(1, idle * hazard + (1 - idle) * Math.max(rate, 0)));
    idle *= 1 - hazard;
  }
  return probabilities;
}

/** Share of bins with a request, of late. */
export function activeRate({ counts }: Past): number {
  const keep = 1 - 1 / 240;
  let active = 0;
  let bins = 0;
  for (const count of counts) {
    active = active * keep + (count > 0 ? 1 : 0);
    bins = bins * keep + 1;
  }
  return bins === 0 ? 0 : active / bins;
}

export function fitOccurrence({ counts }: Past, probabilities: readonly number[]): Fitted | null {
  let weight = 0;
  let sum = 0;
  let squares = 0;
  for (const count of counts) {
    if (count <= 0) continue;
    weight = weight * COUNT_KEEP + 1;
    sum = sum * COUNT_KEEP + count;
    squares = squares * COUNT_KEEP + count * count;
  }
  if (weight === 0) return null;
  const mean = sum / weight;
  const variance = Math.max(0, squares / weight - mean * mean);
  return {
    predict: (ahead) => given(probabilities[ahead] ?? probabilities.at(-1) ?? 0, mean, variance),
  };
}

/** Quantiles of a count that is there with that probability and then at least 1. */
function given(probability: number, mean: number, variance: number): Quantiles {
  const absent = 1 - probability;
  const conditional = QUANTILE_LEVELS.map((level) =>
    Math.min(0.9999, Math.max(0, (level - absent) / Math.max(probability, 1e-9))),
  );
  const more = countQuantiles(mean - 1, variance, conditional);
  return QUANTILE_LEVELS.map((level, i) => (level <= absent ? 0 : 1 + (more[i] ?? 0)));
}
