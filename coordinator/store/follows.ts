/** Tags that follow a URL, who looks, and what was last seen. */
import type { FollowRequest } from "../../shared/api-follows.ts";
import type { HostId } from "../../shared/domain.ts";
import type { Database } from "./open.ts";

export type FollowRecord = FollowRequest & {
  addedBy: string;
  addedMs: number;
  host: HostId | null;
  revision: string | null;
  version: string | null;
  changedMs: number | null;
};

export class FollowTable {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  all(): FollowRecord[] {
    return this.#db.all<FollowRecord>(
      `SELECT name, tag, url, every_ms AS everyMs, added_by AS addedBy, added_ms AS addedMs, host,
         revision, version, changed_ms AS changedMs FROM follows ORDER BY name, tag`,
    );
  }

  /** Adds or replaces. */
  put(row: FollowRecord): Promise<void> {
    return this.#db.commit(() => {
      this.#db.run(
        "INSERT OR REPLACE INTO follows VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        row.name,
        row.tag,
        row.url,
        row.everyMs,
        row.addedBy,
        row.addedMs,
        row.host,
        row.revision,
        row.version,
        row.changedMs,
      );
    });
  }

  remove(name: string, tag: string): Promise<void> {
    return this.#db.commit(() => {
      this.#db.run("DELETE FROM follows WHERE name = ? AND tag = ?", name, tag);
    });
  }
}
