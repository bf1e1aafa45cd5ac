/**
 * Many small experts on one series as one: each says where a future bin lies, its own past errors
 * say how sure it is, and what they were worth decides how much each quantile listens to it.
 * Everything is learned by forecasting the visible past as it was met.
 */
import { Combination } from "./combination.ts";
import { Drift } from "./drift.ts";
import { between, scoredDistances } from "./horizons.ts";
import { LEVELS } from "./levels.ts";
import { LOCATIONS } from "./locations.ts";
import type { Past } from "./model.ts";
import { featureCount, Ridge, writeFeatures } from "./regression.ts";
import { detectSeasons } from "./seasons.ts";
import { MEDIUM, Signal, SLOW, unitOf } from "./signal.ts";
import { SHAPE, STEPS, sortRow, track } from "./tracker.ts";
import { Volatility } from "./volatility.ts";

const L = LEVELS.length;
const MEDIAN = LEVELS.indexOf(0.5);
const GROUPS = 3;
const ORIGINS_MAX = 1010;
const SHAPE_GAIN = 1 / 150;
const SPREAD_GAIN = 0.015;
const SPREAD_CUT = 5;
const OFFSET_GAIN = 1 / 200;
const REGRESSION_PRIOR = 4;
/** While learning, weights are as of so many forecasts before at most. */
const WEIGH_EVERY = 4;

/** Spread and shape of one forecaster's errors at each scored distance. */
class Errors {
  readonly spreads: Float64Array;
  readonly shapes: Float64Array;
  readonly #counts: Float64Array;

  constructor(rows: number, spread: number) {
    this.spreads = new Float64Array(rows).fill(spread);
    this.shapes = new Float64Array(rows * L);
    this.#counts = new Float64Array(rows);
    for (let i = 0; i < this.shapes.length; i++) this.shapes[i] = SHAPE[i % L] ?? 0;
  }

  /** `error` in units of the volatility at its bin. */
  learn(row: number, error: number): void {
    const count = (this.#counts[row] ?? 0) + 1;
    this.#counts[row] = count;
    const spread = this.spreads[row] ?? 0;
    const size = count > 10 ? Math.min(Math.abs(error), SPREAD_CUT * spread) : Math.abs(error);
    const next = spread + Math.max(1 / (count + 2), SPREAD_GAIN) * (size - spread);
    this.spreads[row] = Math.max(next, 1e-12);
    track(
      this.shapes,
      row * L,
      error / (this.spreads[row] ?? 1),
      Math.max(1 / (count + 30), SHAPE_GAIN),
    );
  }
}

export class Ensemble {
  readonly signal: Signal;
  readonly names: readonly string[];
  readonly #drift: Drift;
  readonly #distances: readonly number[];
  readonly #stride: number;
  readonly #locations;
  readonly #ridges: Ridge[];
  readonly #volatility: Volatility;
  readonly #errors: Errors;
  readonly #offsets: Float64Array;
  readonly #spread: Float64Array;
  readonly #combination: Combination;
  readonly #slots: number;
  readonly #pending: Pending[];
  readonly #work;

