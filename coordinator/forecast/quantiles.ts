/**
 * Quantile forecasts: the experts' quantiles, mixed by how well each has done for the category and
 * widened until they hold. Every category is scored about once an hour, in turn: a forecast is
 * made and put aside, and compared when its bins have settled.
 */
import { QUANTILE_LEVELS } from "../../shared/domain.ts";
import {
  type Calibration,
  CalibrationCounter,
  type CalibrationState,
  nextWidth,
  widened,
} from "./calibration.ts";
import { pinballLoss, type Quantiles, ZERO_QUANTILES } from "./counts.ts";
import { levelModel } from "./level.ts";
import { LEVELS } from "./levels.ts";
import { Mix, type MixState } from "./mix.ts";
import type { Fitted, Model, Outlook, Past } from "./model.ts";
import { activeRate, fitOccurrence, OCCURRENCE, occurrence } from "./occurrence.ts";
import { seasonModel } from "./season.ts";

const MODELS: readonly Model[] = [levelModel("recent", 10), levelModel("level", 120), seasonModel];
/** Bins ahead that are scored; those up to `NEAR_BINS` have their own mix. */
const SCORED_BINS = [0, 1, 2, 4, 9, 19, 39, 59];
const SCORED_SPAN = Math.max(...SCORED_BINS) + 1;
const NEAR_BINS = 5;
/** What an expert from elsewhere counts for, against 1, until it has shown what it is worth. */
const STRANGER_START = 0.01;
/** Experts with less are not asked. */
const WEIGHT_MIN = 1e-3;

/**
 * A forecast put aside: quantiles by expert (and of the mix) for each of `SCORED_BINS`, of an
 * expert up to its reach.
 */
type Pending = { startBin: number; experts: Record<string, Quantiles[]>; mixed: Quantiles[] };

type Scores = { near: Mix; far: Mix; widthLog: number; pending: Pending | null };

export type QuantileState = {
  pooled: { near: MixState; far: MixState };
  calibration: CalibrationState;
  categories: Record<
    string,
    { near: MixState; far: MixState; widthLog: number; pending: Pending | null }
  >;
};

export type QuantileForecast = {
  quantiles: Quantiles[];
  arrivalProbability: number[];
  mix: Record<string, number>;
};

export class QuantileForecasts {
  #pooled = { near: new Mix(), far: new Mix() };
  #categories = new Map<string, Scores>();
  readonly #calibration = new CalibrationCounter();
  readonly #outlook: Outlook;

  constructor(outlook: Outlook = () => new Map()) {
    this.#outlook = outlook;
  }

