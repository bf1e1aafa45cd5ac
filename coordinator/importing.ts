/**
 * Imports of recorded demand: stages the parts of a batch, commits it, and brings the history in
 * memory up to what the store then says, in slices, so that nobody waits for a large one.
 */
import type {
  HistoryRow,
  ImportCommit,
  Imported,
  ImportQuery,
  ImportStaged,
} from "../shared/api.ts";
import { DEMAND_BIN_MS, type DemandBin, type HostId } from "../shared/domain.ts";
import { PrestageError } from "../shared/errors.ts";
import type { Clock } from "../shared/runtime/clock.ts";
import type { DemandHistory } from "./demand/history.ts";
import type { Store } from "./store/store.ts";

export type ImportingDeps = {
  clock: Clock;
  store: Store;
  history: DemandHistory;
  /** History is about to come in or go. */
  demandChanges(): void;
  /** It has: what is derived from it is to be made anew. Once for each `demandChanges`. */
  demandChanged(): void;
};

const ROWS_MAX = 200_000;
/** Some milliseconds of work each. */
const SLICE_BINS = 5_000;
const DAY_MS = 86_400_000;
const NOTHING = { bins: 0, requests: 0 };

export class Importing {
  readonly #deps: ImportingDeps;
  /** Batches that count no more and whose rows are still being taken out of the history. */
  readonly #leaving = new Set<number>();

  constructor(deps: ImportingDeps) {
    this.#deps = deps;
  }

  async stage(query: ImportQuery, rows: AsyncIterable<HistoryRow>): Promise<ImportStaged> {
    const { store, clock } = this.#deps;
    const bins: DemandBin[] = [];
    for await (const { timestampMs, workload, category, origin, count } of rows) {
      if (bins.length >= ROWS_MAX)
        throw new PrestageError("TOO_LARGE", `over ${ROWS_MAX} rows in one part`);
      const startMs = Math.floor(timestampMs / DEMAND_BIN_MS) * DEMAND_BIN_MS;
      bins.push({ workload, category, host: hostName(origin), startMs, count });
    }
    const added = await store.imports.stage(query, bins, clock.now());
    return { rows: bins.length, duplicate: !added };
  }

  async commit(body: ImportCommit): Promise<Imported> {
    const { store, history, demandChanges, demandChanged } = this.#deps;
    const result = await store.imports.commit(body, body, ({ gone }) => {
      for (const { id } of gone) this.#leaving.add(id);
    });
    if (result.kind === "same") return { ...NOTHING, duplicate: true, replaced: NOTHING };
    const { id, bins, requests, gone, removed } = result;
    const replaced = { bins: removed.length, requests: 0 };
    for (const bin of removed) replaced.requests += bin.count;
    demandChanges();
    try {
      await this.#eachBin(id, (bin) => history.add(bin));
      for (const bin of removed) history.remove(bin);
      for (const batch of gone) {
        await this.#eachBin(batch.id, (bin) => history.remove(bin));
        replaced.bins += batch.bins;
        replaced.requests += batch.requests;
      }
      if (replaced.bins > 0) history.forgetEmpty();
    } finally {
      for (const batch of gone) this.#leaving.delete(batch.id);
      demandChanged();
    }
    return { bins, requests, duplicate: false, replaced };
  }

  /** Drops what imports that were replaced, or never came to an end, left in the store. */
  async dropLeftOver(): Promise<void> {
    const { store, clock } = this.#deps;
    for (const id of store.imports.leftOver(clock.now() - DAY_MS)) {
      if (this.#leaving.has(id)) continue;
      while (!(await store.imports.drop(id, SLICE_BINS))) await clock.sleep(0);
    }
  }

  async #eachBin(id: number, take: (bin: DemandBin) => void): Promise<void> {
    const { store, clock } = this.#deps;
    for (let slice = store.imports.slice(id, SLICE_BINS); ; ) {
      for (const bin of slice.bins) take(bin);
      if (slice.next === null) return;
      await clock.sleep(0);
      slice = store.imports.slice(id, SLICE_BINS, slice.next);
    }
  }
}

/** Origins of a recording are not host ids: they are made to look like one. */
function hostName(origin: string): HostId {
  const text = origin
    .toLowerCase()
    .replace(/[^a-z0-9._-]+/g, "-")
    .slice(0, 64)
    .replace(/^[^a-z0-9]+|[^a-z0-9]+$/g, "");
  return text || "imported";
}
