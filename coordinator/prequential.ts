/**
 * What the forecaster would have said at the start of each recorded minute: it is shown the history
 * minute by minute, as it is live, and asked before each.
 */
import { DEMAND_BIN_MS } from "../shared/domain.ts";
import { type CategoryOf, DemandHistory } from "./demand/history.ts";
import { Forecaster } from "./forecast/forecaster.ts";
import { IdleTimes } from "./plan/keep-alive.ts";
import { type Votes, votesOf } from "./plan/mixture.ts";
import { peakOf, type View } from "./plan/prewarm.ts";

export type ViewedCategory = CategoryOf & { leadMinutes: number };

/**
 * Minutes that a curve serves while no request comes. Raised: faster, and what was learned from
 * silence tells later; up to here the area under the frontier stays within 0.01.
 */
const SERVES_MINUTES = 5;

type Lane = ViewedCategory & {
  last: number | null;
  idle: IdleTimes;
  /** Of the minute `curveFrom` and the following ones. */
  curve: readonly number[];
  curveFrom: number;
  /** Of the minute it was made for. */
  view: View | null;
  madeFor: number;
};

export class PrequentialViews {
  readonly #history = new DemandHistory();
  readonly #forecaster = new Forecaster({ scoring: false });
  readonly #lanes: Lane[];
  #updated = -1;

  constructor(categories: readonly ViewedCategory[]) {
    this.#lanes = categories.map((of) => {
      const curve = { curve: [], curveFrom: Number.NEGATIVE_INFINITY };
      return { ...of, ...curve, last: null, idle: new IdleTimes(), view: null, madeFor: -1 };
    });
  }

  /**
   * As known when the minute (since 1970) begins, to be looked at before the next one does; null
   * before the category's first arrival.
   */
  view(i: number, minute: number): View | null {
    const lane = this.#lanes[i];
    if (!lane || lane.last === null) return null;
    if (lane.madeFor === minute) return lane.view;
    if (this.#updated !== minute) {
      this.#forecaster.update(this.#history, minute * DEMAND_BIN_MS);
      this.#updated = minute;
    }
    lane.view = new LazyView(this.#forecaster, lane, minute, minute - lane.last);
    lane.madeFor = minute;
    return lane.view;
  }

  /** The minute is over. */
  observe(i: number, minute: number, count: number): void {
    const lane = this.#lanes[i];
    if (!lane || count <= 0) return;
    const { workload, category } = lane;
    this.#history.add({ workload, category, host: "", startMs: minute * DEMAND_BIN_MS, count });
    if (lane.last !== null) lane.idle.learn(minute - lane.last);
    lane.last = minute;
    lane.curveFrom = Number.NEGATIVE_INFINITY;
  }
}

/** The curve is looked at when it is asked for: where the first minute decides it never is. */
class LazyView implements View {
  readonly next: number;
  readonly idleMinutes: number;
  readonly votes: Votes;
  readonly #forecaster: Forecaster;
  readonly #lane: Lane;
  readonly #minute: number;
  #curve: { hazardPerMinute: readonly number[]; peak: number } | null = null;

  constructor(forecaster: Forecaster, lane: Lane, minute: number, idleMinutes: number) {
    this.#forecaster = forecaster;
    this.#lane = lane;
    this.#minute = minute;
    this.idleMinutes = idleMinutes;
    this.votes = votesOf(idleMinutes, lane.leadMinutes, lane.idle);
    this.next = forecaster.hazard(lane.workload, lane.category, minute * DEMAND_BIN_MS);
  }

  get hazardPerMinute(): readonly number[] {
    return this.#made().hazardPerMinute;
  }

  get peak(): number {
    return this.#made().peak;
  }

  #made() {
    if (!this.#curve) {
      const hazardPerMinute = this.#fromNow();
      this.#curve = { hazardPerMinute, peak: peakOf(hazardPerMinute) };
    }
    return this.#curve;
  }
  #fromNow(): readonly number[] {
    const lane = this.#lane;
    const minutes = this.#minute - lane.curveFrom;
    if (minutes > 0 && minutes < SERVES_MINUTES)
      return [this.next, ...lane.curve.slice(minutes + 1)];
    const nowMs = this.#minute * DEMAND_BIN_MS;
    lane.curve = this.#forecaster.arrival(lane.workload, lane.category, nowMs).hazardPerMinute;
    lane.curveFrom = this.#minute;
    return lane.curve;
  }
}
