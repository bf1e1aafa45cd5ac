/**
 * Demand that is often nothing at all: how likely a bin has any, and how much it is then, apart
 * (Croston 1972; without waiting for the next demand to lower the chance: Teunter, Syntetos & Babai
 * 2011). A third expert goes by the bins since the last demand, which finds timers and bursts.
 */
import { LEVELS } from "./levels.ts";
import { sortRow, track } from "./tracker.ts";

const L = LEVELS.length;
export const INTERMITTENT: readonly (readonly [name: string, prior: number])[] = [
  ["sparse-fast", 1],
  ["sparse", 2],
  ["idle-time", 1.5],
];
const CHANCE_GAINS = [0.15, 0.02] as const;
/** Below this share of bins without demand the experts sleep. */
const QUIET_MIN = 0.04;
const QUIET_GAIN = 0.01;
/** Idle times are told apart up to so many bins. */
const IDLE_EXACT = 128;
const IDLE_BUCKETS = IDLE_EXACT + 16;
const IDLE_GAIN_MIN = 0.04;
/** From there on it is the least gain that counts. */
const SEEN_MAX = 64;
/** The chance after an idle time is pulled to the mean as by so many bins. */
const IDLE_PRIOR = 1.5;
/** Further ahead idle time tells nothing. */
const REACH_MAX = 48;
const SIZE_GAIN = 0.03;

export class Intermittent {
  readonly #reach: number;
  readonly #chances = new Float64Array(CHANCE_GAINS.length);
  /** Of series that have quiet bins; most have none. */
  #table: IdleTable | null = null;
  readonly #idles: Uint8Array;
  readonly #sizes = new Float64Array(L);
  #idle = 0;
  #quiet = 0;
  #n = 0;
  #busy = 0;
  #spread = 0;

  constructor(horizon: number) {
    this.#reach = Math.min(horizon, REACH_MAX);
    this.#idles = new Uint8Array(this.#reach + 1);
  }

  get awake(): boolean {
    return this.#busy > 0 && this.#quiet > QUIET_MIN;
  }

  /** Share of bins without demand. */
  get quiet(): number {
    return this.#quiet;
  }

  /** One bin, on the signal's scale. */
  update(z: number): void {
    const any = z > 0 ? 1 : 0;
    const n = this.#n++;
    this.#quiet += Math.max(QUIET_GAIN, 1 / (n + 1)) * (1 - any - this.#quiet);
    if (this.#quiet > QUIET_MIN / 4) {
      this.#table ??= new IdleTable(this.#reach);
      const mean = this.#chances[1] ?? 0;
      for (let ahead = 1; ahead <= Math.min(this.#reach, n); ahead++) {
        const origin = n - ahead + 1;
        this.#table.learn(ahead, this.#idles[origin % this.#idles.length] ?? 0, any, mean);
      }
    }
    for (let i = 0; i < CHANCE_GAINS.length; i++) {
      const chance = this.#chances[i] ?? 0;
      this.#chances[i] = chance + Math.max(CHANCE_GAINS[i] ?? 1, 1 / (n + 1)) * (any - chance);
    }
    if (any) this.#learnSize(z);
    this.#idle = any ? 0 : this.#idle + 1;
    this.#idles[this.#n % this.#idles.length] = bucketOf(this.#idle);
  }

  /** Rows of `L` quantiles from `at` on of the bin `ahead` (1 = the next); NaN when asleep. */
  write(ahead: number, into: Float64Array, at: number): void {
    if (!this.awake) {
      into.fill(Number.NaN, at, at + INTERMITTENT.length * L);
      return;
    }
    for (let i = 0; i < INTERMITTENT.length; i++) {
      const chance = i < CHANCE_GAINS.length ? (this.#chances[i] ?? 0) : this.#chanceAfter(ahead);
      for (let l = 0; l < L; l++) into[at + i * L + l] = this.#quantile(l, chance);
    }
  }

  #chanceAfter(ahead: number): number {
    return this.#table?.chance(ahead, bucketOf(this.#idle)) ?? this.#chances[1] ?? 0;
  }

  #quantile(l: number, chance: number): number {
    const level = 1 - (1 - (LEVELS[l] ?? 0)) / chance;
    if (!(level > 0)) return 0;
    let upper = 0;
    while (upper < L - 1 && (LEVELS[upper] ?? 1) < level) upper++;
    const high = this.#sizes[upper] ?? 0;
    if (upper === 0) return Math.max(0, high);
    const from = LEVELS[upper - 1] ?? 0;
    const share = Math.min(1, (level - from) / ((LEVELS[upper] ?? 1) - from));
    const low = this.#sizes[upper - 1] ?? 0;
    return Math.max(0, low + share * (high - low));
  }

  #learnSize(z: number): void {
    const busy = this.#busy++;
    if (busy === 0) this.#sizes.fill(z);
    const middle = this.#sizes[L >> 1] ?? 0;
    this.#spread += Math.max(SIZE_GAIN, 1 / (busy + 1)) * (Math.abs(z - middle) - this.#spread);
    const gain = Math.max(SIZE_GAIN, 1 / (busy + 3)) * this.#spread;
    track(this.#sizes, 0, z, gain);
    sortRow(this.#sizes, 0);
  }
}

/** How often there was demand, by distance (each: timers allow no interpolation) and idle time. */
class IdleTable {
  readonly #chances: Float32Array;
  /** How often it was seen, as far as that makes a difference. */
  readonly #seen: Uint8Array;

  constructor(reach: number) {
    this.#chances = new Float32Array(reach * IDLE_BUCKETS);
    this.#seen = new Uint8Array(reach * IDLE_BUCKETS);
  }

  learn(ahead: number, bucket: number, any: number, mean: number): void {
    const at = (ahead - 1) * IDLE_BUCKETS + bucket;
    const seen = Math.min(SEEN_MAX, (this.#seen[at] ?? 0) + 1);
    this.#seen[at] = seen;
    const before = seen === 1 ? mean : (this.#chances[at] ?? 0);
    this.#chances[at] = before + Math.max(IDLE_GAIN_MIN, 1 / (seen + IDLE_PRIOR)) * (any - before);
  }

  /** Null of what is too far ahead or was never seen. */
  chance(ahead: number, bucket: number): number | null {
    const at = (ahead - 1) * IDLE_BUCKETS + bucket;
    return (this.#seen[at] ?? 0) > 0 ? (this.#chances[at] ?? 0) : null;
  }
}

/** Exact idle times first, then doubling ones. */
function bucketOf(idle: number): number {
  if (idle < IDLE_EXACT) return idle;
  return Math.min(IDLE_BUCKETS - 1, IDLE_EXACT + Math.floor(Math.log2(idle / IDLE_EXACT) * 2));
}
