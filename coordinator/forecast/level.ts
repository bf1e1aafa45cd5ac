/**
 * The recent level goes on: an exponentially weighted mean, with the scatter that its own
 * forecasts had at several distances (the farther ahead, the wider).
 */
import { countQuantiles } from "./counts.ts";
import type { Fitted, Model, Past } from "./model.ts";

/** Distances ahead, bins, at which the errors are measured; between them by the logarithm. */
const DISTANCES = [1, 8, 60, 480];
/** Errors count half after that many half-lives of the level. */
const ERROR_MEMORY = 8;

export function levelModel(name: string, halfLifeBins: number): Model {
  return { name, fit: (past) => fitLevel(past, halfLifeBins) };
}

function fitLevel({ counts }: Past, halfLifeBins: number): Fitted | null {
  if (counts.length === 0) return null;
  const gain = 1 - 0.5 ** (1 / halfLifeBins);
  const errorKeep = 0.5 ** (1 / (halfLifeBins * ERROR_MEMORY));
  // levels[t] is the level after t counts: what was foretold for the count number t.
  const levels = new Float64Array(counts.length + 1);
  let level = 0;
  let seen = 0;
  for (let t = 0; t < counts.length; t++) {
    // A plain mean until the weights of the past have filled up.
    seen = seen * (1 - gain) + 1;
    level += ((counts[t] ?? 0) - level) / seen;
    levels[t + 1] = level;
  }
  const errors = DISTANCES.map((distance) => scatter(counts, levels, distance, errorKeep));
  const weights = errors.map((error) => error.weight);
  const variances = errors.map(({ squares, weight }) => (squares + level) / (weight + 1));
  return {
    predict: (ahead) => countQuantiles(level, varianceAt(variances, weights, ahead + 1)),
  };
}

/** Discounted squares of the errors of forecasts made `distance` bins before. */
function scatter(counts: Float64Array, levels: Float64Array, distance: number, keep: number) {
  let squares = 0;
  let weight = 0;
  for (let t = distance; t < counts.length; t++) {
    const error = (counts[t] ?? 0) - (levels[t + 1 - distance] ?? 0);
    squares = squares * keep + error * error;
    weight = weight * keep + 1;
  }
  return { squares, weight };
}

function varianceAt(variances: number[], weights: number[], distance: number): number {
  let at = DISTANCES.length - 1;
  while (at > 0 && ((DISTANCES[at] ?? 1) > distance || (weights[at] ?? 0) < 1)) at--;
  const near = variances[at] ?? 0;
  if (at === DISTANCES.length - 1 || (weights[at + 1] ?? 0) < 1) return near;
  const far = variances[at + 1] ?? near;
  const from = Math.log(DISTANCES[at] ?? 1);
  const part = (Math.log(distance) - from) / (Math.log(DISTANCES[at + 1] ?? 1) - from);
  return near + (Math.max(near, far) - near) * part;
}
