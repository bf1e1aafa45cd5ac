/**
 * The expected z of each phase of a season, learned cycle by cycle; phases borrow from neighbours.
 * Where a season is long, a phase is several bins: a week of minutes would else take 200 kB.
 */

/** What a phase moves towards a new value, at least. */
const GAIN_MIN = 0.25;
/** From there on it is the least gain that counts. */
const CYCLES_MAX = 8;
/** More bins than that share phases; more phases cost memory. */
const PHASES_MAX = 1008;

export class Profile {
  readonly #phases: number;
  /** Bins of a phase. */
  readonly #grain: number;
  /** Phases on each side that one borrows from. */
  readonly #width: number;
  readonly #values: Float32Array;
  /** Bins of each phase that were seen, as far as that makes a difference. */
  readonly #seen: Uint16Array;
  /** Of each phase and its neighbours: sums of what `#values` say, and how many were seen. */
  readonly #sums: Float32Array;
  readonly #weights: Uint8Array;

  /** In bins; `width`: neighbours on each side. */
  constructor(season: number, width: number) {
    this.#grain = Math.ceil(season / PHASES_MAX);
    this.#phases = Math.ceil(season / this.#grain);
    this.#width = width === 0 ? 0 : Math.max(1, Math.round(width / this.#grain));
    this.#values = new Float32Array(this.#phases);
    this.#seen = new Uint16Array(this.#phases);
    this.#sums = new Float32Array(this.#phases);
    this.#weights = new Uint8Array(this.#phases);
  }

  learn(bin: number, z: number): void {
    const phase = Math.floor(bin / this.#grain);
    const seen = Math.min(CYCLES_MAX * this.#grain, (this.#seen[phase] ?? 0) + 1);
    this.#seen[phase] = seen;
    const gain = Math.max(GAIN_MIN / this.#grain, 1 / seen);
    const step = gain * (z - (this.#values[phase] ?? 0));
    this.#values[phase] = (this.#values[phase] ?? 0) + step;
    for (let j = -this.#width; j <= this.#width; j++) {
      const near = (phase + j + this.#phases) % this.#phases;
      this.#sums[near] = (this.#sums[near] ?? 0) + step;
      if (seen === 1) this.#weights[near] = (this.#weights[near] ?? 0) + 1;
    }
  }

  /** `other` where nothing was seen. */
  expected(bin: number, other: number): number {
    const phase = Math.floor(bin / this.#grain);
    const weight = this.#weights[phase] ?? 0;
    return weight > 0 ? (this.#sums[phase] ?? 0) / weight : other;
  }

  /** Cycles in which the bin's phase was seen, up to eight. */
  cycles(bin: number): number {
    return (this.#seen[Math.floor(bin / this.#grain)] ?? 0) / this.#grain;
  }
}
