/**
 * Weights of experts per quantile level, with a regret bound: Bernstein online aggregation on the
 * linearised pinball loss (Wintenberger 2017), each expert with its own learning rate. Experts that
 * are silent sleep; old rounds fade.
 */
const KEEP = 0.998;
const RATE_MAX = 0.5;
const GRADIENT_KEEP = 0.98;

export class Combination {
  readonly #experts: number;
  readonly #prior: Float64Array;
  readonly #regret: Float64Array;
  readonly #square: Float64Array;
  readonly #scale: Float64Array;

  /** One set of weights for each of `rows`; `prior` has a weight for each expert. */
  constructor(rows: number, prior: readonly number[]) {
    this.#experts = prior.length;
    this.#prior = Float64Array.from(prior);
    this.#regret = new Float64Array(rows * prior.length);
    this.#square = new Float64Array(rows * prior.length);
    this.#scale = new Float64Array(rows);
  }

  /** Weights of a row into `into`, summing to 1 over those that are awake. */
  weights(row: number, awake: Uint8Array, into: Float64Array): void {
    let best = Number.NEGATIVE_INFINITY;
    for (let e = 0; e < this.#experts; e++) {
      const at = row * this.#experts + e;
      const rate = this.#rate(at);
      const score = rate * (this.#regret[at] ?? 0) + Math.log((this.#prior[e] ?? 0) * rate);
      into[e] = score;
      if (awake[e] && score > best) best = score;
    }
    let sum = 0;
    for (let e = 0; e < this.#experts; e++) {
      const weight = awake[e] ? Math.exp((into[e] ?? 0) - best) : 0;
      into[e] = weight;
      sum += weight;
    }
    for (let e = 0; e < this.#experts; e++) into[e] = (into[e] ?? 0) / (sum || 1);
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
      const rate = this.#rate(at);
      this.#regret[at] = (this.#regret[at] ?? 0) * KEEP + gain - rate * gain * gain;
      this.#square[at] = (this.#square[at] ?? 0) * KEEP + gain * gain;
    }
  }

  state(): number[][] {
    return [this.#regret, this.#square, this.#scale].map((part) => [...part]);
  }

  restore(state: readonly (readonly number[])[]): void {
    for (const [i, part] of [this.#regret, this.#square, this.#scale].entries()) {
      part.set((state[i] ?? []).slice(0, part.length));
    }
  }

  #rate(at: number): number {
    return Math.min(
      RATE_MAX,
      Math.sqrt(Math.log(this.#experts + 1) / (1 + (this.#square[at] ?? 0))),
    );
  }
}
