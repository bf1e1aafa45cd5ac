/**
 * The audit trail: append-only rows, each hashed together with the hash before it, so that a
 * changed, missing or swapped row is found. What the chain cannot show is a trail cut off at its
 * end; for that the head's hash goes to the log, where it can be compared.
 */
import { createHash } from "node:crypto";
import type { Clock } from "../../shared/runtime/clock.ts";
import type { Log } from "../../shared/runtime/log.ts";
import type { AuditRecord, TrustStore } from "./records.ts";
import { RefusalThrottle } from "./refusals.ts";

export type AuditEntry = {
  /** `user:NAME`, `host:NAME`, `system`, or `unknown`. */
  actor: string;
  address: string;
  action: string;
  object: string;
  outcome: "ok" | "refused" | "failed";
  /** Never a secret. */
  detail?: Record<string, unknown>;
};
export type AuditRow = Omit<AuditRecord, "detail" | "outcome"> & {
  outcome: AuditEntry["outcome"];
  detail: Record<string, unknown>;
};
export type AuditHead = { seq: number; hash: string };
export type Verification = { ok: boolean; rows: number; brokenAt: number | null };

export const GENESIS_HASH = "0".repeat(64);
const TEXT_MAX = 256;
const DETAIL_MAX = 4096;
const PAGE = 1000;

export class AuditTrail {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #store: Pick<TrustStore, "commit" | "audit">;
  readonly #throttle = new RefusalThrottle();
  readonly #writing = new Set<Promise<void>>();

  constructor(deps: { clock: Clock; log: Log; store: Pick<TrustStore, "commit" | "audit"> }) {
    this.#clock = deps.clock;
    this.#log = deps.log;
    this.#store = deps.store;
  }

  /** Inside a transaction: the row stands or falls with the change it tells of. */
  append(entry: AuditEntry): void {
    const last = this.#store.audit.last();
    const row = {
      seq: (last?.seq ?? 0) + 1,
      atMs: Math.round(this.#clock.now()),
      actor: clip(entry.actor),
      address: clip(entry.address),
      action: clip(entry.action),
      object: clip(entry.object),
      outcome: entry.outcome,
      detail: detailText(entry.detail ?? {}),
    };
    this.#store.audit.insert({ ...row, hash: chainHash(last?.hash ?? GENESIS_HASH, row) });
  }

  /** A row of its own; resolves once it is durable. */
  record(entry: AuditEntry): Promise<void> {
    return this.#store.commit(() => this.append(entry));
  }

  /**
   * A refusal: the first of its kind is written at once, repeats within a minute are counted and
   * written as one row, so that knocking at the door cannot fill the disk.
   */
  refused(entry: Omit<AuditEntry, "outcome">): void {
    this.#write(this.#throttle.offer({ ...entry, outcome: "refused" }, this.#clock.monotonic()));
  }

  /** Writes counted refusals whose minute is over. */
  tick(): void {
    this.#write(this.#throttle.due(this.#clock.monotonic()));
  }

  /** Writes every counted refusal and waits for all rows under way. */
  async flush(): Promise<void> {
    this.#write(this.#throttle.due(Number.POSITIVE_INFINITY));
    await Promise.all(this.#writing);
  }

  head(): AuditHead {
    const last = this.#store.audit.last();
    return last ? { seq: last.seq, hash: last.hash } : { seq: 0, hash: GENESIS_HASH };
  }

  /** Newest first. */
  newest(limit: number): AuditRow[] {
    return this.#store.audit.newest(limit).map(toRow);
  }

  /** Walks the whole chain; with `anchor` also asks for that row to be as it was noted then. */
  verify(anchor?: AuditHead): Verification {
    let hash = GENESIS_HASH;
    let seq = 0;
    for (;;) {
      const page = this.#store.audit.after(seq, PAGE);
      for (const row of page) {
        const expected = chainHash(hash, row);
        const asNoted = anchor?.seq !== row.seq || anchor.hash === row.hash;
        if (row.seq !== seq + 1 || row.hash !== expected || !asNoted)
          return { ok: false, rows: seq, brokenAt: row.seq };
        hash = row.hash;
        seq = row.seq;
      }
      if (page.length < PAGE) break;
    }
    if (anchor && anchor.seq > seq) return { ok: false, rows: seq, brokenAt: seq + 1 };
    return { ok: true, rows: seq, brokenAt: null };
  }

  #write(entries: readonly AuditEntry[]): void {
    for (const entry of entries) {
      const writing: Promise<void> = this.record(entry)
        .catch((cause: unknown) => {
          this.#log.error({ err: cause, action: entry.action }, "audit row was not written");
        })
        .finally(() => this.#writing.delete(writing));
      this.#writing.add(writing);
    }
  }
}

function chainHash(before: string, row: Omit<AuditRecord, "hash">): string {
  const { seq, atMs, actor, address, action, object, outcome, detail } = row;
  return createHash("sha256")
    .update(before)
    .update(JSON.stringify([seq, atMs, actor, address, action, object, outcome, detail]))
    .digest("hex");
}

function clip(text: string): string {
  return text.length > TEXT_MAX ? `${text.slice(0, TEXT_MAX - 1)}…` : text;
}

function detailText(detail: Record<string, unknown>): string {
  const text = JSON.stringify(detail);
  return text.length > DETAIL_MAX ? JSON.stringify({ cut: text.slice(0, DETAIL_MAX / 4) }) : text;
}

function toRow({ detail, outcome, ...row }: AuditRecord): AuditRow {
  return {
    ...row,
    outcome: outcome as AuditEntry["outcome"],
    detail: JSON.parse(detail) as Record<string, unknown>,
  };
}
