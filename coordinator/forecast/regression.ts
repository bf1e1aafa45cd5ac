/**
 * Ridge regression of the count some bins ahead on what is known now, kept by recursive sums with
 * forgetting. It is pulled to a prior that makes sense with no data at all. Large surprises count
 * less (Huber 1964).
 */
import { SEASONS_MAX } from "./seasons.ts";
import { FAST, MEDIUM, type Signal, SLOW } from "./signal.ts";

const HARMONICS = 2;
const BASE = 5;
const PER_SEASON = 6;
const PER_CALENDAR = 2;
/** Bins that the sums remember. */
const MEMORY_BINS = 1300;
/** The prior counts like that many bins. */
const PRIOR_BINS = 14;
const SOLVE_BINS = 32;
const HUBER = 2.5;
const WEIGHT_RESCALE = 1e8;

export function featureCount({ seasons, knowsDayTypes }: Knowing): number {
  const harmonics = seasons.length > 0 ? 2 * HARMONICS : 0;
  return BASE + seasons.length * PER_SEASON + harmonics + (knowsDayTypes ? PER_CALENDAR : 0);
}

/** Of a signal, what decides how much there is to know. */
type Knowing = { seasons: readonly number[]; knowsDayTypes: boolean };

/** Writes what is known about the bin `ahead` (1 = the next), all relative to the slow mean. */
export function writeFeatures(signal: Signal, ahead: number, into: Float64Array): void {
  const target = signal.n - 1 + ahead;
  const origin = signal.mean(SLOW);
  into[0] = 1;
  into[1] = signal.n === 0 ? 0 : signal.z(signal.n - 1) - origin;
  into[2] = signal.mean(FAST) - origin;
  into[3] = signal.mean(MEDIUM) - origin;
  into[4] = signal.trend(ahead) + signal.seasonal(0, target) - origin;
  let at = BASE;
  for (let s = 0; s < signal.seasons.length; s++) {
    const season = signal.seasons[s] ?? 1;
    const seasonal = signal.seasonal(s, target) - origin;
    const before = signal.seasonBefore(target, season);
    into[at] = seasonal;
    into[at + 1] = signal.deviation(s, FAST);
    into[at + 2] = signal.deviation(s, MEDIUM);
    into[at + 3] = signal.deviation(s, SLOW);
    into[at + 4] = Number.isNaN(before) ? 0 : before - origin - seasonal;
    into[at + 5] = signal.n > season ? signal.z(signal.n - 1) - signal.z(signal.n - 1 - season) : 0;
    at += PER_SEASON;
  }
  const season = signal.seasons[0];
  if (season === undefined) return;
  for (let k = 1; k <= HARMONICS; k++) {
    const angle = (2 * Math.PI * k * (target % season)) / season;
    into[at++] = Math.cos(angle);
    into[at++] = Math.sin(angle);
  }
  if (!signal.knowsDayTypes) return;
  into[at] = signal.dayType(target);
  into[at + 1] = signal.dayTypeLately;
}

/** Of the solver, which is done before it returns. */
const SIZE_MAX = featureCount({ seasons: Array(SEASONS_MAX), knowsDayTypes: true });
const SCRATCH = new Float64Array(SIZE_MAX ** 2);

export class Ridge {
  readonly #size: number;
  readonly #gram: Float64Array;
  readonly #cross: Float64Array;
  readonly #prior: Float64Array;
  readonly coefficients: Float64Array;
  readonly #memory: number;
  readonly #ridge: number;
  readonly #solveEvery: number;
  #weight = 1;
  #weights = 0;
  #rounds = 0;
  #spread = 0;

  /** Of so many bins, one is learned from. */
  constructor(knowing: Knowing, every: number) {
    const seasons = knowing.seasons.length;
    this.#memory = MEMORY_BINS / every;
    this.#ridge = PRIOR_BINS / every;
    this.#solveEvery = Math.max(1, Math.round(SOLVE_BINS / every));
    this.#size = featureCount(knowing);
    this.#gram = new Float64Array(this.#size * this.#size);
    this.#cross = new Float64Array(this.#size);
    this.#prior = new Float64Array(this.#size);
    if (seasons === 0) this.#prior[3] = 1;
    for (let s = 0; s < seasons; s++) {
      this.#prior[BASE + s * PER_SEASON] = 1 / seasons;
      this.#prior[BASE + s * PER_SEASON + 2] = 0.7 / seasons;
    }
    this.coefficients = this.#prior.slice();
  }

