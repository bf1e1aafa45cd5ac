/**
 * What the forecaster would have said at the start of each recorded minute: it is shown the history
 * minute by minute, as it is live, and asked before each.
 */
import { DEMAND_BIN_MS } from "../shared/domain.ts";
import { type CategoryOf, DemandHistory } from "./demand/history.ts";
import { Forecaster } from "./forecast/forecaster.ts";
import { IdleTimes } from "./plan/keep-alive.ts";
import { peakOf, type View } from "./plan/prewarm.ts";

type Lane = CategoryOf & {
  last: number | null;
  idle: IdleTimes;
  /** Of the minute it was made for. */
  view: View | null;
  madeFor: number;
};

export class PrequentialViews {
  readonly #history = new DemandHistory();
  readonly #forecaster = new Forecaster({ scoring: false });
  readonly #lanes: Lane[];
  #updated = -1;

  constructor(categories: readonly CategoryOf[]) {
    this.#lanes = categories.map(({ workload, category }) => {
      return { workload, category, last: null, idle: new IdleTimes(), view: null, madeFor: -1 };
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
  }
}

/** The curve is made when it is asked for: where the first minute decides it never is. */
class LazyView implements View {
  readonly next: number;
  readonly idleMinutes: number;
  readonly idle: IdleTimes;
  readonly #forecaster: Forecaster;
  readonly #category: CategoryOf;
  readonly #nowMs: number;
  #curve: { hazardPerMinute: readonly number[]; peak: number } | null = null;

  constructor(forecaster: Forecaster, lane: Lane, minute: number, idleMinutes: number) {
    this.#forecaster = forecaster;
    this.#category = lane;
    this.#nowMs = minute * DEMAND_BIN_MS;
    this.idleMinutes = idleMinutes;
    this.idle = lane.idle;
    this.next = forecaster.hazard(lane.workload, lane.category, this.#nowMs);
  }

  get hazardPerMinute(): readonly number[] {
    return this.#made().hazardPerMinute;
  }

  get peak(): number {
    return this.#made().peak;
  }

  #made() {
    if (!this.#curve) {
      const { workload, category } = this.#category;
      const { hazardPerMinute } = this.#forecaster.arrival(workload, category, this.#nowMs);
      this.#curve = { hazardPerMinute, peak: peakOf(hazardPerMinute) };
    }
    return this.#curve;
  }
}
