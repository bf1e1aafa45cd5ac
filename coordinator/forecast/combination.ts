/**
 * Weights of experts per quantile level, with a regret bound: Bernstein online aggregation on the
 * linearised pinball loss (Wintenberger 2017), each expert with its own learning rate. Experts that
 * are silent sleep; old rounds fade.
 */
import { LEVELS } from "./levels.ts";

const L = LEVELS.length;
/** What a round counts for a bin later. */
const KEEP = 0.997;
/** The proof asks for a half; with it, what is foretold exactly would be found too slowly. */
const RATE_MAX = 1;
/** Larger means that weights follow the losses sooner. */
const RATE_SQUARE = 2;
/** Smaller differences of loss are none: they cannot be divided by. */
const SIZE_MIN = 1e-280;
const GRADIENT_KEEP = 0.98;

/** Of whoever computes, which is done before it returns: a thousand of these are kept. */
const KEEPS = new Float64Array(L);
const GAINS = new Float64Array(L);
const BEST = new Float64Array(L);
const SUMS = new Float64Array(L);
let asked = new Float64Array(0);
let askedRates = new Float64Array(0);

/** Rows of `L` levels for each expert, group after group: so lie weights and what they rest on. */
export class Combination {
  /** Of each group, expert and level; asleep is 0. As of the last `weigh`: asking changes nothing. */
  readonly learning: Float64Array;
  readonly #groups: number;
  readonly #experts: number;
  readonly #prior: Float64Array;
  readonly #regret: Float64Array;
  readonly #square: Float64Array;
  readonly #rates: Float64Array;
  readonly #scale: Float64Array;
  readonly #logExperts: number;

  /** One set of weights for each of `groups`; `prior` has a weight for each expert. */
  constructor(groups: number, prior: readonly number[]) {
    const size = groups * prior.length * L;
    this.#groups = groups;
    this.#experts = prior.length;
    this.#prior = Float64Array.from(prior);
    this.learning = new Float64Array(size);
    this.#regret = new Float64Array(size);
    this.#square = new Float64Array(size);
    this.#scale = new Float64Array(groups * L);
    this.#logExperts = Math.log(prior.length + 1);
    this.#rates = new Float64Array(size);
  }

  /** Forgets all rounds. */
  restart(): void {
    this.#regret.fill(0);
    this.#square.fill(0);
    this.#scale.fill(0);
  }

  /** Brings the weights for learning up to date; they sum to 1 over the experts that are awake. */
  weigh(awake: Uint8Array): void {
    for (let group = 0; group < this.#groups; group++)
      this.#weighGroup(group, awake, this.learning, this.#rates);
  }

  /** The weights now, for those who ask; the array is reused by the next who does. */
  weighNow(awake: Uint8Array): Float64Array {
    if (asked.length < this.learning.length) {
      asked = new Float64Array(this.learning.length);
      askedRates = new Float64Array(this.learning.length);
    }
    for (let group = 0; group < this.#groups; group++)
      this.#weighGroup(group, awake, asked, askedRates);
    return asked;
  }

  #weighGroup(group: number, awake: Uint8Array, weights: Float64Array, rates: Float64Array): void {
    const experts = this.#experts;
    const from = group * experts * L;
    const best = BEST.fill(Number.NEGATIVE_INFINITY);
    const sum = SUMS.fill(0);
    const bound = RATE_SQUARE * this.#logExperts;
    const regrets = this.#regret;
    const squares = this.#square;
    for (let e = 0; e < experts; e++) {
      for (let l = 0; l < L; l++) {
        const at = from + e * L + l;
        const rate = Math.min(RATE_MAX, Math.sqrt(bound / (1 + (squares[at] ?? 0))));
        rates[at] = rate;
        const score = rate * (regrets[at] ?? 0);
        weights[at] = score;
        if (awake[e] && score > (best[l] ?? 0)) best[l] = score;
      }
    }
    for (let e = 0; e < experts; e++) {
      const prior = awake[e] ? (this.#prior[e] ?? 0) : 0;
      for (let l = 0; l < L; l++) {
        const at = from + e * L + l;
        const share = prior * (rates[at] ?? 0);
        const weight = share > 0 ? share * Math.exp((weights[at] ?? 0) - (best[l] ?? 0)) : 0;
        weights[at] = weight;
        sum[l] = (sum[l] ?? 0) + weight;
      }
    }
    for (let e = 0; e < experts; e++) {
      for (let l = 0; l < L; l++) {
        const at = from + e * L + l;
        weights[at] = (weights[at] ?? 0) / (sum[l] || 1);
      }
    }
  }

  /** Weighted mean of each level; experts' rows from `offset` on, that of one asleep is not read. */
  combine(
    weights: Float64Array,
    group: number,
    forecasts: Float64Array,
    offset: number,
    into: Float64Array,
    intoFrom: number,
  ): void {
    const experts = this.#experts;
    const from = group * experts * L;
    for (let l = 0; l < L; l++) into[intoFrom + l] = 0;
    for (let e = 0; e < experts; e++) {
      const row = offset + e * L;
      if (Number.isNaN(forecasts[row] ?? Number.NaN)) continue;
      const shares = from + e * L;
      for (let l = 0; l < L; l++) {
        const part = (weights[shares + l] ?? 0) * (forecasts[row + l] ?? 0);
        into[intoFrom + l] = (into[intoFrom + l] ?? 0) + part;
      }
    }
  }

  /**
   * One round of a group. `gradients` are those of the loss at the combined forecast, by level; an
   * expert whose row is NaN slept. Experts' rows lie from `offset` on, combined ones from `at`.
   * Earlier rounds fade as over so many `bins`.
   */
  learn(
    group: number,
    gradients: Float64Array,
    combined: Float64Array,
    at: number,
    forecasts: Float64Array,
    offset: number,
    bins: number,
  ): void {
    const experts = this.#experts;
    const from = group * experts * L;
    const fade = KEEP ** bins;
    const widest = BEST.fill(0);
    for (let e = 0; e < experts; e++) {
      const row = offset + e * L;
      if (Number.isNaN(forecasts[row] ?? Number.NaN)) continue;
      for (let l = 0; l < L; l++) {
        const apart = Math.abs((combined[at + l] ?? 0) - (forecasts[row + l] ?? 0));
        if (apart > (widest[l] ?? 0)) widest[l] = apart;
      }
    }
    const scales = this.#scale;
    for (let l = 0; l < L; l++) {
      const gradient = gradients[l] ?? 0;
      const size = Math.abs(gradient) * (widest[l] ?? 0);
      const scale = Math.max((scales[group * L + l] ?? 0) * GRADIENT_KEEP, size);
      const told = size > SIZE_MIN;
      if (told) scales[group * L + l] = scale;
      KEEPS[l] = told ? fade : 1;
      GAINS[l] = told ? gradient / scale : 0;
    }
    const regrets = this.#regret;
    const squares = this.#square;
    const rates = this.#rates;
    for (let e = 0; e < experts; e++) {
      const row = offset + e * L;
      if (Number.isNaN(forecasts[row] ?? Number.NaN)) continue;
      for (let l = 0; l < L; l++) {
        const gain = (GAINS[l] ?? 0) * ((combined[at + l] ?? 0) - (forecasts[row + l] ?? 0));
        const square = gain * gain;
        const keep = KEEPS[l] ?? 1;
        const i = from + e * L + l;
        regrets[i] = (regrets[i] ?? 0) * keep + gain - (rates[i] ?? 0) * square;
        squares[i] = (squares[i] ?? 0) * keep + square;
      }
    }
  }
}
