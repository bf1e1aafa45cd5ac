/** How far off experts have been: spread and shape of the errors of each at each scored distance. */
import { LEVELS } from "./levels.ts";
import { SHAPE, track } from "./tracker.ts";

const L = LEVELS.length;
export const SPREAD_GAIN = 0.015;
export const SPREAD_CUT = 5;
const SHAPE_GAIN = 1 / 150;

export class Errors {
  /** Mean absolute error by row, in units of the volatility at the bin. */
  readonly spreads: Float64Array;
  /** Quantiles of the errors by row and level, in spreads. */
  readonly shapes: Float64Array;
  readonly #counts: Float64Array;

  constructor(rows: number, spread: number) {
    this.spreads = new Float64Array(rows).fill(spread);
    this.shapes = new Float64Array(rows * L);
    this.#counts = new Float64Array(rows);
    for (let i = 0; i < this.shapes.length; i++) this.shapes[i] = SHAPE[i % L] ?? 0;
  }

  /** `error` in units of the volatility at its bin. */
  learn(row: number, error: number): void {
    const count = (this.#counts[row] ?? 0) + 1;
    this.#counts[row] = count;
    const spread = this.spreads[row] ?? 0;
    const size = count > 10 ? Math.min(Math.abs(error), SPREAD_CUT * spread) : Math.abs(error);
    const step = Math.max(1 / (count + 2), SPREAD_GAIN) * (size - spread);
    const next = Math.max(spread + step, 1e-12);
    this.spreads[row] = next;
    track(this.shapes, row * L, error / next, Math.max(1 / (count + 30), SHAPE_GAIN));
  }
}
