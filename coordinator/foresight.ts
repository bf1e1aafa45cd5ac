/**
 * What the coordinator expects: keeps the forecaster up to date with the history, minute by minute,
 * over restarts and imports.
 */
import { categoryKey, type Forecast, type HostId } from "../shared/domain.ts";
import { type Clock, inSlices } from "../shared/runtime/clock.ts";
import type { Metrics } from "../shared/runtime/metrics.ts";
import type { DemandHistory } from "./demand/history.ts";
import { type EventEffectOf, EventForecaster } from "./event-forecaster.ts";
import type { ArrivalCurve } from "./forecast/arrivals.ts";
import type { Calendar } from "./forecast/calendar.ts";
import type { Calibration } from "./forecast/calibration.ts";
import { type CategoryWatch, Forecaster, type ForecasterState } from "./forecast/forecaster.ts";
import { ForecastMetrics } from "./forecast/metrics.ts";
import type { Outlook } from "./forecast/model.ts";

export type ForesightDeps = {
  clock: Clock;
  demandClock: Clock;
  metrics: Metrics;
  history: DemandHistory;
  eventEffect: EventEffectOf;
  calendar: Calendar;
  /** Experts of the forecast that live elsewhere. */
  outlook: Outlook;
  /** `state()` of an earlier start, as it was saved. */
  forecastState: unknown;
};

export type CategoryRecord = { watch: CategoryWatch; recent: number[] };
/** `minute`: up to which it has learned. */
export type ForesightState = { minute: number; forecaster: ForecasterState };

const MINUTE_MS = 60_000;
/** Minutes of history that are gone through one by one, and categories × minutes at most. */
const PLAYED_MINUTES = 240;
const PLAYED_STEPS_MAX = 20_000;
/** Between two turns of the event loop. */
const SLICE_MS = 100;
/** Bins ahead by which a coming peak is seen. */
const PEAK_BINS = 5;
const MEDIAN = 3;

export class Foresight {
  readonly #deps: ForesightDeps;
  readonly #metrics: ForecastMetrics;
  readonly #curves = new Map<string, { minute: number; seen: number; curve: ArrivalCurve }>();
  #forecaster: EventForecaster;
  #minute = -1;
  /** How often it was frozen, and up to which of these it has learned anew. */
  #freezes = 0;
  #thawed = 0;

