/**
 * Quantile forecasts: the experts' quantiles, mixed by how well each has done for the category and
 * widened until they hold. Categories are scored in turn: a forecast is made and put aside, and
 * compared when its bins have settled. Near and far bins have a mix and a width each.
 */
import { QUANTILE_LEVELS } from "../../shared/domain.ts";
import {
  type Calibration,
  CalibrationCounter,
  type CalibrationState,
  nextWidth,
  widened,
} from "./calibration.ts";
import { normalQuantile, pinballLoss, type Quantiles, ZERO_QUANTILES } from "./counts.ts";
import { LEVELS } from "./levels.ts";
import { Mix, type MixState } from "./mix.ts";
import type { Fitted, Outlook, Past } from "./model.ts";
import { activeRate, fitOccurrence, OCCURRENCE, occurrence } from "./occurrence.ts";
import { Watch, type Watched, type WatchState } from "./watch.ts";

/** Bins ahead that are scored, up to which they reach, and how often one is put aside. */
export const HALVES = {
  near: { aheads: [0, 1, 2, 4], span: 5, everyBins: 8 },
  far: { aheads: [9, 19, 39, 59], span: 60, everyBins: 64 },
} as const;
export type Half = keyof typeof HALVES;
export const HALF_NAMES: readonly Half[] = ["near", "far"];
const ENSEMBLE = "ensemble";
const BORROWED = "borrowed";
/** What the near half's rounds count for in the far one, before it has its own. */
const NEAR_ROUNDS = 3;
const NEAR_BINS = HALVES.near.span;
const DAY_BINS = 1440;
/** What experts count for, against 1, until they have shown what they are worth. */
const STRANGER_START = 0.01;
const BORROWED_START = 2;
/** Experts with less are not asked. */
const WEIGHT_MIN = 1e-3;
/** A category starts with what has worked for others of its age in bins and share of busy bins. */
const AGES = [120, 1440, Number.POSITIVE_INFINITY] as const;
const RATES = [0.1, 0.4, 0.9, Number.POSITIVE_INFINITY] as const;
const MEDIAN = (QUANTILE_LEVELS as readonly number[]).indexOf(0.5);
const NORMAL = QUANTILE_LEVELS.map(normalQuantile);

/** What is known of a category when a forecast is made. */
export type Look = {
  past: Past;
  /** P(request) in the bins after the past, given that none came before in them. */
  hazards: readonly number[];
  /** Rows of `LEVELS` of the category's own ensemble for the bins after the past; null: none. */
  own: ((bins: number) => Float64Array) | null;
  /** The same of the ensemble that also learned from others' past. */
  borrowed: ((bins: number) => Float64Array) | null;
};

/** Quantiles by expert (and of the mix) for each of the half's aheads. */
type Pending = {
  startBin: number;
  kind: number;
  experts: Record<string, Quantiles[]>;
  mixed: Quantiles[];
  naive: number[];
};
type HalfScores = { mix: Mix; widthLog: number; pending: Pending | null };
type Scores = Record<Half, HalfScores> & { watch: Watch };
type HalfState = { mix: MixState; widthLog: number; pending: Pending | null };

export type QuantileState = {
  pooled: Record<Half, MixState[]>;
  calibration: CalibrationState;
  categories: Record<string, Record<Half, HalfState> & { watch: WatchState }>;
};

export type QuantileForecast = {
  quantiles: Quantiles[];
  arrivalProbability: number[];
  mix: Record<string, number>;
};

export class QuantileForecasts {
  #pooled = { near: newPool(), far: newPool() };
  #categories = new Map<string, Scores>();
  readonly #calibration = new CalibrationCounter();
  readonly #outlook: Outlook;

  constructor(outlook: Outlook = () => new Map()) {
    this.#outlook = outlook;
  }

  /** Of the bins after the past. `share`: of all hosts' demand. */
  forecast(key: string, look: Look, bins: number, share = 1): QuantileForecast {
    const { experts, probabilities } = this.#fitAll(key, look, bins);
    const mixture = this.#mixture(key, experts, kindOf(look.past));
    return {
      quantiles: Array.from({ length: bins }, (_, ahead) =>
        share === 1 ? mixture.predict(ahead) : thinned(mixture.predict(ahead), share),
      ),
      arrivalProbability: probabilities.map((probability) => 1 - (1 - probability) ** share),
      mix: Object.fromEntries(bins <= NEAR_BINS ? mixture.near : mixture.far),
    };
  }

