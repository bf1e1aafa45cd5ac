/**
 * What all experts of a series know of its past, kept up to date bin by bin: the counts on a
 * logarithmic scale that is linear near zero, means over short and long times, a profile for each
 * season and how far the series is from it, and what its day is by the calendar.
 */
import { assert } from "../../shared/runtime/assert.ts";
import type { BinCalendar } from "./calendar.ts";
import { DayTypes } from "./day-types.ts";
import { Profile } from "./profile.ts";
import { Scratch } from "./scratch.ts";

/** Shares that the newest bin has in the running means, fastest first. */
export const GAINS = [0.5, 0.15, 0.03] as const;
export const FAST = 0;
export const MEDIUM = 1;
export const SLOW = 2;
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
const BUSY = new Scratch();

export class Signal {
  /** Bins seen. */
  n = 0;
  readonly seasons: readonly number[];
  readonly #unit: number;
  readonly #ring: Float32Array;
  readonly #means = new Float64Array(GAINS.length);
  readonly #profiles: Profile[];
  readonly #deviations: Float64Array[];
  /** By season: the calendar whose clock it keeps; null: it follows no clock. */
  readonly #clocks: (BinCalendar | null)[];
  readonly #calendar: BinCalendar | null;
  /** Of the season of a day; null where that or a calendar is missing. */
  readonly #dayTypes: DayTypes | null;
  /** Which season is a day; -1: none. */
  readonly #day: number;
  #dayTypeLately = 0;
  #top = 0;
  #zeros = 0;
  #zeroShare = 0;
  #trendLevel = 0;
  #trendSlope = 0;

  /** `unit`: from where on the scale is logarithmic. `calendar`: null: day types do not count. */
  constructor(unit: number, seasons: readonly number[], calendar: BinCalendar | null = null) {
    assert(unit > 0, "a unit is positive");
    this.#unit = unit;
    this.seasons = seasons;
    const longest = Math.max(1, ...seasons);
    this.#ring = new Float32Array(longest + 2);
    const width = Math.min(SMOOTH_MAX, Math.floor((seasons[0] ?? 0) * SMOOTH_SHARE));
    this.#profiles = seasons.map((season) => new Profile(season, width));
    this.#deviations = seasons.map(() => new Float64Array(GAINS.length));
    const day = calendar?.day ?? 0;
    this.#clocks = seasons.map((season) => (season % day === 0 ? calendar : null));
    this.#day = seasons.indexOf(day);
    this.#calendar = calendar;
    this.#dayTypes = this.#day < 0 ? null : new DayTypes(day, width);
  }

  toZ(count: number): number {
    return Math.fround(Math.log1p(count / this.#unit));
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
    this.#learnDayType(t, z);
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
    const profile = this.#profiles[s];
    return profile ? profile.expected(this.#phase(s, t), this.mean(SLOW)) : 0;
  }

  /** Whether bins differ by what their day is by the calendar. */
  get knowsDayTypes(): boolean {
    return this.#dayTypes !== null;
  }

  /** What the calendar adds to what the day's profile says of bin `t`. */
  dayType(t: number): number {
    if (!this.#dayTypes || !this.#calendar) return 0;
    const off = this.#calendar.isDayOff(t);
    return this.#dayTypes.difference(this.#phase(this.#day, t), off, this.seasonal(this.#day, t));
  }

  /** Running mean of what it added. */
  get dayTypeLately(): number {
    return this.#dayTypeLately;
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
    const deviations = this.#deviations[s];
    if (!profile || !deviations) return;
    const expected = this.seasonal(s, t);
    for (let i = 0; i < GAINS.length; i++) {
      const deviation = deviations[i] ?? 0;
      deviations[i] = deviation + (GAINS[i] ?? 1) * (z - expected - deviation);
    }
    profile.learn(this.#phase(s, t), z);
  }

  #learnDayType(t: number, z: number): void {
    if (!this.#dayTypes || !this.#calendar) return;
    this.#dayTypeLately += (GAINS[MEDIUM] ?? 1) * (this.dayType(t) - this.#dayTypeLately);
    this.#dayTypes.learn(this.#phase(this.#day, t), this.#calendar.isDayOff(t), z);
  }

  /** Seasons of whole days keep to the clock on the wall. */
  #phase(s: number, t: number): number {
    const season = this.seasons[s] ?? 1;
    const clock = this.#clocks[s];
    return clock ? (t + clock.shift(t) + season) % season : t % season;
  }
}

/** From where on the scale of a series is logarithmic: a part of its mean where it is not zero. */
export function unitOf(counts: Float64Array): number {
  const room = BUSY.take(counts.length);
  let bins = 0;
  for (const count of counts) if (count > 0) room[bins++] = count;
  if (bins === 0) return 1;
  const busy = room.subarray(0, bins).sort();
  const cut = UNIT_CUT * (busy[bins >> 1] ?? 1);
  let sum = 0;
  for (const count of busy) sum += Math.min(count, cut);
  return Math.max(UNIT_MIN, (sum / bins) * LINEAR_SHARE);
}
