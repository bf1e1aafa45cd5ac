/** What the rest of the coordinator asks about future demand. */
import { type Forecast, QUANTILE_LEVELS } from "../../shared/domain.ts";

/** The history as the forecaster reads it; `DemandHistory` fits. */
export type DemandSource = {
  readonly binMs: number;
  keys(): { workload: string; category: string }[];
  series(
    workload: string,
    category: string,
    host: string | null,
    range?: { fromMs?: number; toMs?: number },
  ): { startMs: number; binMs: number; counts: Float64Array };
  lastArrivalMs(workload: string, category: string): number | null;
  hostShare(workload: string, category: string): Map<string, number>;
};

/** When the next request of a category will come, given that none came until now. */
export type ArrivalCurve = {
  /** P(first arrival within `ms` from the time asked for), 0..1, rising in `ms`. */
  probabilityWithin(ms: number): number;
  /**
   * For each of the next 120 minutes, the one under way first: P(arrival in it | idle until it).
   */
  hazardPerMinute: readonly number[];
  /** Start of the last minute with a request; null when there was none. */
  lastArrivalMs: number | null;
};

export type Calibration = {
  /** Share of scored bins inside the 90 % interval; NaN before the first. */
  coverage90: number;
  /** Mean pinball loss over the levels, divided by the mean count. */
  pinball: number;
  samples: number;
};

export type ForecasterState = { version: number };

export class Forecaster {
  /** Learns every bin that has ended by `nowMs`; call once a minute, and after an import. */
  update(_history: DemandSource, _nowMs: number): void {}

  /** Of the minute of `nowMs` and the following ones; never seen categories get the prior. */
  arrival(_workload: string, _category: string, _nowMs: number): ArrivalCurve {
    return { probabilityWithin: () => 0, hazardPerMinute: [], lastArrivalMs: null };
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
    return { version: 1 };
  }

  restore(_state: ForecasterState): void {}
}
