/**
 * The simple policies that have a say beside the program, and that a backtest compares with: fixed
 * keep-alives, and the hybrid histogram of Shahrad et al., "Serverless in the Wild", ATC 2020.
 */

/** Minutes of the fixed keep-alives that have a say. */
export const KEEP_ALIVES = [1, 5, 10, 20, 30, 60, 120] as const;

export type HistogramOptions = {
  /** Idle times longer than that are not told apart. */
  rangeMinutes: number;
  /** Percentiles of the idle times that the window spans, 0..1. */
  head: number;
  tail: number;
  /** The window is widened by that share on either side. */
  margin: number;
  /** Coefficient of variation of the histogram's bins from which on it says something. */
  variationMin: number;
};

/**
 * As published: a range of 4 hours in minutes, 5th and 99th percentile, 10 % margin, CV ≥ 2. Where
 * the histogram says nothing, or half of the idle times are out of its range, the variant without
 * ARIMA is used: the standard keep-alive, as long as the range.
 */
export const PUBLISHED: HistogramOptions = {
  rangeMinutes: 240,
  head: 0.05,
  tail: 0.99,
  margin: 0.1,
  variationMin: 2,
};

/** Idle minutes from which on and until which it is wanted, both included. */
export type IdleWindow = { from: number; to: number };

/** The idle times of one category and the window they ask for. */
export class IdleTimes {
  readonly #options: HistogramOptions;
  readonly #bins: Uint32Array;
  #inRange = 0;
  #outOfRange = 0;
  #squares = 0;
  #window: IdleWindow;

  constructor(options: HistogramOptions = PUBLISHED) {
    this.#options = options;
    this.#bins = new Uint32Array(options.rangeMinutes + 1);
    this.#window = { from: 0, to: options.rangeMinutes };
  }

  get window(): IdleWindow {
    return this.#window;
  }

  /** An arrival came `minutes` after the one before it. */
  learn(minutes: number): void {
    if (minutes > this.#options.rangeMinutes) this.#outOfRange++;
    else {
      const before = this.#bins[minutes] ?? 0;
      this.#bins[minutes] = before + 1;
      this.#squares += 2 * before + 1;
      this.#inRange++;
    }
    this.#window = this.#says() ? this.#spanned() : { from: 0, to: this.#options.rangeMinutes };
  }

  #says(): boolean {
    if (this.#inRange === 0 || this.#outOfRange > this.#inRange) return false;
    const { rangeMinutes, variationMin } = this.#options;
    const mean = this.#inRange / rangeMinutes;
    const variance = Math.max(0, this.#squares / rangeMinutes - mean * mean);
    return Math.sqrt(variance) >= variationMin * mean;
  }

  #spanned(): IdleWindow {
    const { head, tail, margin } = this.#options;
    const from = Math.floor(this.#percentile(head) * (1 - margin));
    return { from, to: Math.ceil(this.#percentile(tail) * (1 + margin)) };
  }

  #percentile(share: number): number {
    const wanted = Math.max(1, Math.ceil(share * this.#inRange));
    let seen = 0;
    for (let minutes = 0; minutes < this.#bins.length; minutes++) {
      seen += this.#bins[minutes] ?? 0;
      if (seen >= wanted) return minutes;
    }
    return this.#options.rangeMinutes;
  }
}

/**
 * Whether a window wants it loaded in a minute that is `idleMinutes` after the last arrival. What
 * starts with the next minute is not dropped before it; a load begins `leadMinutes` ahead.
 */
export function wants({ from, to }: IdleWindow, idleMinutes: number, leadMinutes: number): boolean {
  return idleMinutes + leadMinutes >= from && idleMinutes <= to;
}
