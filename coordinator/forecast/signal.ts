/**
 * What all experts of a series know of its past, kept up to date bin by bin: the counts on a
 * logarithmic scale that is linear near zero, means over short and long times, a profile for each
 * season and how far the series is from it.
 */
import { assert } from "../../shared/runtime/assert.ts";

/** Shares that the newest bin has in the running means, fastest first. */
export const GAINS = [0.5, 0.15, 0.03] as const;
export const FAST = 0;
export const MEDIUM = 1;
export const SLOW = 2;
/** What a phase of a profile moves towards a new value, at least. */
const PROFILE_GAIN_MIN = 0.25;
/** From there on it is the least gain that counts. */
const CYCLES_MAX = 8;
/** A phase borrows from so many neighbours on each side: a part of the first season. */
const SMOOTH_SHARE = 1 / 96;
const SMOOTH_MAX = 4;
/** The scale is linear below this share of the mean. */
const LINEAR_SHARE = 0.8;
/** Zeros below this share are gaps in the record, up to so many in a row. */
const RARE_SHARE = 0.05;
const RARE_AFTER = 50;
const RARE_GAIN = 0.005;
const DROPOUT_MAX = 6;
const TREND = { level: 0.8, slope: 0.15, damping: 0.9 } as const;
/** No forecast is further above the highest count seen, on the signal's scale. */
const HEADROOM = 0.7;
/** A bin counts no more towards the unit than so many times the median. */
const UNIT_CUT = 20;
/** So that the largest count over it, and what lies above that, are numbers still. */
const UNIT_MIN = 1e-30;

export class Signal {
  /** Bins seen. */
  n = 0;
  readonly seasons: readonly number[];
  readonly #unit: number;
  readonly #ring: Float64Array;
  readonly #means = new Float64Array(GAINS.length);
  readonly #profiles: Float64Array[];
  /** Times that each phase was seen, as far as that makes a difference. */
  readonly #seen: Uint8Array[];
  /** Of each phase and its neighbours: sums of what `#profiles` say, and how many were seen. */
  readonly #sums: Float64Array[];
  readonly #weights: Uint8Array[];
  readonly #deviations: Float64Array[];
  readonly #width: number;
  #top = 0;
  #zeros = 0;
  #zeroShare = 0;
  #trendLevel = 0;
  #trendSlope = 0;

  /** `unit`: from where on the scale is logarithmic. */
  constructor(unit: number, seasons: readonly number[]) {
    assert(unit > 0, "a unit is positive");
    this.#unit = unit;
    this.seasons = seasons;
    const longest = Math.max(1, ...seasons);
    this.#ring = new Float64Array(longest + 2);
    this.#profiles = seasons.map((season) => new Float64Array(season));
    this.#seen = seasons.map((season) => new Uint8Array(season));
    this.#sums = seasons.map((season) => new Float64Array(season));
    this.#weights = seasons.map((season) => new Uint8Array(season));
    this.#deviations = seasons.map(() => new Float64Array(GAINS.length));
    this.#width = Math.min(SMOOTH_MAX, Math.floor((seasons[0] ?? 0) * SMOOTH_SHARE));
  }

