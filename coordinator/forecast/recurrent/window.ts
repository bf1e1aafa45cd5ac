/**
 * One look at a series as the network gets it: the last bins as steps for the encoder, and for
 * each bin ahead what came at the same time of an hour, a day and a week before. All of it is
 * moved to the recent level and divided by the series' own seasonal-naive error, so that one
 * network serves series of every size, and its loss is in units of that error.
 *
 * Nothing at or after `end` is read.
 */
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** Bins the encoder sees one by one. */
export const CONTEXT = 24;
/** Fewest bins of past that a window can be made of. */
export const PAST_MIN = CONTEXT + 1;
/** Per step: value, a day before, mean of the days before. */
export const STEP_FEATURES = 3;
/** Simple forecasts of a bin that the network weighs. */
export const CANDIDATES = 13;
/** What else is known of a bin ahead and of the series. */
const TRAITS = 17;
export const BIN_FEATURES = CANDIDATES + TRAITS;

/** Days of the mean of the days before, and how much an older day counts against a newer one. */
const PROFILE_DAYS = 7;
const PROFILE_KEEP = 0.8;
/** Pairs of bins at most that the scale is measured on. */
const SCALE_PAIRS = 1024;
/** A season shorter than that says nothing. */
const PERIOD_MIN = 4;
/** Candidates are kept within so many scales of the level. */
const FAR = 200;
/** A series that repeats itself exactly is measured by so much of its own spread instead. */
const SPREAD_SHARE = 0.05;

/** A gap-free series: see `filled`. */
export type Series = { startMs: number; binMs: number; values: Float32Array | Float64Array };

export type Window = {
  level: number;
  scale: number;
  /** [CONTEXT, STEP_FEATURES], oldest first. */
  steps: Float32Array;
  /** Per bin ahead asked for: [BIN_FEATURES] and [CANDIDATES] (in scales from the level). */
  bins: { features: Float32Array; candidates: Float32Array }[];
};

/** Means of the last bins (3, 6, 12), of the days before there, and of a day and a week before. */
type Recent = Record<
  "last" | "mean3" | "mean6" | "mean12" | "profile3" | "profile12" | "day6" | "week6",
  number
>;

/** Missing bins (NaN) get what was there a day before, else the last known value. */
export function filled(counts: ArrayLike<number>, binMs: number): Float64Array {
  const day = Math.round(DAY_MS / binMs);
  const values = Float64Array.from(counts);
  for (let i = 0; i < values.length; i++) {
    if (Number.isFinite(values[i])) continue;
    values[i] = (i >= day && day >= PERIOD_MIN ? values[i - day] : values[i - 1]) ?? 0;
  }
  return values;
}

/** `aheads`: bins ahead, 1 being the bin at `end`. Null when the past is too short. */
export function windowOf(series: Series, end: number, aheads: readonly number[]): Window | null {
  if (end < PAST_MIN) return null;
  return new Look(series, end).window(aheads);
}

class Look {
  readonly #series: Series;
  readonly #end: number;
  readonly #hour: number;
  readonly #day: number;
  readonly #week: number;
  readonly #level: number;
  readonly #scale: number;
  /** Half width of smoothing along the day. */
  readonly #reach: number;

  constructor(series: Series, end: number) {
    this.#series = series;
    this.#end = end;
    const period = (ms: number, shortest: number, past: number) => {
      const bins = Math.round(ms / series.binMs);
      return bins >= shortest && end >= past * bins ? bins : 0;
    };
    this.#hour = period(HOUR_MS, 12, 3);
    this.#day = period(DAY_MS, PERIOD_MIN, 1.2);
    this.#week = period(7 * DAY_MS, 7 * PERIOD_MIN, 1.1);
    this.#reach = Math.round(this.#day / 144);
    this.#level = this.#mean(end - CONTEXT, end);
    this.#scale = Math.max(this.#naiveError(), 1e-3 * Math.abs(this.#level), 1e-9);
  }

