/**
 * How often the 90 % interval held what came, and by how much it has to be wider: the width moves
 * up at a miss and down at a hit until nine in ten are inside (Gibbs & Candès 2021, "Adaptive
 * conformal inference").
 */
import { QUANTILE_LEVELS } from "../../shared/domain.ts";
import { pinballLoss, type Quantiles } from "./counts.ts";

const COVERAGE = 0.9;
/** How fast the logarithm of the width follows. */
const STEP = 0.02;
const WIDTH_LOG_MAX = 2;
const WIDTH_LOG_MIN = -0.7;

export type Calibration = {
  /** Share of scored bins inside the 90 % interval; NaN before the first. */
  coverage90: number;
  /** Mean pinball loss over the levels, divided by the mean count; NaN before the first request. */
  pinball: number;
  samples: number;
};

export type CalibrationState = { inside: number; samples: number; loss: number; sum: number };

const LOW = 0;
const HIGH = QUANTILE_LEVELS.length - 1;
const MIDDLE = (QUANTILE_LEVELS as readonly number[]).indexOf(0.5);

export class CalibrationCounter {
  #state: CalibrationState = { inside: 0, samples: 0, loss: 0, sum: 0 };

  /** Counts one scored bin; true when the interval held it. */
  score(quantiles: Quantiles, actual: number): boolean {
    const inside = actual >= (quantiles[LOW] ?? 0) && actual <= (quantiles[HIGH] ?? 0);
    if (inside) this.#state.inside++;
    this.#state.samples++;
    this.#state.loss += pinballLoss(quantiles, actual);
    this.#state.sum += actual;
    return inside;
  }

  read(): Calibration {
    const { inside, samples, loss, sum } = this.#state;
    return {
      coverage90: samples === 0 ? Number.NaN : inside / samples,
      pinball: sum === 0 ? Number.NaN : loss / sum,
      samples,
    };
  }

  state(): CalibrationState {
    return { ...this.#state };
  }

  restore(state: CalibrationState): void {
    this.#state = { ...state };
  }
}

/** The logarithm of the width after one more bin. */
export function nextWidth(widthLog: number, inside: boolean): number {
  const moved = widthLog + STEP * ((inside ? 0 : 1) - (1 - COVERAGE));
  return Math.min(WIDTH_LOG_MAX, Math.max(WIDTH_LOG_MIN, moved));
}

/** Quantiles spread about their median; rising and non-negative if they were. */
export function widened(quantiles: Quantiles, widthLog: number): Quantiles {
  const factor = Math.exp(widthLog);
  const median = quantiles[MIDDLE] ?? 0;
  return quantiles.map((quantile) => Math.max(0, median + (quantile - median) * factor));
}
