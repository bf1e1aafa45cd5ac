/** How well a category's forecasts have been doing lately, in sums that fade. */
import { pinballLoss, type Quantiles } from "./counts.ts";

/** What is kept of the sums at each scored bin: some 20 are scored an hour. */
const KEEP = 0.995;
const HIGH = 6;
const MIDDLE = 3;

export type WatchState = {
  weight: number;
  loss: number;
  naive: number;
  inside: number;
  /** Counts below the median less those above it. */
  below: number;
};

export type Watched = {
  /** Scored bins, faded. */
  samples: number;
  /** Pinball loss relative to that of the same minute a day before; null when that is 0. */
  relativeLoss: number | null;
  /** Share of bins inside the 90 % interval. */
  coverage90: number;
  /** Share of counts below the median less that above it; 0 is right, 1 always too high. */
  bias: number;
};

export class Watch {
  readonly #state: WatchState;

  constructor(state?: WatchState) {
    this.#state = state ? { ...state } : { weight: 0, loss: 0, naive: 0, inside: 0, below: 0 };
  }

  learn(quantiles: Quantiles, naive: number, actual: number): void {
    const state = this.#state;
    const inside = actual >= (quantiles[0] ?? 0) && actual <= (quantiles[HIGH] ?? 0);
    const of = {
      weight: 1,
      loss: pinballLoss(quantiles, actual),
      // Of a point, over levels that lie about a half.
      naive: Math.abs(actual - naive) / 2,
      inside: inside ? 1 : 0,
      below: Math.sign((quantiles[MIDDLE] ?? 0) - actual),
    };
    for (const name of ["weight", "loss", "naive", "inside", "below"] as const)
      state[name] = state[name] * KEEP + of[name];
  }

  /** Null before the first scored bin. */
  read(): Watched | null {
    const { weight, loss, naive, inside, below } = this.#state;
    if (weight === 0) return null;
    return {
      samples: weight,
      relativeLoss: naive > 0 ? loss / naive : null,
      coverage90: inside / weight,
      bias: below / weight,
    };
  }

  state(): WatchState {
    return { ...this.#state };
  }
}
