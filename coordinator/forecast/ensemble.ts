/**
 * Many small experts on one series as one: each says where a future bin lies, its own past errors
 * say how sure it is, and what they were worth decides how much each quantile listens to it.
 * Everything is learned by forecasting the visible past as it was met.
 */
import { BinCalendar, type Calendar, UTC_CALENDAR } from "./calendar.ts";
import { Combination } from "./combination.ts";
import { Drift } from "./drift.ts";
import { Errors, SPREAD_CUT, SPREAD_GAIN } from "./errors.ts";
import { Hedge } from "./hedge.ts";
import { between, scoredDistances } from "./horizons.ts";
import { INTERMITTENT, Intermittent } from "./intermittent.ts";
import { LEVELS } from "./levels.ts";
import { locationsOf, writeLocations } from "./locations.ts";
import type { Past } from "./model.ts";
import { featureCount, Ridge, writeFeatures } from "./regression.ts";
import { Scratch } from "./scratch.ts";
import { detectSeasons } from "./seasons.ts";
import { MEDIUM, Signal, SLOW, unitOf } from "./signal.ts";
import { STEPS, sortRow } from "./tracker.ts";
import { Volatility } from "./volatility.ts";

const L = LEVELS.length;
const MEDIAN = LEVELS.indexOf(0.5);
/** With more scored distances the nearer and the farther ones have weights of their own. */
const GROUP_DISTANCES = 5;
/**
 * Forecasts are scored over so many bins before the end of the first fit: older ones would have
 * faded. About so many `rounds` of them are taken at each distance, by lot, as overlapping ones tell
 * nearly the same. More of either costs time at each fit and bin.
 */
export type Learning = { bins: number; rounds: number };
const LEARNING: Learning = { bins: 1400, rounds: 500 };
/** Where more bins have no demand, only those that have some let the mix forget. */
const QUIET = 0.75;
/** Where more bins have none, experts are hedged; where fewer do, it made forecasts worse. */
const HEDGED_QUIET = 0.3;
const EXACT = 1e-9;
/** What is off is learned by steps that become smaller: they would else cost as much as they mend. */
const OFFSET_GAIN_MAX = 1 / 200;
const OFFSET_GAIN_MIN = 1 / 1000;
const REGRESSION_PRIOR = 4;
/** A past that is shorter shows too little of what days off are like. */
const CALENDAR_DAYS_MIN = 7;
/** While learning, weights are as of so many forecasts before at most. */
const WEIGH_EVERY = 12;
/** Where forecasts are scored less often than one in so many bins, weights are renewed less too. */
const EVERY_DENSE = 4;

export class Ensemble {
  readonly signal: Signal;
  readonly names: readonly string[];
  readonly #drift: Drift;
  readonly #distances: readonly number[];
  readonly #groups: number;
  /** Older bins of the first fit are not scored. */
  readonly #from: number;
  /** One in so many bins is forecast and scored, by lot, at each distance. */
  readonly #every: number;
  readonly #threshold: number;
  readonly #weighEvery: number;
  readonly #locations: number;
  readonly #ridges: Ridge[];
  readonly #volatility: Volatility;
  readonly #errors: Errors;
  readonly #intermittent: Intermittent;
  readonly #offsets: Float64Array;
  readonly #spread: Float64Array;
  /** Forecasts scored, by distance. */
  readonly #scored: Float64Array;
  readonly #combination: Combination;
  /** By group; none as long as nearly every bin has demand. */
  readonly #hedges: (Hedge | undefined)[] = [];
  readonly #prior: readonly number[];
  /** Forecasts put aside, by origin and distance, and such as are free again. */
  readonly #pending = new Map<number, Pending>();
  readonly #free: Pending[] = [];
  readonly #work;