  /**
   * Of the bins after the past; hazards are those of the same bins, given idleness. `share`: of
   * all hosts' demand, null for all of it.
   */
  forecast(
    key: string,
    past: Past,
    hazards: readonly number[],
    bins: number,
    share: number | null = null,
  ): QuantileForecast {
    const probabilities = occurrence(hazards, activeRate(past), bins).map(
      (probability) => 1 - (1 - probability) ** (share ?? 1),
    );
    const experts = fitAll(past, probabilities, this.#outlook(key, past, share === null));
    const mixture = this.#mixture(key, experts);
    return {
      quantiles: Array.from({ length: bins }, (_, ahead) => mixture.predict(ahead)),
      arrivalProbability: probabilities,
      mix: Object.fromEntries(bins <= NEAR_BINS ? mixture.near : mixture.far),
    };
  }

  /** Puts a forecast of the category aside to be scored, unless one waits already. */
  open(key: string, past: Past, hazards: readonly number[]): void {
    const scores = this.#scoresOf(key);
    if (scores.pending) return;
    const probabilities = occurrence(hazards, activeRate(past), SCORED_SPAN);
    const experts = fitAll(past, probabilities, this.#outlook(key, past, true));
    const mixture = this.#mixture(key, experts);
    const byExpert = [...experts].map(([name, fitted]) => [
      name,
      SCORED_BINS.filter((ahead) => speaks(fitted, ahead)).map((ahead) => fitted.predict(ahead)),
    ]);
    scores.pending = {
      startBin: Math.round(past.startMs / past.binMs) + past.counts.length,
      experts: Object.fromEntries(byExpert),
      mixed: SCORED_BINS.map((ahead) => mixture.predict(ahead)),
    };
  }

  /** First bin of the forecast that waits to be scored; null when none does. */
  waiting(key: string): { startBin: number; bins: number } | null {
    const pending = this.#categories.get(key)?.pending;
    return pending ? { startBin: pending.startBin, bins: SCORED_SPAN } : null;
  }

  /** Scores the waiting forecast against the counts of its bins, all settled. */
  close(key: string, counts: Float64Array): void {
    const scores = this.#categories.get(key);
    const pending = scores?.pending;
    if (!scores || !pending) return;
    scores.pending = null;
    for (const half of ["near", "far"] as const) {
      const losses = new Map<string, number>();
      const last = SCORED_BINS.findLastIndex((ahead) => ahead < NEAR_BINS === (half === "near"));
      for (const [name, quantiles] of Object.entries(pending.experts)) {
        // Who cannot speak of the whole half sleeps in it.
        if (quantiles.length <= last) continue;
        let loss = 0;
        for (const [i, ahead] of SCORED_BINS.entries()) {
          if (ahead < NEAR_BINS !== (half === "near")) continue;
          loss += pinballLoss(quantiles[i] ?? ZERO_QUANTILES, counts[ahead] ?? 0);
        }
        losses.set(name, loss);
      }
      scores[half].learn(losses);
      this.#pooled[half].learn(losses);
    }
    for (const [i, ahead] of SCORED_BINS.entries()) {
      const inside = this.#calibration.score(
        pending.mixed[i] ?? ZERO_QUANTILES,
        counts[ahead] ?? 0,
      );
      scores.widthLog = nextWidth(scores.widthLog, inside);
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

  state(): QuantileState {
    const categories = [...this.#categories].map(([key, { near, far, widthLog, pending }]) => [
      key,
      { near: near.state(), far: far.state(), widthLog, pending },
    ]);
    return {
      pooled: { near: this.#pooled.near.state(), far: this.#pooled.far.state() },
      calibration: this.#calibration.state(),
      categories: Object.fromEntries(categories),
    };
  }

  restore({ pooled, calibration, categories }: QuantileState): void {
    this.#pooled = { near: Mix.restore(pooled.near), far: Mix.restore(pooled.far) };
    this.#calibration.restore(calibration);
    this.#categories = new Map(
      Object.entries(categories).map(([key, { near, far, widthLog, pending }]) => [
        key,
        { near: Mix.restore(near), far: Mix.restore(far), widthLog, pending },
      ]),
    );
  }

  #scoresOf(key: string): Scores {
    const known = this.#categories.get(key);
    if (known) return known;
    const scores = { near: new Mix(), far: new Mix(), widthLog: 0, pending: null };
    this.#categories.set(key, scores);
    return scores;
  }

  /** The experts as one, in the category's shares and widened as it needs. */
  #mixture(key: string, experts: ReadonlyMap<string, Fitted>) {
    const scores = this.#categories.get(key);
    const names = [...experts.keys()];
    const start = new Map(
      [...experts]
        .filter(([, { reach }]) => reach !== undefined)
        .map(([name]) => [name, STRANGER_START]),
    );
    const near = (scores?.near ?? new Mix()).weights(names, this.#pooled.near, start);
    const far = (scores?.far ?? new Mix()).weights(names, this.#pooled.far, start);
    const predict = (ahead: number) =>
      widened(mixed(experts, ahead < NEAR_BINS ? near : far, ahead), scores?.widthLog ?? 0);
    return { near, far, predict };
  }
}

function fitAll(
  past: Past,
  probabilities: readonly number[],
  outlook: ReturnType<Outlook>,
): Map<string, Fitted> {
  const fitted = new Map<string, Fitted>();
  for (const [name, rows] of outlook) {
    const one = fromRows(rows);
    if (one) fitted.set(name, one);
  }
  for (const model of MODELS) {
    const one = model.fit(past);
    if (one) fitted.set(model.name, one);
  }
  const sparse = fitOccurrence(past, probabilities);
  if (sparse) fitted.set(OCCURRENCE, sparse);
  return fitted;
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