  /** `target` is relative to the origin of the features. */
  learn(features: Float64Array, offset: number, target: number): void {
    const size = this.#size;
    let predicted = 0;
    for (let i = 0; i < size; i++) {
      predicted += (features[offset + i] ?? 0) * (this.coefficients[i] ?? 0);
    }
    const surprise = Math.abs(target - predicted);
    this.#rounds++;
    const robust =
      this.#rounds < 20 || surprise <= HUBER * this.#spread ? 1 : (HUBER * this.#spread) / surprise;
    this.#spread += Math.max(1 / this.#rounds, 0.01) * (surprise * robust - this.#spread);
    this.#weight *= 1 + 1 / this.#memory;
    const weight = this.#weight * robust;
    this.#weights += weight;
    for (let i = 0; i < size; i++) {
      const scaled = weight * (features[offset + i] ?? 0);
      if (scaled === 0) continue;
      const row = i * size;
      for (let j = 0; j <= i; j++) {
        this.#gram[row + j] = (this.#gram[row + j] ?? 0) + scaled * (features[offset + j] ?? 0);
      }
      this.#cross[i] = (this.#cross[i] ?? 0) + scaled * target;
    }
    if (this.#weight > WEIGHT_RESCALE) this.#rescale();
    if (this.#rounds % this.#solveEvery === 0) this.#solve();
  }

  #rescale(): void {
    for (let i = 0; i < this.#gram.length; i++) {
      this.#gram[i] = (this.#gram[i] ?? 0) / this.#weight;
    }
    for (let i = 0; i < this.#size; i++) this.#cross[i] = (this.#cross[i] ?? 0) / this.#weight;
    this.#weights /= this.#weight;
    this.#weight = 1;
  }

  /** (G + λI)(β − β₀) = c − Gβ₀, by Cholesky's decomposition. */
  #solve(): void {
    const size = this.#size;
    const lower = SCRATCH;
    let trace = 0;
    for (let i = 1; i < size; i++) trace += this.#gram[i * size + i] ?? 0;
    const mean = trace / (size - 1) / Math.max(this.#weights, 1e-300);
    const ridge = this.#ridge * this.#weight * (mean + 1e-9);
    const delta = new Float64Array(size);
    for (let i = 0; i < size; i++) {
      let right = this.#cross[i] ?? 0;
      for (let j = 0; j < size; j++) {
        const gram = j <= i ? this.#gram[i * size + j] : this.#gram[j * size + i];
        right -= (gram ?? 0) * (this.#prior[j] ?? 0);
      }
      delta[i] = right;
    }
    for (let i = 0; i < size; i++) {
      for (let j = 0; j <= i; j++) {
        let sum = (this.#gram[i * size + j] ?? 0) + (i === j ? ridge : 0);
        for (let k = 0; k < j; k++) sum -= (lower[i * size + k] ?? 0) * (lower[j * size + k] ?? 0);
        lower[i * size + j] =
          i === j ? Math.sqrt(Math.max(sum, ridge * 1e-6)) : sum / (lower[j * size + j] ?? 1);
      }
    }
    for (let i = 0; i < size; i++) {
      let sum = delta[i] ?? 0;
      for (let k = 0; k < i; k++) sum -= (lower[i * size + k] ?? 0) * (delta[k] ?? 0);
      delta[i] = sum / (lower[i * size + i] ?? 1);
    }
    for (let i = size - 1; i >= 0; i--) {
      let sum = delta[i] ?? 0;
      for (let k = i + 1; k < size; k++) sum -= (lower[k * size + i] ?? 0) * (delta[k] ?? 0);
      delta[i] = sum / (lower[i * size + i] ?? 1);
    }
    for (let i = 0; i < size; i++) {
      this.coefficients[i] = (this.#prior[i] ?? 0) + (delta[i] ?? 0);
    }
  }
}
