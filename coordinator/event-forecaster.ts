/**
 * The forecaster as planning sees it, with announced events: the base models learn demand as it
 * would have been without them, and what they forecast gets the events' effects.
 */
import { categoryKey, type Forecast } from "../shared/domain.ts";
import type { ArrivalCurve } from "./forecast/arrivals.ts";
import { countQuantiles } from "./forecast/counts.ts";
import { Forecaster } from "./forecast/forecaster.ts";
import type { DemandSource } from "./forecast/source.ts";
import { adjustForecast, adjustProbability, withoutEffect } from "./signals/adjust.ts";
import type { EventEffects } from "./signals/event-effects.ts";

export type EventEffectOf = EventEffects["eventEffect"];

const MINUTE_MS = 60_000;
const PROBABILITY_MAX = 1 - 1e-12;

export class EventForecaster {
  /** Knows of no events. */
  readonly base: Forecaster;
  readonly #effectOf: EventEffectOf;

  constructor(effectOf: EventEffectOf, base: Forecaster = new Forecaster()) {
    this.#effectOf = effectOf;
    this.base = base;
  }

  update(history: DemandSource, nowMs: number): void {
    for (const _ of this.updating(history, nowMs));
  }

  /** See `Forecaster.updating`. */
  updating(history: DemandSource, nowMs: number): Generator<void> {
    return this.base.updating(withoutEvents(history, this.#effectOf), nowMs);
  }

  arrival(workload: string, category: string, nowMs: number): ArrivalCurve {
    const curve = this.base.arrival(workload, category, nowMs);
    const startMs = Math.floor(nowMs / MINUTE_MS) * MINUTE_MS;
    const minutes = curve.hazardPerMinute.length;
    const effect = this.#effectOf(workload, category, startMs, MINUTE_MS, minutes);
    return effect ? adjustCurve(curve, effect.logEffect, nowMs - startMs) : curve;
  }

  forecast(
    workload: string,
    category: string,
    host: string | null,
    nowMs: number,
    horizonBins: number,
  ): Forecast {
    const base = this.base.forecast(workload, category, host, nowMs, horizonBins);
    const { startMs, binMs, quantiles } = base;
    const effect = this.#effectOf(workload, category, startMs, binMs, quantiles.length);
    return adjustForecast(base, effect, countQuantiles);
  }

  /** See `Forecaster.medians`. */
  medians(
    of: { workload: string; category: string },
    nowMs: number,
    bins: number,
  ): Float64Array | null {
    const medians = this.base.medians(of, nowMs, bins);
    const startMs = Math.floor(nowMs / MINUTE_MS) * MINUTE_MS;
    const effect = this.#effectOf(of.workload, of.category, startMs, MINUTE_MS, bins);
    return medians?.map((median, i) => median * Math.exp(effect?.logEffect[i] ?? 0)) ?? null;
  }

  /** Reads and fits before the first update, so that it has little left to do. */
  prepare(history: DemandSource, of: { workload: string; category: string }, nowMs: number): void {
    this.base.read(withoutEvents(history, this.#effectOf));
    this.base.prepare(of, nowMs);
  }
}

/** History as if no event had had an effect. */
export function withoutEvents(history: DemandSource, effectOf: EventEffectOf): DemandSource {
  return {
    binMs: history.binMs,
    keys: () => history.keys(),
    series: (workload, category, host, range) => {
      const series = history.series(workload, category, host, range);
      const { startMs, binMs, counts } = series;
      const effect = effectOf(workload, category, startMs, binMs, counts.length);
      return { ...series, counts: withoutEffect(series, effect, categoryKey(workload, category)) };
    },
    lastArrivalMs: (workload, category) => history.lastArrivalMs(workload, category),
    hostShare: (workload, category) => history.hostShare(workload, category),
  };
}

/** `elapsedMs` of the first minute are over. Rates of arrival are multiplied minute by minute. */
export function adjustCurve(
  curve: ArrivalCurve,
  logEffect: Float64Array,
  elapsedMs: number,
): ArrivalCurve {
  const cumulative = (ms: number) =>
    -Math.log1p(-Math.min(PROBABILITY_MAX, curve.probabilityWithin(ms)));
  return {
    ...curve,
    hazardPerMinute: curve.hazardPerMinute.map((p, i) => adjustProbability(p, logEffect[i] ?? 0)),
    probabilityWithin: (ms) => {
      let rate = 0;
      let fromMs = 0;
      for (let i = 0; i < logEffect.length && fromMs < ms; i++) {
        const toMs = Math.min(ms, (i + 1) * MINUTE_MS - elapsedMs);
        rate += (cumulative(toMs) - cumulative(fromMs)) * Math.exp(logEffect[i] ?? 0);
        fromMs = toMs;
      }
      if (fromMs < ms) rate += cumulative(ms) - cumulative(fromMs);
      return -Math.expm1(-rate);
    },
  };
}
