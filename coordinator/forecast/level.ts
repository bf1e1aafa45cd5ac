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
  const levels = new Float64Array(counts.length + 1);
  const squares = DISTANCES.map(() => 0);
  const weights = DISTANCES.map(() => 0);
  let level = 0;
  let seen = 0;
  for (let t = 0; t < counts.length; t++) {
    levels[t] = level;
    const count = counts[t] ?? 0;
    for (let d = 0; d < DISTANCES.length; d++) {
      const made = t + 1 - (DISTANCES[d] ?? 1);
      if (made < 1) break;
      const error = count - (levels[made] ?? 0);
      squares[d] = (squares[d] ?? 0) * errorKeep + error * error;
      weights[d] = (weights[d] ?? 0) * errorKeep + 1;
    }
    // A plain mean until the weights of the past have filled up.
    seen = seen * (1 - gain) + 1;
    level += (count - level) / seen;
  }
  const variances = squares.map((sum, d) => (sum + level) / ((weights[d] ?? 0) + 1));
  return {
    predict: (ahead) => countQuantiles(level, varianceAt(variances, weights, ahead + 1)),
  };
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
