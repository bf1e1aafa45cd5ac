/**
 * What one agent owes the ledger: outcomes and counted requests that wait, are under way, or died
 * unacknowledged with a boot. With it, everything that ever entered can be accounted for.
 */
import type { Outbox } from "../../agent/link/outbox.ts";
import type { DemandBin, Outcome } from "../../shared/domain.ts";
import type { DemandBins } from "./bins.ts";

/** An outcome with a number of its own, so that the run can tell it from an equal one. */
export type Numbered = Outcome & { serial: number };

type Owed = { demand: DemandBins; outcomes: readonly Numbered[]; outbox: Outbox };

export class Accounts {
  readonly #batchName: (seq: number) => string;
  readonly #isCommitted: (batch: string) => boolean;
  /** Outcomes that were not acknowledged when an earlier boot ended. */
  readonly #lost = new Set<number>();
  #lostRequests = 0;
  /** Under way when a boot ended: the ledger has them or not. */
  readonly #unsure: { batch: string; count: number }[] = [];

  constructor(deps: {
    batchName: (seq: number) => string;
    isCommitted: (batch: string) => boolean;
  }) {
    this.#batchName = deps.batchName;
    this.#isCommitted = deps.isCommitted;
  }

  /** The boot ends with this unacknowledged. */
  died({ demand, outcomes, outbox }: Owed): void {
    for (const serial of serials(outcomes, outbox)) this.#lost.add(serial);
    this.#lostRequests += demand.count() + countOf(outbox.demand.chunks.flat());
    if (!outbox.underWay) return;
    const { seq, demand: sent } = outbox.underWay.records;
    this.#unsure.push({ batch: this.#batchName(seq), count: countOf(sent) });
  }

  /** Whether the outcome may still be on its way, or died with an earlier boot. */
  mayHold(serial: number, now: Owed | null): boolean {
    if (this.#lost.has(serial)) return true;
    return now !== null && serials(now.outcomes, now.outbox).has(serial);
  }

  /** Requests counted at this agent that are not in the ledger. */
  uncounted(now: Owed | null): number {
    let sum = this.#lostRequests;
    for (const { batch, count } of this.#unsure) if (!this.#isCommitted(batch)) sum += count;
    if (now === null) return sum;
    const { underWay, demand } = now.outbox;
    sum += now.demand.count() + countOf(demand.chunks.flat());
    if (underWay && !this.#isCommitted(this.#batchName(underWay.records.seq)))
      sum += countOf(underWay.records.demand);
    return sum;
  }
}

function serials(outcomes: readonly Outcome[], outbox: Outbox): Set<number> {
  const waiting = outbox.outcomes.chunks.flat();
  const all = [...outcomes, ...(outbox.underWay?.records.outcomes ?? []), ...waiting];
  return new Set(all.map((outcome) => ("serial" in outcome ? Number(outcome.serial) : -1)));
}

function countOf(bins: readonly DemandBin[]): number {
  return bins.reduce((sum, bin) => sum + bin.count, 0);
}
