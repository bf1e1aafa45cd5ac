/**
 * Demand bins as agents counted them. A batch and its sequence number are one transaction, so a
 * batch that is sent again after a lost acknowledgement is not counted twice.
 */
import type { DemandBin, Outcome } from "../../shared/domain.ts";
import type { Database } from "./open.ts";

export type BinRange = { fromMs: number; toMs: number; workload?: string; category?: string };

/** Boots of a host whose last sequence is remembered: a new boot never goes back to an old id. */
const BOOTS_KEPT = 4;

export class DemandTable {
  readonly #db: Database;
  readonly #keepOutcomes: (outcomes: readonly Outcome[]) => void;
  readonly #series = new Map<string, number>();

  constructor(db: Database, keepOutcomes: (outcomes: readonly Outcome[]) => void) {
    this.#db = db;
    this.#keepOutcomes = keepOutcomes;
  }

  /** The last sequence taken from this boot of the host, 0 for none. */
  lastSeq(host: string, bootId: string): number {
    const row = this.#db.get<{ last_seq: number }>(
      "SELECT last_seq FROM sequences WHERE host = ? AND boot_id = ?",
      host,
      bootId,
    );
    return row?.last_seq ?? 0;
  }

  /** Adds a batch once; false when this or a later sequence had been taken: nothing was added. */
  append(
    host: string,
    bootId: string,
    seq: number,
    bins: readonly DemandBin[],
    outcomes: readonly Outcome[],
  ): Promise<boolean> {
    return this.#commit(() => {
      if (seq <= this.lastSeq(host, bootId)) return false;
      this.#db.run(
        `INSERT INTO sequences VALUES
             (?1, ?2, ?3, (SELECT coalesce(max(used), 0) + 1 FROM sequences WHERE host = ?1))
           ON CONFLICT (host, boot_id) DO UPDATE
             SET last_seq = excluded.last_seq, used = excluded.used`,
        host,
        bootId,
        seq,
      );
      this.#db.run(
        `DELETE FROM sequences WHERE host = ?1 AND boot_id NOT IN
           (SELECT boot_id FROM sequences WHERE host = ?1 ORDER BY used DESC LIMIT ${BOOTS_KEPT})`,
        host,
      );
      for (const bin of bins) this.#add(bin);
      this.#keepOutcomes(outcomes);
      return true;
    });
  }

  /**
   * Adds imported bins, all or none, once per `source`; false when the source had been taken.
   * Works in one go: give at most some 100,000 bins at a time.
   */
  importBins(source: string, bins: readonly DemandBin[]): Promise<boolean> {
    return this.#commit(() => {
      const { changes } = this.#db.run(
        `INSERT INTO imports VALUES (?, ?, CAST(unixepoch('subsec') * 1000 AS INTEGER))
           ON CONFLICT (source) DO NOTHING`,
        source,
        bins.length,
      );
      if (changes === 0) return false;
      for (const bin of bins) this.#add(bin);
      return true;
    });
  }

  /** Bins that start in [fromMs, toMs), series after series, each in order of time. */
  *bins({ fromMs, toMs, workload, category }: BinRange): IterableIterator<DemandBin> {
    const rows = this.#db.iterate<{
      workload: string;
      category: string;
      host: string;
      start_ms: number;
      count: number;
    }>(
      `SELECT workload, category, host, start_ms, count
         FROM series JOIN demand ON demand.series = series.id
         WHERE start_ms >= ?1 AND start_ms < ?2 AND (?3 IS NULL OR workload = ?3)
           AND (?4 IS NULL OR category = ?4)
         ORDER BY series.id, start_ms`,
      fromMs,
      toMs,
      workload ?? null,
      category ?? null,
    );
    for (const row of rows)
      yield {
        workload: row.workload,
        category: row.category,
        host: row.host,
        startMs: row.start_ms,
        count: row.count,
      };
  }

  /** Drops bins that start before `beforeMs`; gives how many. */
  prune(beforeMs: number): Promise<number> {
    return this.#db.commit(
      () => this.#db.run("DELETE FROM demand WHERE start_ms < ?", beforeMs).changes,
    );
  }

  /** Series ids made by a transaction that was undone must not stay in the cache. */
  #commit<T>(work: () => T): Promise<T> {
    return this.#db.commit(work).catch((cause: unknown) => {
      this.#series.clear();
      throw cause;
    });
  }

  #add(bin: DemandBin): void {
    if (bin.count === 0) return;
    this.#db.run(
      `INSERT INTO demand VALUES (?, ?, ?)
         ON CONFLICT (series, start_ms) DO UPDATE SET count = count + excluded.count`,
      this.#seriesId(bin),
      Math.round(bin.startMs),
      bin.count,
    );
  }

  #seriesId({ workload, category, host }: DemandBin): number {
    const key = `${workload}/${category}/${host}`;
    const known = this.#series.get(key);
    if (known !== undefined) return known;
    const row = this.#db.get<{ id: number }>(
      "SELECT id FROM series WHERE workload = ? AND category = ? AND host = ?",
      workload,
      category,
      host,
    );
    const id =
      row?.id ??
      this.#db.run(
        "INSERT INTO series (workload, category, host) VALUES (?, ?, ?)",
        workload,
        category,
        host,
      ).id;
    if (this.#series.size >= 200_000) this.#series.clear();
    this.#series.set(key, id);
    return id;
  }
}
