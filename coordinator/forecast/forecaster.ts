/**
 * What the rest of the coordinator asks about future demand. It learns from the history as it
 * grows; nothing it answers depends on what came later, or on what was asked before.
 */
import { categoryKey, DEMAND_BIN_MS, type Forecast } from "../../shared/domain.ts";
import { assert } from "../../shared/runtime/assert.ts";
import {
  type ArrivalOptions,
  type ArrivalState,
  Arrivals,
  type ArrivalCurve as Curve,
} from "./arrivals.ts";
import type { Calibration as Calibrated } from "./calibration.ts";
import type { Outlook } from "./model.ts";
import { QuantileForecasts, type QuantileState } from "./quantiles.ts";
import type { DemandSource } from "./source.ts";

/** Each category's forecasts are scored once in so many minutes, the categories in turn. */
const SCORE_EVERY_BINS = 64;

export type ArrivalCurve = Curve;
export type Calibration = Calibrated;
export type ForecasterState = { version: 1; arrivals: ArrivalState; quantiles: QuantileState };

export type ForecasterOptions = ArrivalOptions & {
  /** Bins of the past that the quantile models are fitted to. */
  fitBins: number;
  /** Whether the quantile models are scored; false where only arrivals are asked for. */
  scoring: boolean;
  /** Experts that are not fitted here. */
  outlook: Outlook;
};

export class Forecaster {
  readonly #options: ForecasterOptions;
  readonly #arrivals: Arrivals;
  readonly #quantiles: QuantileForecasts;
  #source: DemandSource | null = null;

  constructor(options: Partial<ForecasterOptions> = {}) {
    this.#options = {
      settleMinutes: 2,
      lateMinutes: 15,
      learnStepsMax: 1_500_000,
      rememberMinutesMax: 9 * 1440,
      fitBins: 3 * 1440,
      scoring: true,
      outlook: () => new Map(),
      ...options,
    };
    this.#quantiles = new QuantileForecasts(this.#options.outlook);
    this.#arrivals = new Arrivals(DEMAND_BIN_MS, this.#options);
  }

  /** Learns every bin that has ended by `nowMs`; call once a minute, and after an import. */
  update(history: DemandSource, nowMs: number): void {
    assert(history.binMs === DEMAND_BIN_MS, "the forecaster works on minutes");
    this.#source = history;
    this.#arrivals.update(history, nowMs);
    if (this.#options.scoring) this.#score(history, nowMs);
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
    const share =
      host === null ? null : (this.#source?.hostShare(workload, category).get(host) ?? 0);
    const past = this.#past({ workload, category }, host, nowMs);
    const { hazardPerMinute } = this.arrival(workload, category, nowMs);
    const key = categoryKey(workload, category);
    return {
      workload,
      category,
      host,
      madeMs: nowMs,
      startMs: past.startMs + past.counts.length * past.binMs,
      binMs: past.binMs,
      ...this.#quantiles.forecast(key, past, hazardPerMinute, horizonBins, share),
    };
  }

  calibration(): Calibration {
    return this.#quantiles.calibration();
  }

  /** JSON-able; one restored from it goes on, from its next update, as if it had not stopped. */
  state(): ForecasterState {
    return { version: 1, arrivals: this.#arrivals.state(), quantiles: this.#quantiles.state() };
  }

  restore(state: ForecasterState): void {
    this.#arrivals.restore(state.arrivals);
    this.#quantiles.restore(state.quantiles);
  }

  /** Scores what has settled and puts new forecasts aside. */
  #score(history: DemandSource, nowMs: number): void {
    const open = Math.floor(nowMs / DEMAND_BIN_MS);
    const keys = history
      .keys()
      .map((of) => ({ ...of, key: categoryKey(of.workload, of.category) }))
      .sort((a, b) => (a.key < b.key ? -1 : 1));
    this.#quantiles.forget(new Set(keys.map((of) => of.key)));
    for (const { key, ...of } of keys) {
      const waiting = this.#quantiles.waiting(key);
      if (waiting && waiting.startBin + waiting.bins <= open - this.#options.settleMinutes) {
        const fromMs = waiting.startBin * DEMAND_BIN_MS;
        const toMs = fromMs + waiting.bins * DEMAND_BIN_MS;
        const range = { fromMs, toMs };
        this.#quantiles.close(key, history.series(of.workload, of.category, null, range).counts);
      }
      if ((open + turnOf(key)) % SCORE_EVERY_BINS !== 0) continue;
      const past = this.#past(of, null, nowMs);
      if (past.counts.length === 0) continue;
      const { hazardPerMinute } = this.arrival(of.workload, of.category, nowMs);
      this.#quantiles.open(key, past, hazardPerMinute);
    }
  }

  /** The bins that have ended, from the category's first on but no more than the models need. */
  #past(of: { workload: string; category: string }, host: string | null, nowMs: number) {
    const toMs = Math.floor(nowMs / DEMAND_BIN_MS) * DEMAND_BIN_MS;
    const nothing = { startMs: toMs, binMs: DEMAND_BIN_MS, counts: new Float64Array(0) };
    if (!this.#source) return nothing;
    const range = { fromMs: toMs - this.#options.fitBins * DEMAND_BIN_MS, toMs };
    const series = this.#source.series(of.workload, of.category, host, range);
    const first = series.counts.findIndex((count) => count > 0);
    if (first < 0) return nothing;
    return {
      startMs: series.startMs + first * DEMAND_BIN_MS,
      binMs: DEMAND_BIN_MS,
      counts: series.counts.subarray(first),
    };
  }
}

/** Spreads the categories over the minutes. */
function turnOf(key: string): number {
  let hash = 0;
  for (let i = 0; i < key.length; i++) hash = (Math.imul(hash, 31) + key.charCodeAt(i)) >>> 0;
  return hash % SCORE_EVERY_BINS;
}
