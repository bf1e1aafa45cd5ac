/** Signals: the last good copy of each source, and events that must outlive it. */
import type { Database } from "./open.ts";

export type StoredCopy = {
  body: Uint8Array;
  etag: string | null;
  lastModified: string | null;
  /** The place it is from, as it may be shown. */
  address: string;
  fetchedMs: number;
};
/** `body` is JSON; `id` and `startMs` name it within its source. */
export type StoredEvent = { id: string; startMs: number; endMs: number; body: unknown };
export type EventSpan = { fromMs: number; toMs: number; limit: number };

export class SignalTable {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  copy(source: string): StoredCopy | null {
    const row = this.#db.get<{
      body: Uint8Array;
      etag: string | null;
      last_modified: string | null;
      address: string;
      fetched_ms: number;
    }>("SELECT * FROM signal_copies WHERE source = ?", source);
    if (!row) return null;
    const { body, etag, last_modified: lastModified, address, fetched_ms: fetchedMs } = row;
    return { body, etag, lastModified, address, fetchedMs };
  }

  keepCopy(source: string, copy: StoredCopy): Promise<void> {
    const { etag, lastModified, address, fetchedMs, body } = copy;
    return this.#db.commit(() => {
      this.#db.run(
        "INSERT OR REPLACE INTO signal_copies VALUES (?, ?, ?, ?, ?, ?)",
        source,
        etag,
        lastModified,
        address,
        Math.round(fetchedMs),
        body,
      );
    });
  }

  /** Events that reach into `[fromMs, toMs)`, in order of their start. */
  events(source: string, { fromMs, toMs, limit }: EventSpan): StoredEvent[] {
    return this.#db
      .all<{ id: string; start_ms: number; end_ms: number; body: string }>(
        `SELECT id, start_ms, end_ms, body FROM signal_events
           WHERE source = ? AND end_ms >= ? AND start_ms < ? ORDER BY start_ms, id LIMIT ?`,
        source,
        fromMs,
        toMs,
        limit,
      )
      .map((row) => ({
        id: row.id,
        startMs: row.start_ms,
        endMs: row.end_ms,
        body: JSON.parse(row.body),
      }));
  }

  /** Adds events, all or none; those of the same id and start are replaced. */
  remember(source: string, events: readonly StoredEvent[]): Promise<void> {
    if (events.length === 0) return Promise.resolve();
    return this.#db.commit(() => {
      for (const event of events) this.#put(source, event);
    });
  }

  /**
   * Adds or replaces events by id alone, all or none; gives how many were new, other than before,
   * and the same. Null when the source would then have over `eventsMax`: nothing was added.
   */
  post(
    source: string,
    events: readonly StoredEvent[],
    eventsMax: number,
  ): Promise<{ added: number; changed: number; unchanged: number } | null> {
    return this.#db.commit(() => {
      const counts = { added: 0, changed: 0, unchanged: 0 };
      const has = this.#db.get<{ n: number }>(
        "SELECT count(*) AS n FROM signal_events WHERE source = ?",
        source,
      );
      const known = events.map(({ id }) =>
        this.#db.get<{ body: string }>(
          "SELECT body FROM signal_events WHERE source = ? AND id = ?",
          source,
          id,
        ),
      );
      const news = known.filter((row) => row === undefined).length;
      if (news > 0 && (has?.n ?? 0) + news > eventsMax) return null;
      for (const [i, event] of events.entries()) {
        const body = known[i]?.body;
        if (body === JSON.stringify(event.body)) counts.unchanged++;
        else {
          this.#db.run("DELETE FROM signal_events WHERE source = ? AND id = ?", source, event.id);
          this.#put(source, event);
          counts[body === undefined ? "added" : "changed"]++;
        }
      }
      return counts;
    });
  }

  /** Gives how many there were. */
  remove(source: string, ids: readonly string[]): Promise<number> {
    return this.#db.commit(() =>
      ids.reduce(
        (sum, id) =>
          sum +
          this.#db.run("DELETE FROM signal_events WHERE source = ? AND id = ?", source, id).changes,
        0,
      ),
    );
  }

  /** Drops events that ended before `beforeMs`, and all of sources that are not `sources`. */
  prune(beforeMs: number, sources: ReadonlySet<string>): Promise<void> {
    return this.#db.commit(() => {
      this.#db.run("DELETE FROM signal_events WHERE end_ms < ?", beforeMs);
      for (const table of ["signal_copies", "signal_events"])
        for (const { source } of this.#db.all<{ source: string }>(
          `SELECT DISTINCT source FROM ${table}`,
        ))
          if (!sources.has(source)) this.#db.run(`DELETE FROM ${table} WHERE source = ?`, source);
    });
  }

  #put(source: string, { id, startMs, endMs, body }: StoredEvent): void {
    this.#db.run(
      "INSERT OR REPLACE INTO signal_events VALUES (?, ?, ?, ?, ?)",
      source,
      id,
      Math.round(startMs),
      Math.round(endMs),
      JSON.stringify(body),
    );
  }
}
