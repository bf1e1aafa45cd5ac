/**
 * Quantiles followed online: each moves up when a value is above it and down when it is not, so
 * that the right share falls below (Robbins & Monro 1951; with steps that stay, as in adaptive
 * conformal inference, Gibbs & Candès 2021). Tails take larger steps, as fewer values tell of them.
 */
import { LEVELS } from "./levels.ts";

const COUNT = LEVELS.length;
/** In mean absolute deviations; between a normal and a Laplace distribution. */
export const SHAPE = [-3.2, -2.05, -1.52, -0.76, 0, 0.76, 1.52, 2.05, 3.2] as const;
/** Inverse of that distribution's density at each level. */
export const STEPS = [32, 9, 5.2, 3.3, 2.9, 3.3, 5.2, 9, 32] as const;

/** One value is taken in by the quantiles at `offset`; `gain` is what it counts for. */
export function track(quantiles: Float64Array, offset: number, value: number, gain: number): void {
  for (let l = 0; l < COUNT; l++) {
    const level = LEVELS[l] ?? 0;
    const at = quantiles[offset + l] ?? 0;
    quantiles[offset + l] = at + gain * (STEPS[l] ?? 1) * (value > at ? level : level - 1);
  }
}

/** Sorts one row, which is sorted but for little. */
export function sortRow(row: Float64Array, offset: number): void {
  for (let l = 1; l < COUNT; l++) {
    const value = row[offset + l] ?? 0;
    let at = l - 1;
    while (at >= 0 && (row[offset + at] ?? 0) > value) {
      row[offset + at + 1] = row[offset + at] ?? 0;
      at--;
    }
    row[offset + at + 1] = value;
  }
}