  private constructor(past: Past, horizon: number, calendar: Calendar, learning: Learning) {
    const unit = unitOf(past.counts);
    const seasons = seasonsOf(past, unit);
    this.#distances = scoredDistances(horizon);
    this.#groups = this.#distances.length > GROUP_DISTANCES ? 2 : 1;
    const bins = new BinCalendar(past, calendar);
    const longEnough = past.counts.length >= CALENDAR_DAYS_MIN * bins.day;
    this.signal = new Signal(unit, seasons, longEnough ? bins : null);
    const learned = Math.min(learning.bins, past.counts.length);
    this.#from = past.counts.length - learned;
    this.#every = Math.max(1, learned / learning.rounds);
    this.#threshold = 2 ** 32 / this.#every;
    this.#weighEvery = Math.round(WEIGH_EVERY * Math.max(1, this.#every / EVERY_DENSE));
    const locations = locationsOf(seasons.length);
    this.#locations = locations.length;
    this.names = [
      ...locations.map(([name]) => name),
      "regression",
      ...INTERMITTENT.map(([name]) => name),
    ];
    const experts = this.names.length;
    const G = this.#distances.length;
    const spread = startSpread(unit);
    this.#ridges = this.#distances.map(() => new Ridge(this.signal, this.#every));
    this.#volatility = new Volatility(seasons[0] ?? 1);
    this.#drift = new Drift(seasons[0] ?? 1);
    this.#intermittent = new Intermittent(horizon);
    this.#errors = new Errors(experts * G, spread);
    this.#offsets = new Float64Array(G * L);
    this.#spread = new Float64Array(G).fill(spread);
    this.#scored = new Float64Array(G);
    this.#prior = [
      ...locations.map(([, share]) => share),
      REGRESSION_PRIOR,
      ...INTERMITTENT.map(([, share]) => share),
    ];
    this.#combination = new Combination(this.#groups, this.#prior);
    const features = featureCount(this.signal);
    this.#work = {
      features: new Float64Array(features),
      experts: new Float64Array((experts + 1) * L),
      counts: new Float64Array((experts + 1) * L),
      middles: new Float64Array(experts),
      awake: new Uint8Array(experts),
      combined: new Float64Array(L),
      gradients: new Float64Array(L),
    };
  }

  static fit(past: Past, horizon: number, calendar = UTC_CALENDAR, learning = LEARNING): Ensemble {
    const fitted = new Ensemble(past, horizon, calendar, learning);
    for (const count of past.counts) fitted.update(count);
    return fitted;
  }

  /** True when with this bin the series is seen to have left its level. */
  update(count: number): boolean {
    const { signal } = this;
    const t = signal.n;
    let left = false;
    const z = signal.toZ(count);
    if (!Number.isNaN(count) && t > 0) {
      this.#volatility.update(t, Math.abs(z - this.#nextMiddle(MEDIUM)));
      left = this.#drift.update(t, z - this.#nextMiddle(SLOW));
    }
    for (let g = 0; g < this.#distances.length; g++) {
      // Forecast made when `origin` bins had been seen, of bin origin + distance − 1.
      const origin = t - (this.#distances[g] ?? 1) + 1;
      if (origin > 0 && this.#due(origin, g)) this.#close(origin, g, z);
    }
    signal.update(count);
    if (!Number.isNaN(count)) this.#intermittent.update(signal.toZ(count));
    this.#putAside();
    return left;
  }

  /** Experts have no merits any more: what they were worth was on another level. */
  restart(): void {
    this.#combination.restart();
    for (const hedge of this.#hedges) hedge?.restart();
  }

  predict(horizon: number): Float64Array {
    const out = new Float64Array(horizon * L);
    const now = this.#combination.weighNow(this.#awake());
    for (let ahead = 1; ahead <= horizon; ahead++) {
      const [g, part] = between(this.#distances, ahead);
      this.#expertsAt(ahead, g, part, this.#work.experts, 0, null);
      this.#combine(now, g, this.#work.experts, this.#work.combined);
      this.#shift(ahead, g, part, this.#work.combined);
      for (let l = 0; l < L; l++) {
        out[(ahead - 1) * L + l] = this.signal.toCount(this.#work.combined[l] ?? 0);
      }
    }
    return out;
  }

  /** Bins of the past (0 = its first) at which the series was seen to have left its level. */
  drifts(): readonly number[] {
    return this.#drift.alarms;
  }

  /** What each expert alone says of the next bins, in the order of `names`: rows as `predict`'s. */
  expertRows(horizon: number): Float64Array[] {
    const out = this.names.map(() => new Float64Array(horizon * L));
    for (let ahead = 1; ahead <= horizon; ahead++) {
      const [g, part] = between(this.#distances, ahead);
      this.#expertsAt(ahead, g, part, this.#work.experts, 0, null);
      for (const [e, rows] of out.entries()) {
        const from = (ahead - 1) * L;
        for (let l = 0; l < L; l++) {
          rows[from + l] = this.signal.toCount(this.#work.experts[e * L + l] ?? 0);
        }
        sortRow(rows, from);
      }
    }
    return out;
  }

  /** Share of each expert, over all levels and distances. */
  mix(): Record<string, number> {
    const weights = this.#combination.weighNow(this.#awake());
    const share = (e: number) => {
      let sum = 0;
      for (let g = 0; g < this.#groups; g++) {
        const from = (g * this.names.length + e) * L;
        for (let l = 0; l < L; l++) sum += weights[from + l] ?? 0;
      }
      return sum / (this.#groups * L);
    };
    return Object.fromEntries(this.names.map((name, e) => [name, share(e)]));
  }

  #nextMiddle(gain: number): number {
    const { signal } = this;
    const longest = signal.seasons.length - 1;
    if (longest < 0) return signal.mean(gain);
    return signal.seasonal(longest, signal.n) + signal.deviation(longest, gain);
  }

  #group(g: number): number {
    return Math.floor((g * this.#groups) / this.#distances.length);
  }

  #awake(): Uint8Array {
    const { awake, middles } = this.#work;
    writeLocations(this.signal, 1, middles, 0);
    for (let e = 0; e < this.names.length; e++) {
      if (e > this.#locations) awake[e] = this.#intermittent.awake ? 1 : 0;
      else awake[e] = Number.isNaN(middles[e] ?? 0) ? 0 : 1;
    }
    return awake;
  }

  /** By lot, as any fixed rhythm could be that of the series. */
  #due(origin: number, g: number): boolean {
    return origin >= this.#from && Math.imul(origin * 7 + g, 0x9e3779b1) >>> 0 < this.#threshold;
  }

  #putAside(): void {
    const { signal } = this;
    if (signal.n % this.#weighEvery === 1 || signal.n < this.#weighEvery)
      this.#combination.weigh(this.#awake());
    const { learning } = this.#combination;
    for (let g = 0; g < this.#distances.length; g++) {
      if (!this.#due(signal.n, g)) continue;
      const ahead = this.#distances[g] ?? 1;
      const slot = this.#free.pop() ?? new Pending(this.names.length, this.#work.features.length);
      this.#pending.set(this.#slotOf(signal.n, g), slot);
      this.#expertsAt(ahead, g, 0, slot.experts, 0, slot);
      this.#combine(learning, g, slot.experts, slot.combined);
    }
  }

  /** Of the experts' rows; what the combination makes of them becomes the row after the last. */
  #combine(weights: Float64Array, g: number, experts: Float64Array, into: Float64Array): void {
    const group = this.#group(g);
    const at = this.names.length * L;
    this.#combination.combine(weights, group, experts, 0, experts, at);
    const hedge = this.#intermittent.quiet > HEDGED_QUIET ? this.#hedges[group] : undefined;
    if (hedge) hedge.lean(experts, into);
    else into.set(experts.subarray(at, at + L));
  }

  #slotOf(origin: number, g: number): number {
    return origin * this.#distances.length + g;
  }

  /** The bin of a forecast put aside has come; NaN when it was not measured. */
  #close(origin: number, g: number, z: number): void {
    const at = this.#slotOf(origin, g);
    const slot = this.#pending.get(at);
    if (!slot) return;
    this.#pending.delete(at);
    if (!Number.isNaN(z)) this.#score(slot, g, z);
    this.#free.push(slot);
  }

  /** z quantiles of each expert for one distance; with a slot, also what they were made from. */
  #expertsAt(
    ahead: number,
    g: number,
    part: number,
    into: Float64Array,
    offset: number,
    slot: Pending | null,
  ): void {
    const { signal } = this;
    const G = this.#distances.length;
    const next = part > 0 ? g + 1 : g;
    const factor = this.#volatility.factor(signal.n - 1 + ahead, ahead);
    const { spreads, shapes } = this.#errors;
    const { middles } = this.#work;
    writeLocations(signal, ahead, middles, 0);
    middles[this.#locations] = this.#regressed(ahead, g, next, part);
    const experts = this.#locations + 1;
    for (let e = 0; e < experts; e++) {
      const middle = middles[e] ?? Number.NaN;
      const row = e * G + g;
      const near = (1 - part) * (spreads[row] ?? 0) * factor;
      for (let l = 0; l < L; l++)
        into[offset + e * L + l] = middle + near * (shapes[row * L + l] ?? 0);
      if (part === 0) continue;
      const far = part * (spreads[row + 1] ?? 0) * factor;
      for (let l = 0; l < L; l++)
        into[offset + e * L + l] =
          (into[offset + e * L + l] ?? 0) + far * (shapes[(row + 1) * L + l] ?? 0);
    }
    for (let i = offset; i < offset + experts * L; i++) {
      if ((into[i] ?? 0) < 0) into[i] = 0;
    }
    this.#intermittent.write(ahead, into, offset + experts * L);
    if (!slot) return;
    slot.middles.set(middles);
    slot.factor = factor;
    slot.features.set(this.#work.features);
    slot.origin = signal.mean(SLOW);
  }

  #regressed(ahead: number, g: number, next: number, part: number): number {
    const { features } = this.#work;
    writeFeatures(this.signal, ahead, features);
    const near = this.#ridges[g]?.coefficients;
    const far = this.#ridges[next]?.coefficients;
    let sum = this.signal.mean(SLOW);
    for (let i = 0; i < features.length; i++) {
      sum += (features[i] ?? 0) * ((1 - part) * (near?.[i] ?? 0) + part * (far?.[i] ?? 0));
    }
    return sum;
  }

  /** Moves quantiles by what they were off lately, sorts and spreads them. */
  #shift(ahead: number, g: number, part: number, quantiles: Float64Array): void {
    const next = part > 0 ? g + 1 : g;
    const factor = this.#volatility.factor(this.signal.n - 1 + ahead, ahead);
    const near = (1 - part) * (this.#spread[g] ?? 0) * factor;
    const far = part * (this.#spread[next] ?? 0) * factor;
    for (let l = 0; l < L; l++) {
      const offset =
        near * (this.#offsets[g * L + l] ?? 0) + far * (this.#offsets[next * L + l] ?? 0);
      quantiles[l] = (quantiles[l] ?? 0) + offset;
    }
    sortRow(quantiles, 0);
    const middle = quantiles[MEDIAN] ?? 0;
    // What was learned from few bins is less certain than it looks.
    const wide = 1 + 1 / Math.sqrt(Math.min(this.signal.n, LEARNING.bins) + 1);
    for (let l = 0; l < L; l++) quantiles[l] = middle + wide * ((quantiles[l] ?? 0) - middle);
  }

  #score(slot: Pending, g: number, z: number): void {
    const G = this.#distances.length;
    const { factor } = slot;
    const { gradients } = this.#work;
    const at = this.names.length * L;
    for (let l = 0; l < L; l++) {
      const combined = slot.experts[at + l] ?? 0;
      const slope = this.signal.slope(combined);
      const exact = Math.abs(z - combined) < EXACT;
      gradients[l] = exact ? 0 : ((z < combined ? 1 : 0) - (LEVELS[l] ?? 0)) * slope;
    }
    const { quiet } = this.#intermittent;
    const bins = this.#every * (quiet > QUIET ? 1 - quiet : 1);
    const { experts } = slot;
    this.#combination.learn(this.#group(g), gradients, experts, at, experts, 0, bins);
    if (quiet > HEDGED_QUIET) this.#hedge(slot, g, z, bins);
    this.#learnOffsets(slot, g, z);
    for (let e = 0; e <= this.#locations; e++) {
      const middle = slot.middles[e] ?? Number.NaN;
      if (!Number.isNaN(middle)) this.#errors.learn(e * G + g, (z - middle) / factor);
    }
    this.#ridges[g]?.learn(slot.features, 0, z - slot.origin);
  }

  #hedge(slot: Pending, g: number, z: number, bins: number): void {
    const group = this.#group(g);
    const hedge = this.#hedges[group] ?? new Hedge(this.#prior);
    this.#hedges[group] = hedge;
    const { counts } = this.#work;
    for (let i = 0; i < counts.length; i++)
      counts[i] = this.signal.toCount(slot.experts[i] ?? Number.NaN);
    hedge.learn(counts, this.signal.toCount(z), bins);
  }

  #learnOffsets(slot: Pending, g: number, z: number): void {
    const { factor } = slot;
    const spread = this.#spread[g] ?? 1;
    const scored = (this.#scored[g] ?? 0) + 1;
    this.#scored[g] = scored;
    const gain = Math.max(OFFSET_GAIN_MIN, Math.min(OFFSET_GAIN_MAX, 1 / scored));
    for (let l = 0; l < L; l++) {
      const at = g * L + l;
      const value = (z - (slot.combined[l] ?? 0)) / factor / spread;
      const offset = this.#offsets[at] ?? 0;
      const level = LEVELS[l] ?? 0;
      const step = gain * (STEPS[l] ?? 1);
      this.#offsets[at] = offset + step * (value > offset ? level : level - 1);
    }
    const error = Math.abs(z - (slot.combined[MEDIAN] ?? 0)) / factor;
    const size = Math.min(error, SPREAD_CUT * spread);
    this.#spread[g] = Math.max(1e-12, spread + SPREAD_GAIN * (size - spread));
  }
}

/** A forecast put aside, of one distance. */
class Pending {
  factor = 1;
  /** What the features are relative to. */
  origin = 0;
  readonly experts: Float64Array;
  readonly middles: Float64Array;
  readonly combined = new Float64Array(L);
  readonly features: Float64Array;

  constructor(experts: number, features: number) {
    this.experts = new Float64Array((experts + 1) * L);
    this.middles = new Float64Array(experts);
    this.features = new Float64Array(features);
  }
}

/** Before the first error was seen: as of Poisson counts about the mean. */
function startSpread(unit: number): number {
  const mean = unit * 4;
  return Math.min(1, Math.sqrt(Math.max(mean, 1)) / (mean + unit)) + 0.02;
}

const VALUES = new Scratch();

/** Lengths in bins of the seasons that the past shows. */
export function seasonsOf(past: Past, unit = unitOf(past.counts)): number[] {
  const values = VALUES.take(past.counts.length);
  let last = 0;
  for (let i = 0; i < values.length; i++) {
    const count = past.counts[i] ?? Number.NaN;
    if (!Number.isNaN(count)) last = Math.log1p(count / unit);
    values[i] = last;
  }
  return detectSeasons(values, past.binMs);
}
