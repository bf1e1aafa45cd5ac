/** Demand as event effects are learned from it: the last days from memory, older from the store. */
import type { DemandHistory } from "./demand/history.ts";
import type { EventDemand } from "./signals/event-effects.ts";
import type { Store } from "./store/store.ts";

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
/** The history in memory has at least these. */
const RECENT_MS = 8 * DAY_MS;
/** What is asked for goes no further back: an event of four weeks ago and four weeks before it. */
const OLDEST_MS = 58 * DAY_MS;
/** Series kept while one batch is learned: half a megabyte each. */
const SERIES_MAX = 20;

export class EventDemandReader {
  readonly #history: DemandHistory;
  readonly #store: Store;
  readonly #old = new Map<string, Float64Array>();

  constructor({ history, store }: { history: DemandHistory; store: Store }) {
    this.#history = history;
    this.#store = store;
  }

  /** For one batch of learning. */
  at(nowMs: number): EventDemand {
    this.#old.clear();
    const recentMs = Math.floor((nowMs - RECENT_MS) / MINUTE_MS) * MINUTE_MS;
    return {
      keys: () => this.#history.keys(),
      series: (workload, category, _, { fromMs, toMs }) => {
        const counts = new Float64Array(Math.max(0, Math.round((toMs - fromMs) / MINUTE_MS)));
        const splitMs = Math.max(fromMs, recentMs);
        const recent = this.#history.series(workload, category, null, { fromMs: splitMs, toMs });
        put(counts, recent.counts, (recent.startMs - fromMs) / MINUTE_MS);
        if (fromMs < recentMs) {
          const old = this.#oldSeries(workload, category, recentMs);
          put(counts, old, (recentMs - OLDEST_MS - fromMs) / MINUTE_MS);
        }
        return { startMs: fromMs, binMs: MINUTE_MS, counts };
      },
    };
  }

  #oldSeries(workload: string, category: string, toMs: number): Float64Array {
    const key = `${workload}/${category}`;
    const known = this.#old.get(key);
    if (known) return known;
    const fromMs = toMs - OLDEST_MS;
    const counts = new Float64Array(OLDEST_MS / MINUTE_MS);
    for (const { startMs, count } of this.#store.demand.bins({
      fromMs,
      toMs,
      workload,
      category,
    })) {
      const i = Math.floor((startMs - fromMs) / MINUTE_MS);
      counts[i] = (counts[i] ?? 0) + count;
    }
    if (this.#old.size >= SERIES_MAX) this.#old.clear();
    this.#old.set(key, counts);
    return counts;
  }
}

/** `part` begins at index `at` of `whole`, which may be before its begin; what fits is taken. */
function put(whole: Float64Array, part: Float64Array, at: number): void {
  const from = Math.round(at);
  for (let i = Math.max(0, -from); i < part.length && from + i < whole.length; i++)
    whole[from + i] = part[i] ?? 0;
}
