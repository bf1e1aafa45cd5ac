/** What the rest of the coordinator asks about future demand. */
import { DEMAND_BIN_MS, type Forecast, QUANTILE_LEVELS } from "../../shared/domain.ts";

import { type ArrivalCurve, type ArrivalOptions, type ArrivalState, Arrivals } from "./arrivals.ts";
import type { DemandSource } from "./source.ts";

export type Calibration = {
  /** Share of scored bins inside the 90 % interval; NaN before the first. */
  coverage90: number;
  /** Mean pinball loss over the levels, divided by the mean count. */
  pinball: number;
  samples: number;
};

export type ForecasterState = { version: 1; arrivals: ArrivalState };
export type ForecasterOptions = Partial<ArrivalOptions>;

export class Forecaster {
  readonly #arrivals: Arrivals;

  constructor(options: ForecasterOptions = {}) {
    this.#arrivals = new Arrivals(DEMAND_BIN_MS, {
      settleMinutes: 2,
      learnMinutesMax: 3 * 1440,
      rememberMinutesMax: 9 * 1440,
      ...options,
    });
  }

  /** Learns every bin that has ended by `nowMs`; call once a minute, and after an import. */
  update(history: DemandSource, nowMs: number): void {
    this.#arrivals.update(history, nowMs);
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
    const binMs = 60_000;
    return {
      workload,
      category,
      host,
      madeMs: nowMs,
      startMs: Math.floor(nowMs / binMs) * binMs,
      binMs,
      quantiles: Array.from({ length: horizonBins }, () => QUANTILE_LEVELS.map(() => 0)),
      arrivalProbability: Array.from({ length: horizonBins }, () => 0),
      mix: {},
    };
  }

  calibration(): Calibration {
    return { coverage90: Number.NaN, pinball: Number.NaN, samples: 0 };
  }

  /** JSON-able; a forecaster restored from it goes on as if it had never stopped. */
  state(): ForecasterState {
    return { version: 1, arrivals: this.#arrivals.state() };
  }

  restore(state: ForecasterState): void {
    this.#arrivals.restore(state.arrivals);
  }
}