  window(aheads: readonly number[]): Window {
    const steps = new Float32Array(CONTEXT * STEP_FEATURES);
    const profile = new Float64Array(CONTEXT);
    for (let i = 0; i < CONTEXT; i++) {
      const at = this.#end - CONTEXT + i;
      profile[i] = this.#profile(at);
      steps[i * STEP_FEATURES] = Math.asinh(this.#scaled(this.#value(at)));
      steps[i * STEP_FEATURES + 1] = Math.asinh(this.#scaled(this.#before(at, this.#day)));
      steps[i * STEP_FEATURES + 2] = Math.asinh(this.#scaled(profile[i] ?? 0));
    }
    const recent = this.#recent(profile);
    const traits = this.#traits(profile);
    const bins = aheads.map((ahead) => this.#bin(ahead, recent, traits));
    return { level: this.#level, scale: this.#scale, steps, bins };
  }

  #value(at: number): number {
    return this.#series.values[at] ?? 0;
  }

  #scaled(value: number): number {
    return Math.max(-FAR, Math.min(FAR, (value - this.#level) / this.#scale));
  }

  #mean(from: number, to: number): number {
    let sum = 0;
    for (let i = Math.max(0, from); i < to; i++) sum += this.#value(i);
    return sum / Math.max(1, to - Math.max(0, from));
  }

  /** Mean absolute error of the same time yesterday (of the bin before, without a day of past). */
  #naiveError(): number {
    const lag = this.#day || 1;
    const span = Math.min(this.#end - lag, this.#day ? 7 * this.#day : 12 * CONTEXT);
    const stride = Math.max(1, Math.ceil(span / SCALE_PAIRS));
    let error = 0;
    let spread = 0;
    let pairs = 0;
    for (let i = this.#end - 1; i >= this.#end - span; i -= stride) {
      error += Math.abs(this.#value(i) - this.#value(i - lag));
      spread += Math.abs(this.#value(i) - this.#level);
      pairs++;
    }
    return Math.max(error, SPREAD_SHARE * spread) / pairs;
  }

  /** The last value known at whole periods before `at`; the level when there is none. */
  #before(at: number, period: number): number {
    if (!period) return this.#level;
    const back = at - period * Math.max(1, Math.ceil((at - this.#end + 1) / period));
    return back < 0 ? this.#level : this.#value(back);
  }

  /** Around whole periods before, smoothed by `reach`, as far as it is known. */
  #around(at: number, period: number, reach: number): number {
    if (!period) return this.#level;
    const back = at - period * Math.max(1, Math.ceil((at - this.#end + 1) / period));
    return back < reach
      ? this.#level
      : this.#mean(back - reach, Math.min(this.#end, back + reach + 1));
  }

  /** Mean of the same time of the days before, newer ones more. */
  #profile(at: number): number {
    const day = this.#day;
    if (!day) return this.#level;
    const first = at - day * Math.max(1, Math.ceil((at - this.#end + 1) / day));
    let sum = 0;
    let weights = 0;
    let weight = 1;
    for (let k = 0; k < PROFILE_DAYS; k++) {
      const back = first - k * day;
      if (back < this.#reach) break;
      sum += weight * this.#mean(back - this.#reach, Math.min(this.#end, back + this.#reach + 1));
      weights += weight;
      weight *= PROFILE_KEEP;
    }
    return weights > 0 ? sum / weights : this.#level;
  }

  /** How the last bins stood, against the days and the week before. */
  #recent(profile: Float64Array): Recent {
    const { length } = profile;
    const profileMean = (bins: number) => {
      let sum = 0;
      for (let i = length - bins; i < length; i++) sum += profile[i] ?? 0;
      return sum / bins;
    };
    const end = this.#end;
    const back = (period: number) => (period && end - period >= 12 ? end - period : end);
    return {
      last: this.#value(end - 1),
      mean3: this.#mean(end - 3, end),
      mean12: this.#mean(end - 12, end),
      profile3: profileMean(3),
      profile12: profileMean(12),
      day6: this.#mean(back(this.#day) - 6, back(this.#day)),
      week6: this.#mean(back(this.#week) - 6, back(this.#week)),
      mean6: this.#mean(end - 6, end),
    };
  }

  #candidates(ahead: number, recent: Recent): Float32Array {
    const at = this.#end + ahead - 1;
    const day = this.#before(at, this.#day);
    const dayAround = this.#around(at, this.#day, this.#reach);
    const week = this.#around(at, this.#week, this.#reach);
    const profile = this.#profile(at);
    const slope = (recent.mean3 - this.#mean(this.#end - 6, this.#end - 3)) / 3;
    // A ratio carries a new level into peaks and nights alike, a difference shifts both.
    const ratio = (now: number, then: number) =>
      Math.max(0.2, Math.min(5, (now + this.#scale) / (then + this.#scale)));
    const values = [
      this.#level,
      recent.last,
      recent.mean3,
      recent.mean12,
      recent.last + slope * Math.min(ahead, 6),
      this.#before(at, this.#hour),
      day,
      dayAround + recent.mean6 - recent.day6,
      week,
      week + recent.mean6 - recent.week6,
      profile,
      profile + recent.mean3 - recent.profile3,
      profile * (profile > 0 ? ratio(recent.mean12, recent.profile12) : 1),
    ];
    return Float32Array.from(values, (value) => this.#scaled(value));
  }

  /** Of the series as it is now, the same for every bin ahead. */
  #traits(profile: Float64Array): number[] {
    let change = 0;
    let zeros = 0;
    let off = 0;
    let whole = true;
    for (let i = 0; i < CONTEXT; i++) {
      const at = this.#end - CONTEXT + i;
      const value = this.#value(at);
      change += Math.abs(value - this.#value(at - 1));
      off += Math.abs(value - (profile[i] ?? 0));
      if (value === 0) zeros++;
      if (!Number.isInteger(value)) whole = false;
    }
    const near = CONTEXT * this.#scale;
    return [
      this.#hour ? 1 : 0,
      this.#day ? 1 : 0,
      this.#week ? 1 : 0,
      Math.asinh(this.#level / this.#scale) / 3,
      Math.asinh((3 * change) / near),
      Math.asinh((3 * off) / near),
      zeros / CONTEXT,
      whole ? Math.asinh(1 / this.#scale) : 0,
      whole ? Math.asinh(Math.sqrt(Math.max(0, this.#level)) / this.#scale) : 0,
    ];
  }

  #bin(ahead: number, recent: Recent, traits: readonly number[]) {
    const candidates = this.#candidates(ahead, recent);
    const features = new Float32Array(BIN_FEATURES);
    candidates.forEach((value, i) => {
      features[i] = Math.asinh(value);
    });
    const { startMs, binMs } = this.#series;
    const atMs = startMs + (this.#end + ahead - 1) * binMs;
    const ofDay = (2 * Math.PI * (atMs % DAY_MS)) / DAY_MS;
    // 1 January 1970 was a Thursday.
    const weekday = (ms: number) => (Math.floor(ms / DAY_MS) + 4) % 7;
    const weekend = (ms: number) => (weekday(ms) % 6 === 0 ? 1 : 0);
    features.set(traits, CANDIDATES);
    features.set(
      [
        Math.log1p(ahead) / 3,
        Math.min(2, (ahead * binMs) / DAY_MS),
        Math.log(binMs / HOUR_MS) / 3,
        Math.sin(ofDay),
        Math.cos(ofDay),
        weekend(atMs),
        weekend(atMs - DAY_MS),
        weekday(atMs) / 6,
      ],
      CANDIDATES + traits.length,
    );
    return { features, candidates };
  }
}
