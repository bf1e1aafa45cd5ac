/** Rows of the audit trail, append-only; the chain over them is the trust room's. */
import type { Database } from "./open.ts";

export type AuditRecord = {
  seq: number;
  atMs: number;
  actor: string;
  address: string;
  action: string;
  object: string;
  outcome: string;
  /** JSON, in the exact text that was hashed. */
  detail: string;
  hash: string;
};
type Columns = Omit<AuditRecord, "atMs"> & { at_ms: number };
const COLUMNS = "seq, at_ms, actor, address, action, object, outcome, detail, hash";

export class AuditTable {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  last(): AuditRecord | null {
    const row = this.#db.get<Columns>(`SELECT ${COLUMNS} FROM audit ORDER BY seq DESC LIMIT 1`);
    return row ? fromColumns(row) : null;
  }

  /** Inside a transaction. */
  insert(row: AuditRecord): void {
    this.#db.run(
      `INSERT INTO audit (${COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      row.seq,
      row.atMs,
      row.actor,
      row.address,
      row.action,
      row.object,
      row.outcome,
      row.detail,
      row.hash,
    );
  }

  /** Newest first. */
  newest(limit: number): AuditRecord[] {
    return this.#db
      .all<Columns>(`SELECT ${COLUMNS} FROM audit ORDER BY seq DESC LIMIT ?`, limit)
      .map(fromColumns);
  }

  /** At most `limit` rows after `seq`, in their order. */
  after(seq: number, limit: number): AuditRecord[] {
    return this.#db
      .all<Columns>(`SELECT ${COLUMNS} FROM audit WHERE seq > ? ORDER BY seq LIMIT ?`, seq, limit)
      .map(fromColumns);
  }
}

function fromColumns({ at_ms, ...rest }: Columns): AuditRecord {
  return { ...rest, atMs: at_ms };
}
