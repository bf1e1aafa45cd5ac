/**
 * Weights of experts per quantile level, with a regret bound: Bernstein online aggregation on the
 * linearised pinball loss (Wintenberger 2017), each expert with its own learning rate. Experts that
 * are silent sleep; old rounds fade.
 */
const KEEP = 0.998;
/** The proof asks for a half; with it, what is foretold exactly would be found too slowly. */
const RATE_MAX = 1;
/** Larger means that weights follow the losses sooner. */
const RATE_SQUARE = 2;
const GRADIENT_KEEP = 0.98;

export class Combination {
  readonly #experts: number;
  readonly #prior: Float64Array;
  readonly #regret: Float64Array;
  readonly #square: Float64Array;
  readonly #scale: Float64Array;
  readonly #rates: Float64Array;
  readonly #logExperts: number;

  /** One set of weights for each of `rows`; `prior` has a weight for each expert. */
  constructor(rows: number, prior: readonly number[]) {
    this.#experts = prior.length;
    this.#prior = Float64Array.from(prior);
    this.#regret = new Float64Array(rows * prior.length);
    this.#square = new Float64Array(rows * prior.length);
    this.#scale = new Float64Array(rows);
    this.#logExperts = Math.log(prior.length + 1);
    const rate = Math.min(RATE_MAX, Math.sqrt(this.#logExperts));
    this.#rates = new Float64Array(rows * prior.length).fill(rate);
  }

  /** Weights of a row into `into`, summing to 1 over those that are awake. */
  weights(row: number, awake: Uint8Array, into: Float64Array): void {
    const experts = this.#experts;
    const from = row * experts;
    let best = Number.NEGATIVE_INFINITY;
    for (let e = 0; e < experts; e++) {
      const score = (this.#rates[from + e] ?? 0) * (this.#regret[from + e] ?? 0);
      into[e] = score;
      if (awake[e] && score > best) best = score;
    }
    let sum = 0;
    for (let e = 0; e < experts; e++) {
      const share = (this.#prior[e] ?? 0) * (this.#rates[from + e] ?? 0);
      const weight = awake[e] ? share * Math.exp((into[e] ?? 0) - best) : 0;
      into[e] = weight;
      sum += weight;
    }
    for (let e = 0; e < experts; e++) into[e] = (into[e] ?? 0) / (sum || 1);
  }

  /**
   * One round of a row. `gradient` is that of the loss at the combined forecast; an expert that is
   * NaN slept. Experts' forecasts are `step` apart from `offset` on.
   */
  learn(
    row: number,
    gradient: number,
    combined: number,
    forecasts: Float64Array,
    offset: number,
    step: number,
  ): void {
    let widest = 0;
    for (let e = 0; e < this.#experts; e++) {
      const forecast = forecasts[offset + e * step] ?? Number.NaN;
      const size = Math.abs(gradient * (combined - forecast));
      if (size > widest) widest = size;
    }
    if (!(widest > 0)) return;
    const scale = Math.max((this.#scale[row] ?? 0) * GRADIENT_KEEP, widest);
    this.#scale[row] = scale;
    for (let e = 0; e < this.#experts; e++) {
      const forecast = forecasts[offset + e * step] ?? Number.NaN;
      if (Number.isNaN(forecast)) continue;
      const at = row * this.#experts + e;
      const gain = (gradient * (combined - forecast)) / scale;
      const rate = this.#rates[at] ?? 0;
      this.#regret[at] = (this.#regret[at] ?? 0) * KEEP + gain - rate * gain * gain;
      const square = (this.#square[at] ?? 0) * KEEP + gain * gain;
      this.#square[at] = square;
      this.#rates[at] = Math.min(
        RATE_MAX,
        Math.sqrt((RATE_SQUARE * this.#logExperts) / (1 + square)),
      );
    }
  }
}
