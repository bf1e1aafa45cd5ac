/**
 * What the network knows before anything happened: synthetic hosts drawn over the whole range of
 * the features, half of them healthy ones as fleets have them, each worth `priorGoodness`. Prior
 * rows stay in every training set with a fixed total weight, so that a few dozen real rows bend
 * the score where they speak and leave it sensible elsewhere.
 */
import { FEATURES, priorGoodness } from "../../shared/affinity.ts";
import type { Random } from "../../shared/runtime/random.ts";

export type TrainingRow = { features: readonly number[]; target: number };

export const PRIOR_ROWS = 1024;

/** The same rows for the same random stream. */
export function priorRows(random: Random, count: number = PRIOR_ROWS): TrainingRow[] {
  return Array.from({ length: count }, (_, i) => {
    const healthy = i % 2 === 0;
    const features = FEATURES.map((name) => {
      const value = random.next();
      switch (name) {
        case "warm":
          return value < 0.5 ? 1 : 0;
        case "latencyRatio":
          return healthy ? 0.4 + 0.2 * value : value;
        case "failures":
          return healthy || value < 0.5 ? 0 : value;
        case "cpuUsed":
        case "loopDelay":
          return healthy ? 0.6 * value : value;
        default:
          return value;
      }
    });
    return { features, target: priorGoodness(features) };
  });
}
