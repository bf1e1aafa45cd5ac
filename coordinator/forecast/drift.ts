/**
 * Tells when a series has left its level for good: a two-sided cumulative sum of errors (Page 1954)
 * against a slow forecast, in units of their usual size. One change is told once.
 */
const USUAL_GAIN = 0.01;
/** Errors count no more than so many usual ones: one spike is no drift. */
const CUT = 4;
/** What errors may be without adding up. */
const SLACK = 1;
const THRESHOLD = 30;
const WARM_BINS = 48;
const QUIET_BINS_MIN = 48;
const ALARMS_MAX = 16;

export class Drift {
  /** Bins at which an alarm was raised, oldest first; the last few. */
  readonly alarms: number[] = [];
  readonly #quietBins: number;
  #usual = 0;
  #seen = 0;
  #above = 0;
  #below = 0;
  #quietUntil = 0;

  /** After an alarm the forecast is given two seasons to find the new level. */
  constructor(season: number) {
    this.#quietBins = Math.max(QUIET_BINS_MIN, 2 * season);
    this.#quietUntil = Math.max(WARM_BINS, 2 * season);
  }

  /** True when bin `t` raises the alarm. */
  update(t: number, error: number): boolean {
    const size = Math.abs(error);
    this.#seen++;
    const capped = this.#seen > WARM_BINS ? Math.min(size, CUT * this.#usual) : size;
    this.#usual += Math.max(1 / this.#seen, USUAL_GAIN) * (capped - this.#usual);
    if (t < this.#quietUntil || !(this.#usual > 0)) return false;
    const ratio = Math.max(-CUT, Math.min(CUT, error / this.#usual));
    this.#above = Math.max(0, this.#above + ratio - SLACK);
    this.#below = Math.max(0, this.#below - ratio - SLACK);
    if (Math.max(this.#above, this.#below) < THRESHOLD) return false;
    this.#above = 0;
    this.#below = 0;
    this.#quietUntil = t + this.#quietBins;
    this.alarms.push(t);
    if (this.alarms.length > ALARMS_MAX) this.alarms.shift();
    return true;
  }
}