  toZ(count: number): number {
    return Math.log1p(count / this.#unit);
  }

  toCount(z: number): number {
    return z <= 0 ? 0 : this.#unit * Math.expm1(Math.min(z, this.#top + HEADROOM));
  }

  /** How much the count changes with z. */
  slope(z: number): number {
    return this.#unit * Math.exp(Math.max(0, Math.min(z, this.#top + HEADROOM)));
  }

  /**
   * NaN where the bin was not measured: what was expected takes its place, as it does where a
   * series that is all but never zero is so for some bins.
   */
  update(count: number): void {
    const t = this.n;
    const gap = Number.isNaN(count) || this.#dropsOut(count);
    const z = gap ? this.#expected() : this.toZ(count);
    if (z > this.#top) this.#top = z;
    this.#ring[t % this.#ring.length] = z;
    for (let s = 0; s < this.seasons.length; s++) this.#learnSeason(s, t, z);
    for (let i = 0; i < GAINS.length; i++) {
      const gain = Math.max(GAINS[i] ?? 1, 1 / (t + 1));
      const mean = this.#means[i] ?? 0;
      this.#means[i] = mean + gain * (z - mean);
    }
    const flat = z - this.seasonal(0, t);
    const before = t === 0 ? flat : this.#trendLevel + TREND.damping * this.#trendSlope;
    const level = before + TREND.level * (flat - before);
    const step = t === 0 ? 0 : level - this.#trendLevel;
    const slope = TREND.damping * this.#trendSlope;
    this.#trendSlope = slope + TREND.slope * (step - slope);
    this.#trendLevel = level;
    this.n = t + 1;
  }

  /** z of bin `t`, which is no more than the longest season and one bin ago. */
  z(t: number): number {
    return t < 0 ? Number.NaN : (this.#ring[t % this.#ring.length] ?? 0);
  }

  mean(gain: number): number {
    return this.#means[gain] ?? 0;
  }

  /** Expected z of bin `t` by the profile of season `s`; 0 without such a season. */
  seasonal(s: number, t: number): number {
    const sums = this.#sums[s];
    if (!sums) return 0;
    const phase = t % sums.length;
    const weight = this.#weights[s]?.[phase] ?? 0;
    return weight > 0 ? (sums[phase] ?? 0) / weight : this.mean(SLOW);
  }

  /** Running mean of z less its profile. */
  deviation(s: number, gain: number): number {
    return this.#deviations[s]?.[gain] ?? 0;
  }

  /** Damped linear trend of what the first season leaves, `ahead` bins on (1 = the next). */
  trend(ahead: number): number {
    const { damping } = TREND;
    const steps = (damping * (1 - damping ** ahead)) / (1 - damping);
    return this.#trendLevel + steps * this.#trendSlope;
  }

  /** The last value `season` bins or a multiple of it before bin `t` of the future. */
  seasonBefore(t: number, season: number): number {
    const back = Math.ceil((t - this.n + 1) / season) * season;
    return this.z(t - back);
  }

  /** Whether a zero is more likely a gap in what was recorded than the demand. */
  #dropsOut(count: number): boolean {
    const zero = count === 0 ? 1 : 0;
    this.#zeros = zero * (this.#zeros + 1);
    const rare = this.n > RARE_AFTER && this.#zeroShare < RARE_SHARE;
    this.#zeroShare += Math.max(RARE_GAIN, 1 / (this.n + 1)) * (zero - this.#zeroShare);
    return rare && this.#zeros > 0 && this.#zeros <= DROPOUT_MAX;
  }

  #expected(): number {
    if (this.seasons.length === 0) return this.mean(MEDIUM);
    return this.seasonal(0, this.n) + this.deviation(0, MEDIUM);
  }

  #learnSeason(s: number, t: number, z: number): void {
    const profile = this.#profiles[s];
    const seen = this.#seen[s];
    const deviations = this.#deviations[s];
    if (!profile || !seen || !deviations) return;
    const expected = this.seasonal(s, t);
    for (let i = 0; i < GAINS.length; i++) {
      const deviation = deviations[i] ?? 0;
      deviations[i] = deviation + (GAINS[i] ?? 1) * (z - expected - deviation);
    }
    const phase = t % profile.length;
    const cycles = Math.min(CYCLES_MAX, (seen[phase] ?? 0) + 1);
    seen[phase] = cycles;
    const gain = Math.max(PROFILE_GAIN_MIN, 1 / cycles);
    const step = gain * (z - (profile[phase] ?? 0));
    profile[phase] = (profile[phase] ?? 0) + step;
    const sums = this.#sums[s];
    const weights = this.#weights[s];
    if (!sums || !weights) return;
    for (let j = -this.#width; j <= this.#width; j++) {
      const near = (phase + j + profile.length) % profile.length;
      sums[near] = (sums[near] ?? 0) + step;
      if (cycles === 1) weights[near] = (weights[near] ?? 0) + 1;
    }
  }
}

/** From where on the scale of a series is logarithmic: a part of its mean where it is not zero. */
export function unitOf(counts: Float64Array): number {
  const busy = counts.filter((count) => count > 0).sort();
  if (busy.length === 0) return 1;
  const cut = UNIT_CUT * (busy[busy.length >> 1] ?? 1);
  const sum = busy.reduce((total, count) => total + Math.min(count, cut), 0);
  return Math.max(UNIT_MIN, (sum / busy.length) * LINEAR_SHARE);
}
