/**
 * What the rest of the coordinator asks about future demand. It learns from the history as it
 * grows; nothing it answers depends on what came later, or on what was asked before.
 */
import { categoryKey, DEMAND_BIN_MS, type Forecast } from "../../shared/domain.ts";
import { assert } from "../../shared/runtime/assert.ts";
import { AnchoredEnsembles, type Borrow } from "./anchored.ts";
import {
  type ArrivalOptions,
  type ArrivalState,
  Arrivals,
  type ArrivalCurve as Curve,
} from "./arrivals.ts";
import { borrowedPast, type Lane } from "./borrowed.ts";
import { type Calendar, UTC_CALENDAR } from "./calendar.ts";
import type { Calibration as Calibrated } from "./calibration.ts";
import type { Ensemble } from "./ensemble.ts";
import { LEVELS } from "./levels.ts";
import type { Outlook, Past } from "./model.ts";
import {
  HALF_NAMES,
  HALVES,
  type Half,
  type Look,
  QuantileForecasts,
  type QuantileState,
} from "./quantiles.ts";
import { mixtureOf } from "./siblings.ts";
import type { DemandSource } from "./source.ts";
import type { Watched } from "./watch.ts";

export type ArrivalCurve = Curve;
export type Calibration = Calibrated;
/** With fewer bins since its first request a category may be like any other of its workload. */
const UNKNOWN_BINS = 8;
/** A category with no request in so many bins is as good as never seen. */
const KNOWN_BINS = 28 * 1440;
const SIBLINGS_MAX = 16;
/** The weeks are for the seasons: who is right is told by the last days, and changes by the hour. */
const LEARNING = { bins: 4320, rounds: 375 };
/** Of a past that is made of others': that one lies near tells nothing. */
const BORROWED = { fitBins: 8 * 1440, learning: { bins: 8 * 1440, rounds: 250 } };

type CategoryOf = { workload: string; category: string };
export type CategoryWatch = {
  /** Null before one was scored. */
  scores: Watched | null;
  /** When it was seen to leave its level, in the days that its ensemble is fitted to. */
  driftsMs: number[];
  /** Shares of the experts within the ensemble. */
  ensemble: Record<string, number>;
};
export type ForecasterState = { version: 2; arrivals: ArrivalState; quantiles: QuantileState };

export type ForecasterOptions = ArrivalOptions & {
  /** Bins of the past that ensembles are fitted to. */
  fitBins: number;
  /** Bins of the past that the other experts look at. */
  lookBins: number;
  /** Whether the quantile models are scored; false where only arrivals are asked for. */
  scoring: boolean;
  /** By which days are told apart. */
  calendar: Calendar;
  /** Experts that are not fitted here. */
  outlook: Outlook;
};

export class Forecaster {
  readonly #options: ForecasterOptions;
  readonly #arrivals: Arrivals;
  readonly #ensembles: AnchoredEnsembles;
  /** Of young categories, fitted to what others had before they were born. */
  readonly #borrowed: AnchoredEnsembles;
  readonly #quantiles: QuantileForecasts;
  #source: DemandSource | null = null;