  constructor(deps: ForesightDeps) {
    this.#deps = deps;
    this.#metrics = new ForecastMetrics(deps.metrics);
    this.#forecaster = this.#newForecaster();
    const saved = deps.forecastState as ForesightState | null | undefined;
    const known = saved && saved.minute * MINUTE_MS <= deps.demandClock.now();
    if (known && this.#forecaster.base.restore(saved.forecaster)) this.#minute = saved.minute;
  }

  /** Does what the first update would, in slices: for a thousand categories half a minute. */
  async prepare(signal: AbortSignal): Promise<void> {
    const minute = Math.floor(this.#deps.demandClock.now() / MINUTE_MS);
    const first = Math.min(this.#firstToLearn(minute), minute - 1);
    const steps = this.#learning(this.#forecaster, first, minute);
    await inSlices(this.#deps.clock, SLICE_MS, signal, steps);
    this.#minute = Math.max(this.#minute, minute - 1);
  }

  /** Learns a minute when it is over, not before; true when one was. */
  update(now: number): boolean {
    const minute = Math.floor(now / MINUTE_MS);
    if (minute === this.#minute || this.#freezes > this.#thawed) return false;
    for (let at = this.#firstToLearn(minute); at < minute; at++)
      this.#forecaster.update(this.#deps.history, at * MINUTE_MS);
    this.#forecaster.update(this.#deps.history, now);
    this.#minute = minute;
    this.#curves.clear();
    const { base } = this.#forecaster;
    this.#metrics.show(base.scores(), base.counts());
    return true;
  }

  /** The history is about to be another one: what was learned serves on, as it is, until `relearn`. */
  freeze(): void {
    this.#freezes++;
  }

  /**
   * Learns the whole history anew: after an import, what was learned is of another past. The end
   * of it is learned minute by minute, so that the forecasts for it can be scored at once.
   */
  async relearn(signal: AbortSignal): Promise<void> {
    const [fresh, freezes] = [this.#newForecaster(), this.#freezes];
    const open = Math.floor(this.#deps.demandClock.now() / MINUTE_MS);
    const first = open - this.#playable();
    await inSlices(this.#deps.clock, SLICE_MS, signal, this.#learning(fresh, first, open));
    this.#forecaster = fresh;
    this.#minute = open - 1;
    this.#thawed = freezes;
  }

  forecast(workload: string, category: string, host: HostId | null, bins: number): Forecast {
    const now = this.#deps.demandClock.now();
    return this.#forecaster.forecast(workload, category, host, now, bins);
  }

  calibration(): Calibration {
    return this.#forecaster.base.calibration();
  }

  /** What the last minutes had and how forecasts have done. */
  watched(workload: string, category: string, minutes: number): CategoryRecord {
    const { base } = this.#forecaster;
    const recent = this.#deps.history.series(workload, category, null, this.#last(minutes)).counts;
    return { watch: base.watched({ workload, category }), recent: [...recent] };
  }

  #last(minutes: number): { fromMs: number; toMs: number } {
    const toMs = Math.floor(this.#deps.demandClock.now() / MINUTE_MS) * MINUTE_MS;
    return { fromMs: toMs - minutes * MINUTE_MS, toMs };
  }

  /** The arrival curve, remade when its minute is over or a request came. */
  curve(workload: string, category: string, now: number): ArrivalCurve {
    const key = categoryKey(workload, category);
    const minute = Math.floor(now / MINUTE_MS);
    const seen = this.#deps.history.lastArrivalMs(workload, category) ?? 0;
    const known = this.#curves.get(key);
    if (known && known.minute === minute && known.seen === seen) return known.curve;
    const curve = this.#forecaster.arrival(workload, category, now);
    this.#curves.set(key, { minute, seen, curve });
    return curve;
  }

  /** Forecast requests per minute of demand time entering at each host in the next minutes. */
  peaks(now: number): Map<HostId, number> {
    const { history } = this.#deps;
    const peaks = new Map<HostId, number>();
    for (const { workload, category } of history.keys()) {
      const medians =
        this.#forecaster.medians({ workload, category }, now, PEAK_BINS) ??
        this.#forecaster
          .forecast(workload, category, null, now, PEAK_BINS)
          .quantiles.map((quantiles) => quantiles[MEDIAN] ?? 0);
      const median = Math.max(0, ...medians);
      if (median === 0) continue;
      for (const [host, share] of history.hostShare(workload, category))
        peaks.set(host, (peaks.get(host) ?? 0) + median * share);
    }
    return peaks;
  }

  /** JSON-able: one that is given it at its start goes on as this one would. Null: knows nothing. */
  state(): ForesightState | null {
    if (this.#minute < 0) return null;
    return { minute: this.#minute, forecaster: this.#forecaster.base.state() };
  }

  #newForecaster(): EventForecaster {
    const { eventEffect, outlook, calendar } = this.#deps;
    return new EventForecaster(eventEffect, new Forecaster({ outlook, calendar }));
  }

  /** What an earlier start left out is gone through minute by minute, as it would have done. */
  #firstToLearn(minute: number): number {
    return this.#minute < 0 ? minute : Math.max(this.#minute + 1, minute - this.#playable());
  }

  #playable(): number {
    const categories = Math.max(1, this.#deps.history.keys().length);
    return Math.min(PLAYED_MINUTES, Math.floor(PLAYED_STEPS_MAX / categories));
  }

  /** Fits a forecaster, then has it learn minute by minute, up to before `end`. */
  *#learning(forecaster: EventForecaster, first: number, end: number): Generator<void> {
    const { history } = this.#deps;
    for (const of of history.keys()) {
      forecaster.prepare(history, of, first * MINUTE_MS);
      yield;
    }
    for (let minute = first; minute < end; minute++)
      yield* forecaster.updating(history, minute * MINUTE_MS);
  }
}
