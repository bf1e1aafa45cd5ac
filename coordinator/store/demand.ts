/**
 * Demand bins as agents counted them. A batch and its sequence number are one transaction, so a
 * batch that is sent again after a lost acknowledgement is not counted twice.
 */
import type { DemandBin, Outcome } from "../../shared/domain.ts";
import type { Database } from "./open.ts";
import type { SeriesIds } from "./series.ts";

export type BinRange = { fromMs: number; toMs: number; workload?: string; category?: string };

/** Boots of a host whose last sequence is remembered: a new boot never goes back to an old id. */
const BOOTS_KEPT = 4;

export class DemandTable {
  readonly #db: Database;
  readonly #keepOutcomes: (outcomes: readonly Outcome[]) => void;
  readonly #series: SeriesIds;

  constructor(
    db: Database,
    series: SeriesIds,
    keepOutcomes: (outcomes: readonly Outcome[]) => void,
  ) {
    this.#db = db;
    this.#series = series;
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
    return this.#series.commit(() => {
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
   * Bins that start in [fromMs, toMs): those agents counted, series after series and each in order
   * of time, then those of committed imports. One series and minute may come several times.
   */
  *bins(range: BinRange): IterableIterator<DemandBin> {
    yield* this.#rows("series s CROSS JOIN demand d ON d.series = s.id", "TRUE", range);
    yield* this.#rows(
      `import_batches b CROSS JOIN series s
         CROSS JOIN imported d ON d.batch = b.id AND d.series = s.id`,
      "b.state = 'current'",
      range,
    );
  }

  /** Drops bins that start before `beforeMs`; gives how many. */
  prune(beforeMs: number): Promise<number> {
    return this.#db.commit(
      () => this.#db.run("DELETE FROM demand WHERE start_ms < ?", beforeMs).changes,
    );
  }

  *#rows(
    from: string,
    where: string,
    { fromMs, toMs, workload, category }: BinRange,
  ): IterableIterator<DemandBin> {
    const rows = this.#db.iterate<{
      workload: string;
      category: string;
      host: string;
      start_ms: number;
      count: number;
    }>(
      `SELECT workload, category, host, start_ms, count
         FROM ${from}
         WHERE ${where} AND start_ms >= ?1 AND start_ms < ?2
           AND (?3 IS NULL OR workload = ?3) AND (?4 IS NULL OR category = ?4)`,
      fromMs,
      toMs,
      workload ?? null,
      category ?? null,
    );
    for (const { start_ms: startMs, ...row } of rows) yield { ...row, startMs };
  }

  #add(bin: DemandBin): void {
    if (bin.count === 0) return;
    this.#db.run(
      `INSERT INTO demand VALUES (?, ?, ?)
         ON CONFLICT (series, start_ms) DO UPDATE SET count = count + excluded.count`,
      this.#series.of(bin),
      Math.round(bin.startMs),
      bin.count,
    );
  }
}