  /** Puts a forecast of the category aside to be scored, unless one waits already. */
  open(key: string, half: Half, look: Look): void {
    const scores = this.#scoresOf(key);
    if (scores[half].pending) return;
    const { aheads, span } = HALVES[half];
    const { experts } = this.#fitAll(key, look, span);
    const { past } = look;
    const kind = kindOf(past);
    const mixture = this.#mixture(key, experts, kind);
    const byExpert = [...experts].map(([name, fitted]) => [
      name,
      aheads.filter((ahead) => speaks(fitted, ahead)).map((ahead) => fitted.predict(ahead)),
    ]);
    scores[half].pending = {
      startBin: Math.round(past.startMs / past.binMs) + past.counts.length,
      kind,
      experts: Object.fromEntries(byExpert),
      mixed: aheads.map((ahead) => mixture.predict(ahead)),
      naive: aheads.map((ahead) => naive(past, ahead)),
    };
  }

  /** First bin of the forecast that waits to be scored; null when none does. */
  waiting(key: string, half: Half): number | null {
    return this.#categories.get(key)?.[half].pending?.startBin ?? null;
  }

  /** Scores the waiting forecast against the counts of its bins, all settled. */
  close(key: string, half: Half, counts: Float64Array): void {
    const all = this.#categories.get(key);
    const scores = all?.[half];
    const pending = scores?.pending;
    if (!all || !scores || !pending) return;
    scores.pending = null;
    const { aheads } = HALVES[half];
    const losses = new Map<string, number>();
    for (const [name, quantiles] of Object.entries(pending.experts)) {
      // Who cannot speak of the whole half sleeps in it.
      if (quantiles.length < aheads.length) continue;
      let loss = 0;
      for (const [i, ahead] of aheads.entries())
        loss += pinballLoss(quantiles[i] ?? ZERO_QUANTILES, counts[ahead] ?? 0);
      losses.set(name, loss);
    }
    scores.mix.learn(losses);
    this.#pooled[half][pending.kind]?.learn(losses);
    for (const [i, ahead] of aheads.entries()) {
      const [quantiles, actual] = [pending.mixed[i] ?? ZERO_QUANTILES, counts[ahead] ?? 0];
      const inside = this.#calibration.score(quantiles, actual);
      scores.widthLog = nextWidth(scores.widthLog, inside);
      all.watch.learn(quantiles, pending.naive[i] ?? 0, actual);
    }
  }

  forget(known: ReadonlySet<string>): void {
    for (const key of this.#categories.keys()) {
      if (!known.has(key)) this.#categories.delete(key);
    }
  }

  calibration(): Calibration {
    return this.#calibration.read();
  }

  /** Null before a forecast of the category was scored. */
  watched(key: string): Watched | null {
    return this.#categories.get(key)?.watch.read() ?? null;
  }

  allWatched(): Watched[] {
    return [...this.#categories.values()].flatMap(({ watch }) => watch.read() ?? []);
  }

  state(): QuantileState {
    const half = ({ mix, widthLog, pending }: HalfScores): HalfState => ({
      mix: mix.state(),
      widthLog,
      pending,
    });
    const categories = [...this.#categories].map(([key, { near, far, watch }]) => [
      key,
      { near: half(near), far: half(far), watch: watch.state() },
    ]);
    return {
      pooled: {
        near: this.#pooled.near.map((mix) => mix.state()),
        far: this.#pooled.far.map((mix) => mix.state()),
      },
      calibration: this.#calibration.state(),
      categories: Object.fromEntries(categories),
    };
  }