  constructor(options: Partial<ForecasterOptions> = {}) {
    this.#options = {
      settleMinutes: 2,
      lateMinutes: 15,
      learnStepsMax: 1_500_000,
      rememberMinutesMax: 9 * 1440,
      fitBins: 14 * 1440,
      lookBins: 3 * 1440,
      scoring: true,
      calendar: UTC_CALENDAR,
      outlook: () => new Map(),
      ...options,
    };
    this.#quantiles = new QuantileForecasts(this.#options.outlook);
    this.#ensembles = new AnchoredEnsembles({
      ...this.#options,
      learning: LEARNING,
      youngest: 32,
      borrow: null,
    });
    this.#borrowed = new AnchoredEnsembles({
      ...this.#options,
      ...BORROWED,
      youngest: 4,
      borrow: (key, shown) => this.#borrow(key, shown),
    });
    this.#arrivals = new Arrivals(DEMAND_BIN_MS, this.#options);
  }

  /** What is read until the next update. */
  read(history: DemandSource): void {
    this.#source = history;
  }

  /** Learns every bin that has ended by `nowMs`; call once a minute, and after an import. */
  update(history: DemandSource, nowMs: number): void {
    for (const _ of this.updating(history, nowMs));
  }

  /** As `update`, in steps: of a long history it takes seconds. */
  *updating(history: DemandSource, nowMs: number): Generator<void> {
    assert(history.binMs === DEMAND_BIN_MS, "the forecaster works on minutes");
    this.#source = history;
    yield* this.#arrivals.update(history, nowMs);
    if (this.#options.scoring) yield* this.#score(nowMs);
  }

  /** Of the minute of `nowMs` alone: what its arrival curve begins with. */
  hazard(workload: string, category: string, nowMs: number): number {
    return this.#arrivals.hazard(workload, category, nowMs);
  }

  /** Of the minute of `nowMs` and the following ones; never seen categories get the prior. */
  arrival(workload: string, category: string, nowMs: number): ArrivalCurve {
    return this.#arrivals.curve(workload, category, nowMs);
  }

  /** Quantiles of the counts of the `horizonBins` bins from the one under way on. */
  forecast(
    workload: string,
    category: string,
    host: string | null,
    nowMs: number,
    horizonBins: number,
  ): Forecast {
    const share = host === null ? 1 : (this.#source?.hostShare(workload, category).get(host) ?? 0);
    const look = this.#look({ workload, category }, nowMs);
    return {
      workload,
      category,
      host,
      madeMs: nowMs,
      startMs: Math.floor(nowMs / DEMAND_BIN_MS) * DEMAND_BIN_MS,
      binMs: DEMAND_BIN_MS,
      ...this.#quantiles.forecast(categoryKey(workload, category), look, horizonBins, share),
    };
  }

  /**
   * Medians of the same bins, cheaply: by the category's ensemble as it is at hand. Null when there
   * is none.
   */
  medians({ workload, category }: CategoryOf, nowMs: number, bins: number): Float64Array | null {
    const key = categoryKey(workload, category);
    const read = (from: number, to: number) => this.#read({ workload, category }, from, to);
    const open = Math.floor(nowMs / DEMAND_BIN_MS);
    const ensemble =
      this.#borrowed.atHand(key, read, open) ?? this.#ensembles.atHand(key, read, open);
    if (!ensemble) return null;
    const { lead } = this.#ensembles;
    const rows = ensemble.predict(bins + lead);
    const at = LEVELS.indexOf(0.5);
    return Float64Array.from(
      { length: bins },
      (_, i) => rows[(i + lead) * LEVELS.length + at] ?? 0,
    );
  }

  /** Makes the category's ensemble ready, where that is due: some 20 ms. */
  prepare(of: CategoryOf, nowMs: number): void {
    if (!this.#source) return;
    const read = (from: number, to: number) => this.#read(of, from, to);
    const key = categoryKey(of.workload, of.category);
    for (const ensembles of [this.#ensembles, this.#borrowed])
      ensembles.at(key, read, Math.floor(nowMs / DEMAND_BIN_MS));
  }

  calibration(): Calibration {
    return this.#quantiles.calibration();
  }

  /** How the category's forecasts have done lately. */
  watched({ workload, category }: CategoryOf): CategoryWatch {
    const key = categoryKey(workload, category);
    const about = this.#ensembles.about(key);
    return {
      scores: this.#quantiles.watched(key),
      driftsMs: (about?.drifts ?? []).map((bin) => bin * DEMAND_BIN_MS),
      ensemble: about?.mix ?? {},
    };
  }

  /** Of all categories, since the start. */
  counts(): { fits: number; alarms: number } {
    const { fits, alarms } = this.#ensembles;
    return { fits: fits + this.#borrowed.fits, alarms };
  }

  /** Of every category that was scored. */
  scores(): Watched[] {
    return this.#quantiles.allWatched();
  }

  /** JSON-able; one restored from it goes on, from its next update, as if it had not stopped. */
  state(): ForecasterState {
    return { version: 2, arrivals: this.#arrivals.state(), quantiles: this.#quantiles.state() };
  }

  /** False, and nothing is changed, when the state is of another version. */
  restore(state: ForecasterState): boolean {
    if (state.version !== 2) return false;
    this.#arrivals.restore(state.arrivals);
    this.#quantiles.restore(state.quantiles);
    return true;
  }

  /** Scores what has settled and puts new forecasts aside. */
  *#score(nowMs: number): Generator<void> {
    const open = Math.floor(nowMs / DEMAND_BIN_MS);
    const keys = this.#lanes();
    const known = new Set(keys.map((of) => of.key));
    this.#quantiles.forget(known);
    this.#ensembles.forget(known);
    this.#borrowed.forget(known);
    for (const { key, ...of } of keys) {
      yield;
      const turn = turnOf(key);
      const due = HALF_NAMES.filter((half) => (open + turn) % HALVES[half].everyBins === 0);
      for (const half of HALF_NAMES) this.#close(key, half, of, open);
      if (due.length === 0) continue;
      const look = this.#look(of, nowMs);
      if (look.past.counts.length === 0) continue;
      for (const half of due) this.#quantiles.open(key, half, look);
    }
  }

  #close(key: string, half: Half, of: CategoryOf, open: number): void {
    const start = this.#quantiles.waiting(key, half);
    if (start === null || start + HALVES[half].span > open - this.#options.settleMinutes) return;
    this.#quantiles.close(key, half, this.#read(of, start, start + HALVES[half].span));
  }

  #look(of: CategoryOf, nowMs: number): Look {
    const key = categoryKey(of.workload, of.category);
    const open = Math.floor(nowMs / DEMAND_BIN_MS);
    const read = (from: number, to: number) => this.#read(of, from, to);
    const rowsOf = (ensemble: Ensemble | null) =>
      ensemble && ((bins: number) => ensemble.predict(bins + lead).subarray(lead * LEVELS.length));
    const { lead } = this.#ensembles;
    const past = this.#past(of, open);
    return {
      past,
      hazards: this.arrival(of.workload, of.category, nowMs).hazardPerMinute,
      own: rowsOf(this.#ensembles.at(key, read, open)),
      borrowed: rowsOf(this.#borrowed.at(key, read, open)) ?? this.#siblings(of, open, past),
    };
  }

  /** For a category that has shown next to nothing; null for others, and where there are none. */
  #siblings(of: CategoryOf, open: number, { counts }: Past): Look["borrowed"] {
    if (counts.length >= UNKNOWN_BINS) return null;
    // Silent for as long as experts look back, it is known to be silent.
    if (counts.length === 0 && this.#read(of, open - KNOWN_BINS, open).some((count) => count > 0))
      return null;
    const { lead } = this.#ensembles;
    const known: (Ensemble | null)[] = [];
    for (const lane of this.#lanes()) {
      if (lane.workload !== of.workload || lane.category === of.category) continue;
      if (this.#past(lane, open).counts.length === 0) continue;
      known.push(this.#ensembles.at(lane.key, (from, to) => this.#read(lane, from, to), open));
      if (known.length === SIBLINGS_MAX) break;
    }
    if (known.length === 0) return null;
    return (bins) =>
      mixtureOf(
        known.map((one) => one?.predict(bins + lead).subarray(lead * LEVELS.length)),
        bins,
      );
  }

  #borrow(key: string, shown: Parameters<Borrow>[1]): Float64Array | null {
    const lanes = this.#lanes();
    const of = lanes.find((lane) => lane.key === key);
    return of
      ? borrowedPast(of, shown, lanes, (lane, from, to) => this.#read(lane, from, to))
      : null;
  }

  /** Every category there is demand of, in the order of keys. */
  #lanes(): Lane[] {
    return (this.#source?.keys() ?? [])
      .map((of) => ({ ...of, key: categoryKey(of.workload, of.category) }))
      .sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  #read({ workload, category }: CategoryOf, from: number, to: number): Float64Array {
    const range = { fromMs: from * DEMAND_BIN_MS, toMs: to * DEMAND_BIN_MS };
    return this.#source?.series(workload, category, null, range).counts ?? new Float64Array(0);
  }

  /** The bins that have ended, from the category's first on but no more than experts look at. */
  #past(of: CategoryOf, open: number): Past {
    const from = open - this.#options.lookBins;
    const counts = this.#read(of, from, open);
    const first = counts.findIndex((count) => count > 0);
    return {
      startMs: (first < 0 ? open : from + first) * DEMAND_BIN_MS,
      binMs: DEMAND_BIN_MS,
      counts: first < 0 ? new Float64Array(0) : counts.subarray(first),
    };
  }
}

/** Spreads the categories over the minutes. */
function turnOf(key: string): number {
  let hash = 0;
  for (let i = 0; i < key.length; i++) hash = (Math.imul(hash, 31) + key.charCodeAt(i)) >>> 0;
  return hash % HALVES.far.everyBins;
}
