/**
 * Feeds the prewarm policy with what came: every minute that is over, on the curve that was seen
 * as it began. After a start or an import it learns the end of the history the same way, in slices
 * between which the coordinator serves.
 */
import { categoryKey, DEMAND_BIN_MS } from "../shared/domain.ts";
import { type Clock, inSlices } from "../shared/runtime/clock.ts";
import type { Log } from "../shared/runtime/log.ts";
import { seededRandom } from "../shared/runtime/random.ts";
import type { Catalog } from "./catalog.ts";
import type { CategoryOf, DemandHistory } from "./demand/history.ts";
import { economicsOf } from "./economics.ts";
import type { MeasuredCosts } from "./measured.ts";
import { START_SHARE, type Support } from "./plan/decide.ts";
import type { MixtureState } from "./plan/mixture.ts";
import { PrewarmLearner } from "./plan/prewarm-learner.ts";
import type { Stakes } from "./plan/price-scale.ts";
import { PrequentialViews } from "./prequential.ts";

export type PrewarmingDeps = {
  clock: Clock;
  log: Log;
  history: DemandHistory;
  catalog: Catalog;
  measured: MeasuredCosts;
  speed: number;
  state: unknown;
};

export type SeenCurve = CategoryOf & { hazardPerMinute: readonly number[] };

/** A minute counts as known this many minutes after its end: reports take a while. */
const SETTLE_MINUTES = 2;
/** The price rests on at least that many minutes. */
const PRICED_MINUTES = 60;
/** Newest minutes of the history that are learned, and categories × minutes at most. */
const LEARN_MINUTES_MAX = 24 * 60;
const LEARN_STEPS_MAX = 40_000;
/** Learning stops for others after that long, real milliseconds. */
const SLICE_MS = 15;

type Learned = { category: CategoryOf; key: string; counts: ArrayLike<number>; from: number };

export class Prewarming {
  readonly #deps: PrewarmingDeps;
  readonly #seen = new Map<number, readonly SeenCurve[]>();
  #learner = new PrewarmLearner();

  constructor(deps: PrewarmingDeps) {
    this.#deps = deps;
    if (deps.state) this.#learner.restore(deps.state as MixtureState);
  }

  /** A demand minute begins: `curves` is what is expected of every category now. */
  minute(minute: number, curves: readonly SeenCurve[], memoryGbHour: number): void {
    this.#seen.set(minute, curves);
    for (const [past, seen] of this.#seen) {
      if (past + SETTLE_MINUTES >= minute) continue;
      this.#seen.delete(past);
      for (const one of seen) this.#settle(past, one, memoryGbHour);
      this.#learner.endMinute();
    }
  }

  support(workload: string, category: string, nowMs: number): Support {
    const { history } = this.#deps;
    const last = (history.lastArrivalMs(workload, category) ?? 0) / DEMAND_BIN_MS;
    const now = Math.floor(nowMs / DEMAND_BIN_MS);
    const lead = this.#stakes(workload)?.leadMinutes ?? 1;
    return this.#learner.support(categoryKey(workload, category), last, now, lead);
  }

  /** Null while too little was seen. */
  memoryGbHour(memoryRatio: number): number | null {
    return this.#learner.minutes < PRICED_MINUTES ? null : this.#learner.memoryGbHour(memoryRatio);
  }

  retain(keys: ReadonlySet<string>): void {
    this.#learner.retain(keys);
  }

  state(): MixtureState {
    return this.#learner.state();
  }

