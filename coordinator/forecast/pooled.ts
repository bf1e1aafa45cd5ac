/**
 * Frequencies that all categories share, by context: what a category that has seen little borrows
 * from those that behave alike.
 */
export class PooledTable {
  readonly #hits: Float64Array;
  readonly #trials: Float64Array;
  readonly #trialsMax: number;

  /** Older evidence fades once a context has seen `trialsMax` minutes. */
  constructor(contexts: number, trialsMax: number) {
    this.#hits = new Float64Array(contexts);
    this.#trials = new Float64Array(contexts);
    this.#trialsMax = trialsMax;
  }

  get contexts(): number {
    return this.#hits.length;
  }

  hits(context: number): number {
    return this.#hits[context] ?? 0;
  }

  trials(context: number): number {
    return this.#trials[context] ?? 0;
  }

  learn(context: number, hit: boolean): void {
    const trials = this.trials(context);
    const keep = trials >= this.#trialsMax ? (this.#trialsMax - 1) / trials : 1;
    this.#trials[context] = trials * keep + 1;
    this.#hits[context] = this.hits(context) * keep + (hit ? 1 : 0);
  }

  /** What was seen of a context counts like no more than so many minutes. */
  fade(trialsMax: number): void {
    for (let c = 0; c < this.#hits.length; c++) {
      const keep = Math.min(1, trialsMax / Math.max(1, this.trials(c)));
      this.#hits[c] = this.hits(c) * keep;
      this.#trials[c] = this.trials(c) * keep;
    }
  }

  /** Alternating context, hits, trials of the contexts that were seen. */
  state(): number[] {
    const rows: number[] = [];
    for (let c = 0; c < this.#hits.length; c++) {
      if (this.trials(c) > 0) rows.push(c, this.hits(c), this.trials(c));
    }
    return rows;
  }

  restore(rows: readonly number[]): void {
    this.#hits.fill(0);
    this.#trials.fill(0);
    for (let i = 0; i + 2 < rows.length; i += 3) {
      const context = rows[i] ?? 0;
      this.#hits[context] = rows[i + 1] ?? 0;
      this.#trials[context] = rows[i + 2] ?? 0;
    }
  }
}