  private constructor(past: Past, seasons: readonly number[], horizon: number) {
    const unit = unitOf(past.counts);
    this.signal = new Signal(unit, seasons, horizon);
    this.#distances = scoredDistances(horizon);
    this.#stride = Math.max(1, Math.ceil(past.counts.length / ORIGINS_MAX));
    this.#locations = LOCATIONS.filter((location) => location.seasons <= seasons.length);
    this.names = [...this.#locations.map((location) => location.name), "regression"];
    const experts = this.names.length;
    const G = this.#distances.length;
    const spread = startSpread(unit);
    this.#ridges = this.#distances.map(() => new Ridge(seasons.length));
    this.#volatility = new Volatility(seasons[0] ?? 1);
    this.#drift = new Drift(seasons[0] ?? 1);
    this.#errors = new Errors(experts * G, spread);
    this.#offsets = new Float64Array(G * L);
    this.#spread = new Float64Array(G).fill(spread);
    const prior = [...this.#locations.map((location) => location.prior), REGRESSION_PRIOR];
    this.#combination = new Combination(GROUPS * L, prior);
    const features = featureCount(seasons.length);
    this.#slots = Math.ceil(horizon / this.#stride) + 1;
    this.#pending = Array.from({ length: this.#slots }, () => new Pending(experts, G, features));
    this.#work = {
      features: new Float64Array(features),
      experts: new Float64Array(experts * L),
      awake: new Uint8Array(experts),
      /** As of now, for those who ask; and as of some forecasts ago, for learning. */
      weights: Array.from({ length: GROUPS * L }, () => new Float64Array(experts)),
      learning: Array.from({ length: GROUPS * L }, () => new Float64Array(experts)),
      combined: new Float64Array(L),
    };
  }

  static fit(past: Past, horizon: number): Ensemble {
    const fitted = new Ensemble(past, seasonsOf(past), horizon);
    for (const count of past.counts) fitted.update(count);
    return fitted;
  }

  update(count: number): void {
    const { signal } = this;
    const t = signal.n;
    if (!Number.isNaN(count)) {
      if (t > 0) {
        const z = signal.toZ(count);
        this.#volatility.update(t, Math.abs(z - this.#nextMiddle(MEDIUM)));
        this.#drift.update(t, z - this.#nextMiddle(SLOW));
      }
      for (let g = 0; g < this.#distances.length; g++) {
        // Forecast made when `origin` bins had been seen, of bin origin + distance − 1.
        const origin = t - (this.#distances[g] ?? 1) + 1;
        if (origin > 0 && origin % this.#stride === 0) this.#score(origin, g, count);
      }
    }
    signal.update(count);
    if (signal.n % this.#stride === 0) this.#putAside();
  }

  predict(horizon: number): Float64Array {
    const out = new Float64Array(horizon * L);
    this.#weigh(this.#work.weights);
    for (let ahead = 1; ahead <= horizon; ahead++) {
      const [g, part] = between(this.#distances, ahead);
      this.#expertsAt(ahead, g, part, this.#work.experts, 0, null);
      this.#combine(this.#work.weights, g, this.#work.experts, 0, this.#work.combined);
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
    this.#weigh(this.#work.weights);
    const sums = this.names.map(() => 0);
    for (const weights of this.#work.weights) {
      for (let e = 0; e < sums.length; e++) sums[e] = (sums[e] ?? 0) + (weights[e] ?? 0);
    }
    const total = GROUPS * L;
    return Object.fromEntries(this.names.map((name, e) => [name, (sums[e] ?? 0) / total]));
  }

  #nextMiddle(gain: number): number {
    const { signal } = this;
    if (signal.seasons.length === 0) return signal.mean(gain);
    return signal.seasonal(0, signal.n) + signal.deviation(0, gain);
  }

  #group(g: number): number {
    return Math.min(GROUPS - 1, Math.floor((g * GROUPS) / this.#distances.length));
  }

  #weigh(weights: readonly Float64Array[]): void {
    const { awake } = this.#work;
    for (let e = 0; e < this.names.length; e++) {
      awake[e] = Number.isNaN(this.#locations[e]?.at(this.signal, 1) ?? 0) ? 0 : 1;
    }
    for (let row = 0; row < weights.length; row++) {
      const into = weights[row];
      if (into) this.#combination.weights(row, awake, into);
    }
  }

  #putAside(): void {
    const { signal } = this;
    const turn = signal.n / this.#stride;
    if (turn % WEIGH_EVERY === 1 || turn < WEIGH_EVERY) this.#weigh(this.#work.learning);
    const slot = this.#pending[turn % this.#slots];
    if (!slot) return;
    slot.origin = signal.n;
    for (let g = 0; g < this.#distances.length; g++) {
      const ahead = this.#distances[g] ?? 1;
      const offset = g * this.names.length * L;
      this.#expertsAt(ahead, g, 0, slot.experts, offset, slot);
      this.#combine(this.#work.learning, g, slot.experts, offset, this.#work.combined);
      slot.combined.set(this.#work.combined, g * L);
      slot.factors[g] = this.#volatility.factor(signal.n - 1 + ahead, ahead);
    }
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
    const experts = this.names.length;
    const G = this.#distances.length;
    const next = part > 0 ? g + 1 : g;
    const factor = this.#volatility.factor(signal.n - 1 + ahead, ahead);
    const { spreads, shapes } = this.#errors;
    for (let e = 0; e < experts; e++) {
      const location = this.#locations[e];
      const middle = location ? location.at(signal, ahead) : this.#regressed(ahead, g, next, part);
      if (slot) slot.middles[g * experts + e] = middle;
      const row = e * G + g;
      const rowNext = e * G + next;
      const near = (1 - part) * (spreads[row] ?? 0) * factor;
      const far = part * (spreads[rowNext] ?? 0) * factor;
      for (let l = 0; l < L; l++) {
        into[offset + e * L + l] =
          middle + near * (shapes[row * L + l] ?? 0) + far * (shapes[rowNext * L + l] ?? 0);
      }
    }
    if (!slot) return;
    slot.features.set(this.#work.features, g * this.#work.features.length);
    slot.origins[g] = signal.mean(SLOW);
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

  /** Weighted mean of each quantile. */
  #combine(
    all: readonly Float64Array[],
    g: number,
    experts: Float64Array,
    offset: number,
    into: Float64Array,
  ): void {
    const count = this.names.length;
    const row = this.#group(g) * L;
    for (let l = 0; l < L; l++) {
      const weights = all[row + l];
      if (!weights) continue;
      let sum = 0;
      for (let e = 0; e < count; e++) {
        const weight = weights[e] ?? 0;
        if (weight > 0) sum += weight * (experts[offset + e * L + l] ?? 0);
      }
      into[l] = sum;
    }
  }

  /** Moves quantiles by what they were off lately, and sorts them. */
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
  }

  #score(origin: number, g: number, count: number): void {
    const slot = this.#pending[(origin / this.#stride) % this.#slots];
    if (!slot || slot.origin !== origin) return;
    const experts = this.names.length;
    const G = this.#distances.length;
    const z = this.signal.toZ(count);
    const factor = slot.factors[g] ?? 1;
    const group = this.#group(g);
    for (let l = 0; l < L; l++) {
      const combined = slot.combined[g * L + l] ?? 0;
      const height = this.signal.toCount(combined);
      const level = LEVELS[l] ?? 0;
      const gradient = ((count < height ? 1 : 0) - level) * this.signal.slope(height);
      const offset = g * experts * L + l;
      this.#combination.learn(group * L + l, gradient, combined, slot.experts, offset, L);
    }
    this.#learnOffsets(slot, g, z);
    for (let e = 0; e < experts; e++) {
      const middle = slot.middles[g * experts + e] ?? Number.NaN;
      if (!Number.isNaN(middle)) this.#errors.learn(e * G + g, (z - middle) / factor);
    }
    const features = this.#work.features.length;
    this.#ridges[g]?.learn(slot.features, g * features, z - (slot.origins[g] ?? 0));
  }

  #learnOffsets(slot: Pending, g: number, z: number): void {
    const factor = slot.factors[g] ?? 1;
    const spread = this.#spread[g] ?? 1;
    for (let l = 0; l < L; l++) {
      const at = g * L + l;
      const value = (z - (slot.combined[at] ?? 0)) / factor / spread;
      const offset = this.#offsets[at] ?? 0;
      const level = LEVELS[l] ?? 0;
      const step = OFFSET_GAIN * (STEPS[l] ?? 1);
      this.#offsets[at] = offset + step * (value > offset ? level : level - 1);
    }
    const error = Math.abs(z - (slot.combined[g * L + MEDIAN] ?? 0)) / factor;
    const size = Math.min(error, SPREAD_CUT * spread);
    this.#spread[g] = Math.max(1e-12, spread + SPREAD_GAIN * (size - spread));
  }
}

/** A forecast put aside: at each scored distance. */
class Pending {
  origin = -1;
  readonly experts: Float64Array;
  readonly middles: Float64Array;
  readonly combined: Float64Array;
  readonly factors: Float64Array;
  readonly origins: Float64Array;
  readonly features: Float64Array;

  constructor(experts: number, distances: number, features: number) {
    this.experts = new Float64Array(distances * experts * L);
    this.middles = new Float64Array(distances * experts);
    this.combined = new Float64Array(distances * L);
    this.factors = new Float64Array(distances);
    this.origins = new Float64Array(distances);
    this.features = new Float64Array(distances * features);
  }
}

/** Before the first error was seen: as of Poisson counts about the mean. */
function startSpread(unit: number): number {
  const mean = unit * 4;
  return Math.min(1, Math.sqrt(Math.max(mean, 1)) / (mean + unit)) + 0.02;
}

/** Lengths in bins of the seasons that the past shows. */
export function seasonsOf(past: Past): number[] {
  const unit = unitOf(past.counts);
  let last = 0;
  const values = past.counts.map((count) => {
    if (!Number.isNaN(count)) last = Math.log1p(count / unit);
    return last;
  });
  return detectSeasons(values, past.binMs);
}
