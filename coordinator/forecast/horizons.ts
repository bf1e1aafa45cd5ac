/** Distances ahead that are scored; what lies between is interpolated. */

/** Rising, from 1 to the horizon, denser near 1. */
export function scoredDistances(horizon: number): number[] {
  const distances: number[] = [];
  for (let at = 1; at < horizon; at = Math.max(at + 1, Math.ceil(at * 1.7))) distances.push(at);
  return [...distances, Math.max(1, horizon)];
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
