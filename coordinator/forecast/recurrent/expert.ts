/**
 * The trained network as an expert for any series. It sleeps until there are weights, before a
 * series has the few bins of a window, while it is mostly silent, and beyond the distances it was trained for.
 */

import { z } from "zod";
import { LEVELS } from "../levels.ts";
import {
  fromState,
  RecurrentNetwork,
  type Sizes,
  toState,
  type Weights,
  WeightsState,
} from "./network.ts";
import { PAST_MIN, type Series, windowOf } from "./window.ts";

const DAY_MS = 86_400_000;
/** What windows look back to: a week, the day before it, and smoothing. */
const LOOK_DAYS = 9;

/** With fewer bins that have a request it sleeps: gaps between arrivals are for other experts. */
const SPARSE_SHARE = 0.5;
const SPARSE_BINS = 120;

type Past = { startMs: number; binMs: number; counts: Float64Array };
type Network = { answers: RecurrentNetwork; weights: Weights; sizes: Sizes; aheadMax: number };

export const RecurrentState = z.object({
  weights: WeightsState,
  aheadMax: z.number().int().positive(),
});
export type RecurrentState = z.infer<typeof RecurrentState>;

export class RecurrentExpert {
  readonly name = "recurrent";
  #network: Network | null = null;

  get awake(): boolean {
    return this.#network !== null;
  }

  /** False, and nothing changed, when the weights are of another version's network. */
  use({ weights: state, aheadMax }: RecurrentState): boolean {
    const read = fromState(state);
    if (!read) return false;
    const answers = new RecurrentNetwork(read.weights, read.sizes);
    this.#network = { answers, ...read, aheadMax };
    return true;
  }

  state(): RecurrentState | null {
    if (!this.#network) return null;
    const { weights, sizes, aheadMax } = this.#network;
    return { weights: toState(weights, sizes), aheadMax };
  }

  /** The fitted series follows the weights in use, also when they are refreshed later. */
  fit(past: Past): RecurrentSeries {
    return new RecurrentSeries(past, () => this.#network);
  }
}

/** The last days of one series. */
export class RecurrentSeries {
  readonly #network: () => Network | null;
  readonly #keep: number;
  #values: Float64Array;
  #length = 0;
  #startMs: number;
  readonly #binMs: number;

  constructor(past: Past, network: () => Network | null) {
    this.#network = network;
    this.#binMs = past.binMs;
    this.#keep = Math.max(4 * PAST_MIN, Math.ceil((LOOK_DAYS * DAY_MS) / past.binMs));
    const dropped = Math.max(0, past.counts.length - this.#keep);
    this.#startMs = past.startMs + dropped * past.binMs;
    this.#values = new Float64Array(Math.min(past.counts.length, this.#keep) + 64);
    for (const count of past.counts.subarray(dropped)) this.update(count);
  }

  /** Takes in the next bin; NaN for one that was not measured. */
  update(count: number): void {
    if (this.#length === this.#values.length) this.#makeRoom();
    const day = Math.round(DAY_MS / this.#binMs);
    const before = this.#length >= day && day > 3 ? this.#length - day : this.#length - 1;
    this.#values[this.#length++] = Number.isFinite(count) ? count : (this.#values[before] ?? 0);
  }

  /** Rows of `LEVELS`, non-negative and rising; NaN where there is nothing to say. */
  predict(horizon: number): Float64Array {
    const out = new Float64Array(horizon * LEVELS.length).fill(Number.NaN);
    const network = this.#network();
    if (!network || this.#isSparse()) return out;
    const aheads = Array.from({ length: Math.min(horizon, network.aheadMax) }, (_, i) => i + 1);
    const series: Series = { startMs: this.#startMs, binMs: this.#binMs, values: this.#values };
    const window = windowOf(series, this.#length, aheads);
    if (!window) return out;
    for (const [i, quantiles] of network.answers.predict(window).entries())
      for (const [k, quantile] of quantiles.entries())
        out[i * LEVELS.length + k] = Math.max(0, quantile);
    return out;
  }

  #isSparse(): boolean {
    const recent = this.#values.subarray(Math.max(0, this.#length - SPARSE_BINS), this.#length);
    return recent.filter((value) => value > 0).length < SPARSE_SHARE * recent.length;
  }

  #makeRoom(): void {
    const dropped = Math.max(0, this.#length - this.#keep);
    if (dropped > 0) this.#values.copyWithin(0, dropped, this.#length);
    this.#length -= dropped;
    this.#startMs += dropped * this.#binMs;
    if (this.#length + 64 <= this.#values.length) return;
    const larger = new Float64Array(Math.min(this.#keep, 2 * this.#length) + 1024);
    larger.set(this.#values.subarray(0, this.#length));
    this.#values = larger;
  }
}
