/** Whose signatures count for which names, as an admin set it; and what each key has signed. */
import type { Database } from "./open.ts";

export type PublisherRecord = {
  /** `hosts`, `host:NAME`, or the name of a key. */
  name: string;
  /** Null for hosts: their keys are in the table of hosts. */
  publicKey: string | null;
  names: string[];
  trusted: boolean;
  changedBy: string;
  changedMs: number;
};
export type SignerRecord = { publicKey: string; publisher: string; versions: number };

type Columns = Omit<PublisherRecord, "names" | "trusted"> & { names: string; trusted: number };

export class PublisherTable {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  all(): PublisherRecord[] {
    return this.#db
      .all<Columns>(
        `SELECT name, public_key AS publicKey, names, trusted, changed_by AS changedBy,
           changed_ms AS changedMs FROM publishers ORDER BY name`,
      )
      .map((row) => ({
        ...row,
        names: JSON.parse(row.names) as string[],
        trusted: row.trusted === 1,
      }));
  }

  /** Part of a transaction. */
  put(row: PublisherRecord): void {
    this.#db.run(
      `INSERT INTO publishers (name, public_key, names, trusted, changed_by, changed_ms)
         VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT (name) DO UPDATE SET public_key = excluded.public_key,
           names = excluded.names, trusted = excluded.trusted,
           changed_by = excluded.changed_by, changed_ms = excluded.changed_ms`,
      row.name,
      row.publicKey,
      JSON.stringify(row.names),
      row.trusted ? 1 : 0,
      row.changedBy,
      row.changedMs,
    );
  }

  /** Keys that signed published versions, by the host that announced them. */
  signers(): SignerRecord[] {
    return this.#db.all<SignerRecord>(
      `SELECT public_key AS publicKey, publisher, count(*) AS versions FROM manifests
         GROUP BY public_key, publisher ORDER BY publisher`,
    );
  }
}
