/** Trained models as blobs by kind and rising version; learners' states as JSON. */
import type { Database } from "./open.ts";

export type StoredModel = {
  kind: string;
  version: number;
  createdMs: number;
  meta: unknown;
  body: Uint8Array;
};

export class ModelTable {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** Keeps a version and drops all but the newest `keep` of its kind. A version never changes. */
  put(model: Omit<StoredModel, "createdMs">, { keep = 5 }: { keep?: number } = {}): Promise<void> {
    const { kind, version, meta, body } = model;
    return this.#db.commit(() => {
      this.#db.run(
        `INSERT INTO models VALUES (?, ?, CAST(unixepoch('subsec') * 1000 AS INTEGER), ?, ?)`,
        kind,
        version,
        JSON.stringify(meta ?? null),
        body,
      );
      this.#db.run(
        `DELETE FROM models WHERE kind = ?1 AND version NOT IN
           (SELECT version FROM models WHERE kind = ?1 ORDER BY version DESC LIMIT ?2)`,
        kind,
        keep,
      );
    });
  }

  /** The newest version, or the one asked for; null when there is none. */
  get(kind: string, version?: number): StoredModel | null {
    const row = this.#db.get<{
      version: number;
      created_ms: number;
      meta: string;
      body: Uint8Array;
    }>(
      `SELECT version, created_ms, meta, body FROM models
         WHERE kind = ?1 AND (?2 IS NULL OR version = ?2) ORDER BY version DESC LIMIT 1`,
      kind,
      version ?? null,
    );
    if (!row) return null;
    const meta: unknown = JSON.parse(row.meta);
    return { kind, version: row.version, createdMs: row.created_ms, meta, body: row.body };
  }

  /** The newest version of each kind that begins so, without their bodies. */
  list(prefix: string): (Omit<StoredModel, "body"> & { bytes: number })[] {
    return this.#db
      .all<{ kind: string; version: number; created_ms: number; meta: string; bytes: number }>(
        `SELECT kind, max(version) AS version, created_ms, meta, length(body) AS bytes FROM models
           WHERE substr(kind, 1, ?1) = ?2 GROUP BY kind ORDER BY kind`,
        prefix.length,
        prefix,
      )
      .map(({ kind, version, created_ms, meta, bytes }) => {
        return { kind, version, createdMs: created_ms, meta: JSON.parse(meta), bytes };
      });
  }

  /** All versions of a kind. */
  remove(kind: string): Promise<void> {
    return this.#db.commit(() => {
      this.#db.run("DELETE FROM models WHERE kind = ?", kind);
    });
  }

  versions(kind: string): number[] {
    return this.#db
      .all<{ version: number }>("SELECT version FROM models WHERE kind = ? ORDER BY version", kind)
      .map(({ version }) => version);
  }

  /** What `setState` kept under the key, undefined for nothing; the caller checks its shape. */
  state(key: string): unknown {
    const row = this.#db.get<{ body: string }>("SELECT body FROM states WHERE key = ?", key);
    return row ? JSON.parse(row.body) : undefined;
  }

  setState(key: string, value: unknown): Promise<void> {
    const body = JSON.stringify(value ?? null);
    return this.#db.commit(() => {
      this.#db.run(
        `INSERT INTO states VALUES (?, ?, CAST(unixepoch('subsec') * 1000 AS INTEGER))
           ON CONFLICT (key) DO UPDATE SET body = excluded.body, changed_ms = excluded.changed_ms`,
        key,
        body,
      );
    });
  }
}
