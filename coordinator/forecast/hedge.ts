/**
 * Weights of experts per quantile level by what each has lost so far, for demand that is often
 * nothing at all. There a few rounds tell who is right, sometimes exactly: the learning rate follows
 * the losses themselves, so that it stays high while somebody is without a rival and falls where
 * leaders change (AdaHedge; de Rooij, van Erven, Grünwald & Koolen 2014, "Follow the leader if you
 * can, hedge if you must"). Nobody falls so far behind that he could not come back (fixed share,
 * Herbster & Warmuth 1998). What `Combination` makes of the experts is one more of them: it finds
 * mixtures that are better than each, this one finds the one that needs no other.
 */
import { LEVELS } from "./levels.ts";

const L = LEVELS.length;
/** Of the combined forecast, before anything was learned. */
const COMBINED_PRIOR = 0.9;
/** What a round counts for a bin later. */
const KEEP = 0.997;
/** Logarithm of how much less one may weigh than another with the same prior. */
const BEHIND_MAX = 20;
/** Of the weight of who weighs most. */
const WEIGHT_MIN = 0.05;
/** Keeps what has faded for ever a number. */
const GAP_MIN = 1e-200;

export class Hedge {
  readonly #rows: number;
  readonly #prior: Float64Array;
  /** Of each level and row: loss so far, relative to what was forecast; then the weight by it. */
  readonly #losses: Float64Array;
  readonly #weights: Float64Array;
  /** Of each level: what mixing has cost, which sets the learning rate. */
  readonly #gaps = new Float64Array(L);
  readonly #round: Float64Array;

  /** `prior` has a weight for each expert; their combined forecast is the row after the last. */
  constructor(prior: readonly number[]) {
    const sum = prior.reduce((total, share) => total + share, 0);
    const shares = prior.map((share) => ((1 - COMBINED_PRIOR) * share) / sum);
    this.#prior = Float64Array.from([...shares, COMBINED_PRIOR]);
    this.#rows = this.#prior.length;
    this.#losses = new Float64Array(L * this.#rows);
    this.#weights = new Float64Array(L * this.#rows);
    this.#round = new Float64Array(this.#rows);
    this.restart();
  }

  /** Forgets all rounds. */
  restart(): void {
    this.#losses.fill(0);
    this.#gaps.fill(0);
    for (let l = 0; l < L; l++) this.#weights.set(this.#prior, l * this.#rows);
  }

  /** Weighted mean of each level over the rows (of `L` levels) that are not NaN. */
  lean(rows: Float64Array, into: Float64Array): void {
    for (let l = 0; l < L; l++) into[l] = this.#mixed(l, rows);
  }

  /**
   * One round: `counts` are the rows' forecasts of what was `actual`, NaN of one that slept.
   * Earlier rounds fade as over so many `bins`.
   */
  learn(counts: Float64Array, actual: number, bins: number): void {
    const fade = KEEP ** bins;
    for (let l = 0; l < L; l++) {
      for (let e = 0; e < this.#rows; e++)
        this.#round[e] = lossAt(l, actual, counts[e * L + l] ?? Number.NaN);
      this.#learnLevel(l, lossAt(l, actual, this.#mixed(l, counts)), fade);
    }
  }

  /** Those who weigh next to nothing are left out: together they would still be felt. */
  #mixed(l: number, rows: Float64Array): number {
    const from = l * this.#rows;
    let most = 0;
    for (let e = 0; e < this.#rows; e++) {
      const weight = this.#weights[from + e] ?? 0;
      if (weight > most && !Number.isNaN(rows[e * L + l] ?? Number.NaN)) most = weight;
    }
    let sum = 0;
    let total = 0;
    for (let e = 0; e < this.#rows; e++) {
      const forecast = rows[e * L + l] ?? Number.NaN;
      const weight = this.#weights[from + e] ?? 0;
      if (Number.isNaN(forecast) || weight < WEIGHT_MIN * most) continue;
      total += weight;
      sum += weight * forecast;
    }
    return sum / total;
  }

  /** `mixed`: the loss of what all said together. */
  #learnLevel(l: number, mixed: number, fade: number): void {
    const from = l * this.#rows;
    const gap = Math.max(0, mixed - this.#ideal(l));
    let least = Number.POSITIVE_INFINITY;
    for (let e = 0; e < this.#rows; e++) {
      const loss = this.#round[e] ?? Number.NaN;
      // Who slept is taken to have done as the others together.
      const more = Number.isNaN(loss) ? 0 : loss - mixed;
      const sum = (this.#losses[from + e] ?? 0) * fade + more;
      this.#losses[from + e] = sum;
      if (sum < least) least = sum;
    }
    const after = (this.#gaps[l] ?? 0) * fade + gap;
    this.#gaps[l] = after > 0 ? Math.max(after, GAP_MIN) : 0;
    const rate = this.#rateOf(l);
    for (let e = 0; e < this.#rows; e++) {
      const behind = Math.min((this.#losses[from + e] ?? 0) - least, BEHIND_MAX / rate);
      this.#losses[from + e] = least + behind;
      this.#weights[from + e] = (this.#prior[e] ?? 0) * (behind > 0 ? Math.exp(-rate * behind) : 1);
    }
  }

  /** The round's loss of the ideal mixture at the weights and the rate. */
  #ideal(l: number): number {
    const from = l * this.#rows;
    let total = 0;
    let least = Number.POSITIVE_INFINITY;
    for (let e = 0; e < this.#rows; e++) {
      const loss = this.#round[e] ?? Number.NaN;
      if (Number.isNaN(loss)) continue;
      total += this.#weights[from + e] ?? 0;
      if (loss < least) least = loss;
    }
    const rate = this.#rateOf(l);
    if (rate === Number.POSITIVE_INFINITY) return least;
    let kept = 0;
    for (let e = 0; e < this.#rows; e++) {
      const loss = this.#round[e] ?? Number.NaN;
      if (!Number.isNaN(loss))
        kept += (this.#weights[from + e] ?? 0) * Math.exp(-rate * (loss - least));
    }
    return least - Math.log(kept / total) / rate;
  }

  #rateOf(l: number): number {
    return Math.log(this.#rows) / (this.#gaps[l] ?? 0);
  }
}

function lossAt(l: number, actual: number, forecast: number): number {
  const error = actual - forecast;
  const level = LEVELS[l] ?? 0;
  return error >= 0 ? level * error : (level - 1) * error;
}
