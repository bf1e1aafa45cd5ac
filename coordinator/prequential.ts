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

  /** As known when the minute (since 1970) begins; null before the category's first arrival. */
  view(i: number, minute: number): View | null {
    const lane = this.#lanes[i];
    if (!lane || lane.last === null) return null;
    if (lane.madeFor === minute) return lane.view;
    if (this.#updated !== minute) {
      this.#forecaster.update(this.#history, minute * DEMAND_BIN_MS);
      this.#updated = minute;
    }
    const nowMs = minute * DEMAND_BIN_MS;
    const { hazardPerMinute } = this.#forecaster.arrival(lane.workload, lane.category, nowMs);
    const idleMinutes = minute - lane.last;
    lane.view = { hazardPerMinute, peak: peakOf(hazardPerMinute), idleMinutes, idle: lane.idle };
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