  restore({ pooled, calibration, categories }: QuantileState): void {
    this.#pooled = { near: pooled.near.map(Mix.restore), far: pooled.far.map(Mix.restore) };
    this.#calibration.restore(calibration);
    const half = ({ mix, widthLog, pending }: HalfState): HalfScores => ({
      mix: Mix.restore(mix),
      widthLog,
      pending,
    });
    this.#categories = new Map(
      Object.entries(categories).map(([key, { near, far, watch }]) => [
        key,
        { near: half(near), far: half(far), watch: new Watch(watch) },
      ]),
    );
  }

  /** What categories of that kind taught, or else older ones that are as busy. */
  #pooledFor(half: Half, kind: number): Mix {
    for (let at = kind; at < this.#pooled[half].length; at += RATES.length) {
      const pooled = this.#pooled[half][at];
      if (pooled && pooled.rounds > 0) return pooled;
    }
    return new Mix();
  }

  #scoresOf(key: string): Scores {
    const known = this.#categories.get(key);
    if (known) return known;
    const half = (): HalfScores => ({ mix: new Mix(), widthLog: 0, pending: null });
    const scores = { near: half(), far: half(), watch: new Watch() };
    this.#categories.set(key, scores);
    return scores;
  }

  #fitAll(key: string, { past, hazards, own, borrowed }: Look, bins: number) {
    const probabilities = occurrence(hazards, activeRate(past), bins);
    const experts = new Map<string, Fitted>();
    for (const [name, rows] of this.#outlook(key, past)) {
      const one = fromRows(rows);
      if (one) experts.set(name, one);
    }
    for (const [name, rowsOf] of [
      [ENSEMBLE, own],
      [BORROWED, borrowed],
    ] as const) {
      const fitted = rowsOf ? fromRows(rowsOf(bins)) : null;
      // It speaks of bins as far ahead as can be asked for.
      if (fitted) experts.set(name, { predict: fitted.predict });
    }
    const sparse = fitOccurrence(past, probabilities);
    if (sparse) experts.set(OCCURRENCE, sparse);
    return { experts, probabilities };
  }

  /** The experts as one, in the category's shares and widened as it needs. */
  #mixture(key: string, experts: ReadonlyMap<string, Fitted>, kind: number) {
    const scores = this.#categories.get(key);
    const names = [...experts.keys()];
    const start = new Map<string, number>(
      [...experts]
        .filter(([, { reach }]) => reach !== undefined)
        .map(([name]) => [name, STRANGER_START]),
    );
    start.set(BORROWED, BORROWED_START);
    const weights = (half: Half) => {
      const own = scores?.[half].mix ?? new Mix();
      const pooled = this.#pooledFor(half, kind);
      const priors = [(name: string) => taught(pooled, name)];
      // Who does well near at hand is likely to do so farther ahead, as long as that is not known.
      const near = scores?.near.mix;
      if (half === "far" && near) {
        const rounds = NEAR_ROUNDS / (1 + own.rounds);
        priors.push((name) => near.prior(name, rounds) ?? 0);
      }
      return own.weights(names, priors, start);
    };
    const [near, far] = [weights("near"), weights("far")];
    const predict = (ahead: number) => {
      const half = ahead < NEAR_BINS ? "near" : "far";
      const shares = half === "near" ? near : far;
      return widened(mixed(experts, shares, ahead), scores?.[half].widthLog ?? 0);
    };
    return { near, far, predict };
  }
}

function taught(pooled: Mix, name: string): number {
  const known = pooled.prior(name);
  return known ?? (name === BORROWED ? pooled.prior(ENSEMBLE) : null) ?? 0;
}

function newPool(): Mix[] {
  return Array.from({ length: AGES.length * RATES.length }, () => new Mix());
}

function kindOf(past: Past): number {
  const rate = activeRate(past);
  const age = AGES.findIndex((below) => past.counts.length < below);
  return age * RATES.length + RATES.findIndex((below) => rate < below);
}

/** The same minute a day before, else the last one. */
function naive({ counts }: Past, ahead: number): number {
  return counts[counts.length + ahead - DAY_BINS] ?? counts.at(-1) ?? 0;
}

/** Where `LEVELS` has those of the API. */
const SHOWN = QUANTILE_LEVELS.map((level) => LEVELS.indexOf(level));

/** Null when there is not even one bin it speaks of. */
function fromRows(rows: Float64Array): Fitted | null {
  const silent = rows.findIndex(Number.isNaN);
  const reach = Math.floor((silent < 0 ? rows.length : silent) / LEVELS.length);
  if (reach === 0) return null;
  const predict = (ahead: number) => SHOWN.map((at) => rows[ahead * LEVELS.length + at] ?? 0);
  return { reach, predict };
}

const speaks = ({ reach }: Fitted, ahead: number) => reach === undefined || ahead < reach;

/** Weighted mean of each quantile: rising, because each expert's are. */
function mixed(
  experts: ReadonlyMap<string, Fitted>,
  weights: ReadonlyMap<string, number>,
  ahead: number,
): Quantiles {
  const sums = QUANTILE_LEVELS.map(() => 0);
  let total = 0;
  for (const [name, fitted] of experts) {
    const weight = weights.get(name) ?? 0;
    if (weight < WEIGHT_MIN || !speaks(fitted, ahead)) continue;
    total += weight;
    for (const [i, quantile] of fitted.predict(ahead).entries()) {
      sums[i] = (sums[i] ?? 0) + weight * quantile;
    }
  }
  return total === 0 ? sums : sums.map((sum) => sum / total);
}

/**
 * When each request falls to a host with probability `share`: the spread of the whole, and that of
 * the binomial about the median, as if both were normal.
 */
export function thinned(quantiles: Quantiles, share: number): Quantiles {
  const middle = share * (quantiles[MEDIAN] ?? 0);
  const chance = middle * (1 - share);
  return quantiles.map((quantile, j) => {
    const [part, z] = [share * quantile - middle, NORMAL[j] ?? 0];
    const away = Math.sqrt(part * part + z * z * chance);
    return Math.max(0, j < MEDIAN ? middle - away : middle + away);
  });
}
