/**
 * Holds the mix to its promise: where one expert alone has been better than the mix of all for a
 * while, over all levels, the forecast leans on that one. Aggregation by the gradients of the loss
 * comes near the best expert slowly where a few exact forecasts decide (timers, rare demand).
 */
import { LEVELS } from "./levels.ts";

const L = LEVELS.length;
/** What a round counts for a bin later. */
const KEEP = 0.997;
/** The mix may be so much worse; from the second figure on the leader speaks alone. */
const LEAN_FROM = 1.01;
const LEAN_TO = 1.05;
const ROUNDS_MIN = 60;

export class Leader {
  readonly #experts: number;
  readonly #losses: Float64Array;
  readonly #mixed: Float64Array;
  readonly #rounds: Float64Array;
  readonly #leaders: Int32Array;
  readonly #fade: number;

  /** Of so many bins, one is learned from. */
  constructor(groups: number, experts: number, every: number) {
    this.#experts = experts;
    this.#losses = new Float64Array(groups * experts);
    this.#mixed = new Float64Array(groups);
    this.#rounds = new Float64Array(groups);
    this.#leaders = new Int32Array(groups);
    this.#fade = KEEP ** every;
  }

  /** One round: `slopes` are those of the count at the mix's quantiles; rows as in Combination. */
  learn(
    group: number,
    z: number,
    slopes: Float64Array,
    mixed: Float64Array,
    at: number,
    forecasts: Float64Array,
    offset: number,
  ): void {
    const before = this.#mixed[group] ?? 0;
    const now = pinball(z, slopes, mixed, at);
    this.#mixed[group] = before * this.#fade + now;
    this.#rounds[group] = (this.#rounds[group] ?? 0) + 1;
    let least = Number.POSITIVE_INFINITY;
    for (let e = 0; e < this.#experts; e++) {
      const i = group * this.#experts + e;
      const asleep = Number.isNaN(forecasts[offset + e * L] ?? Number.NaN);
      // One that sleeps is taken to be as good as the mix.
      const loss = asleep ? now : pinball(z, slopes, forecasts, offset + e * L);
      const sum = (this.#losses[i] ?? 0) * this.#fade + loss;
      this.#losses[i] = sum;
      if (sum < least) {
        least = sum;
        this.#leaders[group] = e;
      }
    }
  }

  /** Moves the row of the mix at `at` towards the leader's. */
  lean(
    group: number,
    forecasts: Float64Array,
    offset: number,
    mixed: Float64Array,
    at: number,
  ): void {
    if ((this.#rounds[group] ?? 0) < ROUNDS_MIN) return;
    const leader = this.#leaders[group] ?? 0;
    const loss = this.#losses[group * this.#experts + leader] ?? 0;
    const ratio = ((this.#mixed[group] ?? 0) - LEAN_FROM * loss) / ((LEAN_TO - LEAN_FROM) * loss);
    if (!(ratio > 0) || Number.isNaN(forecasts[offset + leader * L] ?? Number.NaN)) return;
    const share = Math.min(1, ratio);
    for (let l = 0; l < L; l++) {
      const mix = mixed[at + l] ?? 0;
      mixed[at + l] = mix + share * ((forecasts[offset + leader * L + l] ?? 0) - mix);
    }
  }
}

function pinball(z: number, slopes: Float64Array, rows: Float64Array, at: number): number {
  let sum = 0;
  for (let l = 0; l < L; l++) {
    const error = z - (rows[at + l] ?? 0);
    const level = LEVELS[l] ?? 0;
    sum += (slopes[l] ?? 0) * error * (error >= 0 ? level : level - 1);
  }
  return sum;
}
