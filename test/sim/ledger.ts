/**
 * What the coordinator's store has committed: survives its crashes. As in the product, a batch is
 * taken over once, by comparing one number in the transaction that adds its rows.
 */
import { DEMAND_BIN_MS, type DemandBin } from "../../shared/domain.ts";
import type { Records } from "../../shared/protocol/bodies.ts";
import { type Run, START_MS } from "./run.ts";
import { isActive } from "./world.ts";

const COMMIT_MS = 4;
const PAST_MINUTES = 30;

export class SimLedger {
  readonly #run: Run;
  readonly #lastSeq = new Map<string, number>();
  rows = 0;
  /** Demand of before the run and since: history is made of it again after a crash. */
  readonly bins: DemandBin[] = [];
  /** Requests in the demand bins. */
  counted = 0;

  constructor(run: Run) {
    this.#run = run;
    this.#past();
  }

  /** Half an hour of recorded demand to begin with. */
  #past(): void {
    const { random, world } = this.#run;
    const draws = random.fork("past");
    for (const { workload, category, origins, ...rest } of world.categories)
      for (let minute = -PAST_MINUTES; minute < 0; minute++) {
        const startMs = START_MS + minute * DEMAND_BIN_MS;
        if (!isActive(rest, startMs)) continue;
        const count = Math.round(draws.exponential(rest.perMinute));
        if (count === 0) continue;
        const host = draws.pick(origins);
        this.bins.push({ workload: workload.name, category, host, startMs, count });
      }
  }

  lastSeq(bootId: string): number {
    return this.#run.breaks.has("double-count") ? 0 : (this.#lastSeq.get(bootId) ?? 0);
  }

  /** Commits a little later, unless the coordinator's process `alive` ended before. */
  commit(bootId: string, records: Records, alive: () => boolean, done: () => void): void {
    this.#run.queue.in(COMMIT_MS, () => {
      if (!alive()) return;
      const known = this.#lastSeq.get(bootId) ?? 0;
      if (records.seq > known || this.#run.breaks.has("double-count")) {
        this.#lastSeq.set(bootId, Math.max(known, records.seq));
        this.bins.push(...records.demand);
        for (const { count } of records.demand) this.counted += count;
        this.rows += records.outcomes.length + records.demand.length;
        this.#run.checker.batchCommitted(
          `${bootId}/${records.seq}`,
          records.outcomes.map((outcome) => ("serial" in outcome ? Number(outcome.serial) : -1)),
        );
      }
      done();
    });
  }
}
