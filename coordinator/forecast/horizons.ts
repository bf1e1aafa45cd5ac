/** Distances ahead that are scored; what lies between is interpolated. */

/** Rising, from 1 to the horizon, each half of the next. */
export function scoredDistances(horizon: number): number[] {
  const distances: number[] = [];
  for (let at = horizon; at >= 1; at = Math.floor(at / 2)) distances.unshift(at);
  return distances;
}

/** Index of the last scored distance that is not beyond `ahead`, and the part of the way on. */
export function between(
  distances: readonly number[],
  ahead: number,
): [index: number, part: number] {
  let low = 0;
  while (low + 1 < distances.length && (distances[low + 1] ?? 0) <= ahead) low++;
  const from = distances[low] ?? 1;
  const to = distances[low + 1];
  return to === undefined || ahead <= from ? [low, 0] : [low, (ahead - from) / (to - from)];
}
