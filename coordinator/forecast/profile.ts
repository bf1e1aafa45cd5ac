/** The expected z of each phase of a season, learned cycle by cycle; phases borrow from neighbours. */

/** What a phase moves towards a new value, at least. */
const GAIN_MIN = 0.25;
/** From there on it is the least gain that counts. */
const CYCLES_MAX = 8;

export class Profile {
  readonly #season: number;
  readonly #width: number;
  readonly #values: Float64Array;
  /** Times that each phase was seen, as far as that makes a difference. */
  readonly #seen: Uint8Array;
  /** Of each phase and its neighbours: sums of what `#values` say, and how many were seen. */
  readonly #sums: Float64Array;
  readonly #weights: Uint8Array;

  /** `width`: neighbours on each side. */
  constructor(season: number, width: number) {
    this.#season = season;
    this.#width = width;
    this.#values = new Float64Array(season);
    this.#seen = new Uint8Array(season);
    this.#sums = new Float64Array(season);
    this.#weights = new Uint8Array(season);
  }

  learn(phase: number, z: number): void {
    const cycles = Math.min(CYCLES_MAX, (this.#seen[phase] ?? 0) + 1);
    this.#seen[phase] = cycles;
    const gain = Math.max(GAIN_MIN, 1 / cycles);
    const step = gain * (z - (this.#values[phase] ?? 0));
    this.#values[phase] = (this.#values[phase] ?? 0) + step;
    for (let j = -this.#width; j <= this.#width; j++) {
      const near = (phase + j + this.#season) % this.#season;
      this.#sums[near] = (this.#sums[near] ?? 0) + step;
      if (cycles === 1) this.#weights[near] = (this.#weights[near] ?? 0) + 1;
    }
  }

  /** `other` where nothing was seen. */
  expected(phase: number, other: number): number {
    const weight = this.#weights[phase] ?? 0;
    return weight > 0 ? (this.#sums[phase] ?? 0) / weight : other;
  }

  /** Cycles in which the phase was seen, up to eight. */
  cycles(phase: number): number {
    return this.#seen[phase] ?? 0;
  }
}
