/**
 * What the coordinator's store has committed: survives its crashes. As in the product, a batch is
 * taken over once, by comparing one number in the transaction that adds its rows.
 */
import type { Records } from "../../shared/protocol/bodies.ts";
import type { Run } from "./run.ts";

const COMMIT_MS = 4;

export class SimLedger {
  readonly #run: Run;
  readonly #lastSeq = new Map<string, number>();
  rows = 0;
  /** Requests in the demand bins. */
  counted = 0;

  constructor(run: Run) {
    this.#run = run;
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