  /** Learns the end of the history anew; false when there is none of declared workloads. */
  async relearn(memoryRatio: number, nowMs: number, signal: AbortSignal): Promise<boolean> {
    const { log, clock } = this.#deps;
    const end = Math.floor(nowMs / DEMAND_BIN_MS) - SETTLE_MINUTES;
    const all = this.#recorded(end);
    if (all.length === 0) return false;
    const taken = sampled(all);
    const fresh = new PrewarmLearner();
    const startMs = clock.monotonic();
    await inSlices(clock, SLICE_MS, signal, this.#learn(fresh, taken, { end, memoryRatio }));
    for (const { key, counts, from } of all)
      if (!fresh.knows(key)) fresh.remember(key, arrivals(counts, from));
    const categories = { ...this.#learner.state().categories, ...fresh.state().categories };
    fresh.restore({ ...fresh.state(), categories });
    this.#learner = fresh;
    const memoryGbHour = this.memoryGbHour(memoryRatio);
    const seconds = (clock.monotonic() - startMs) / 1000;
    log.info(
      { memoryGbHour, categories: taken.length, of: all.length, seconds },
      "prewarm policy and price of memory-time learned from the history",
    );
    return true;
  }

  *#learn(
    fresh: PrewarmLearner,
    taken: readonly Learned[],
    { end, memoryRatio }: { end: number; memoryRatio: number },
  ): Generator<void> {
    const views = new PrequentialViews(
      taken.map(({ category }) => {
        return { ...category, leadMinutes: this.#stakes(category.workload)?.leadMinutes ?? 1 };
      }),
    );
    const first = Math.min(...taken.map(({ from }) => from));
    for (let minute = first; minute < end; minute++) {
      for (const [i, { category, key, counts, from }] of taken.entries()) {
        const count = counts[minute - from] ?? 0;
        const stakes = this.#stakes(category.workload);
        if (minute < from || !stakes) continue;
        const hazardPerMinute = views.view(i, minute)?.hazardPerMinute ?? [];
        const memoryGbHour = fresh.memoryGbHour(memoryRatio) ?? firstPrice(stakes);
        fresh.settle(key, { minute, hazardPerMinute, arrived: count > 0, stakes, memoryGbHour });
        views.observe(i, minute, count);
      }
      fresh.endMinute();
      yield;
    }
  }

  #recorded(end: number): Learned[] {
    const { history } = this.#deps;
    const range = {
      fromMs: (end - LEARN_MINUTES_MAX) * DEMAND_BIN_MS,
      toMs: end * DEMAND_BIN_MS,
    };
    return history.keys().flatMap((category) => {
      if (!this.#stakes(category.workload)) return [];
      const key = categoryKey(category.workload, category.category);
      const { startMs, counts } = history.series(category.workload, category.category, null, range);
      if (counts.length < 2) return [];
      return [{ category, key, counts, from: Math.floor(startMs / DEMAND_BIN_MS) }];
    });
  }

  #settle(minute: number, one: SeenCurve, memoryGbHour: number): void {
    const { workload, category, hazardPerMinute } = one;
    const stakes = this.#stakes(workload);
    if (!stakes) return;
    const key = categoryKey(workload, category);
    if (!this.#learner.knows(key)) this.#remember(key, one, minute);
    const fromMs = minute * DEMAND_BIN_MS;
    const range = { fromMs, toMs: fromMs + DEMAND_BIN_MS };
    const { counts } = this.#deps.history.series(workload, category, null, range);
    const arrived = counts.some((count) => count > 0);
    this.#learner.settle(key, { minute, hazardPerMinute, arrived, stakes, memoryGbHour });
  }

  /** What a category had before it was followed. */
  #remember(key: string, { workload, category }: CategoryOf, before: number): void {
    const range = {
      fromMs: (before - LEARN_MINUTES_MAX) * DEMAND_BIN_MS,
      toMs: before * DEMAND_BIN_MS,
    };
    const { startMs, counts } = this.#deps.history.series(workload, category, null, range);
    this.#learner.remember(key, arrivals(counts, Math.floor(startMs / DEMAND_BIN_MS)));
  }

  #stakes(workload: string): Stakes | null {
    const economics = economicsOf(this.#deps, workload);
    return economics && economics.missCost > 0 ? { ...economics, loadShare: START_SHARE } : null;
  }
}

/** Until a price is known: an hour of memory for a cold arrival. */
function firstPrice({ missCost, memoryGb }: Stakes): number {
  return missCost / Math.max(memoryGb, 1e-6);
}

function* arrivals(counts: ArrayLike<number>, from: number): Generator<number> {
  for (let i = 0; i < counts.length; i++) if ((counts[i] ?? 0) > 0) yield from + i;
}

/** As many whole categories as the bound allows, by a fixed shuffle: same history, same sample. */
function sampled(all: readonly Learned[]): Learned[] {
  const random = seededRandom("prewarm");
  const shuffled = all
    .toSorted((a, b) => (a.key < b.key ? -1 : 1))
    .map((one) => ({ one, at: random.next() }))
    .sort((a, b) => a.at - b.at);
  let left = LEARN_STEPS_MAX;
  const taken: Learned[] = [];
  for (const { one } of shuffled) {
    if (one.counts.length > left && taken.length > 0) continue;
    left -= one.counts.length;
    taken.push(one);
  }
  return taken;
}
