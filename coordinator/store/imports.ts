/**
 * Imported demand: what a source (a log, a Prometheus query) said, kept apart from what agents
 * counted, so that saying it again replaces it instead of adding up.
 *
 * An import is a batch: its parts are staged, in any number of requests, and count only when the
 * batch is committed; one that breaks off counts nothing and is dropped when its source is imported
 * again. A committed batch replaces what its source said before about the time it covers. That is
 * one small transaction however large the batch: whole older batches are only marked as gone, and
 * their rows are dropped later in slices. Refused: adding batches into the `demand` table, which
 * needs a move of all rows in one transaction, during which the coordinator serves nobody.
 */
import type { DemandBin } from "../../shared/domain.ts";
import { DEMAND_BIN_MS } from "../../shared/domain.ts";
import { PrestageError } from "../../shared/errors.ts";
import type { Database } from "./open.ts";
import type { SeriesIds } from "./series.ts";

export type BatchOf = { source: string; batch: string };

export type BatchEnd = {
  /** How many parts were sent; others were lost when it differs. */
  parts: number;
  /** Equal for equal content and mapping: a batch that says the same changes nothing. */
  digest: string;
  /** What the batch covers, `[fromMs, toMs)` in whole bins; null: all its source ever said. */
  covers: { fromMs: number; toMs: number } | null;
  /** The first and last bin may be cut: there the fuller telling stays. */
  cutEdges: boolean;
};

export type Committed =
  | { kind: "same" }
  | {
      kind: "replaced";
      id: number;
      bins: number;
      requests: number;
      /** Batches that count no more; drop them when nothing needs their rows. */
      gone: { id: number; bins: number; requests: number }[];
      /** What was taken out of batches that stay. */
      removed: DemandBin[];
    };

type Row = {
  id: number;
  state: "open" | "current" | "gone";
  parts: number;
  digest: string;
  from_ms: number;
  to_ms: number;
};
type BinRow = {
  workload: string;
  category: string;
  host: string;
  start_ms: number;
  count: number;
};
/** Where to go on reading a batch. */
export type Cursor = { series: number; startMs: number };

const EVER = { fromMs: 0, toMs: Number.MAX_SAFE_INTEGER };
const FIRST: Cursor = { series: -1, startMs: 0 };

export class ImportTable {
  readonly #db: Database;
  readonly #series: SeriesIds;

  constructor(db: Database, series: SeriesIds) {
    this.#db = db;
    this.#series = series;
  }

  /**
   * Stages a part; false when it had been taken before. Parts come in order from 0; the first of a
   * batch drops what its source had staged in another. Throws CONFLICT for a batch that is not open
   * or a part out of order. Works in one go: give at most some 100,000 bins at a time.
   */
  stage(
    { source, batch, part }: BatchOf & { part: number },
    bins: readonly DemandBin[],
    atMs: number,
  ): Promise<boolean> {
    return this.#series.commit(() => {
      const row =
        this.#find(source, batch) ?? (part === 0 ? this.#open(source, batch, atMs) : null);
      if (!row || row.state === "gone") throw brokenOff(source);
      if (part < row.parts) return false;
      if (row.state !== "open" || part > row.parts) throw brokenOff(source);
      for (const bin of bins) {
        if (bin.count === 0) continue;
        this.#db.run(
          `INSERT INTO imported VALUES (?, ?, ?, ?)
             ON CONFLICT (batch, series, start_ms) DO UPDATE SET count = count + excluded.count`,
          row.id,
          this.#series.of(bin),
          Math.round(bin.startMs),
          bin.count,
        );
      }
      this.#db.run("UPDATE import_batches SET parts = parts + 1 WHERE id = ?", row.id);
      return true;
    });
  }

  /**
   * Makes a staged batch count. Again for the same batch: `same`. Throws CONFLICT as `stage`.
   * `inTransaction` sees the result before anybody else can look for left-over batches.
   */
  commit(
    { source, batch }: BatchOf,
    end: BatchEnd,
    inTransaction: (replaced: Extract<Committed, { kind: "replaced" }>) => void = () => {},
  ): Promise<Committed> {
    return this.#db.commit((): Committed => {
      const row = this.#find(source, batch);
      if (row?.state === "current") return { kind: "same" };
      if (row?.state !== "open" || row.parts !== end.parts) throw brokenOff(source);
      const before = this.#current(source);
      const covers = end.covers ?? EVER;
      const last = before.at(-1);
      if (
        last?.digest === end.digest &&
        last.from_ms === covers.fromMs &&
        last.to_ms === covers.toMs
      ) {
        this.#setState(row.id, "gone");
        return { kind: "same" };
      }
      const kept = end.cutEdges ? this.#withoutCutEdges(row.id, before, covers) : covers;
      const gone = before.filter((b) => kept.fromMs <= b.from_ms && b.to_ms <= kept.toMs);
      const removed = before
        .filter((b) => !gone.includes(b))
        .flatMap((b) => this.#takeOut(b, kept));
      for (const { id } of gone) this.#setState(id, "gone");
      this.#db.run(
        `UPDATE import_batches SET state = 'current', digest = ?, from_ms = ?, to_ms = ?
           WHERE id = ?`,
        end.digest,
        kept.fromMs,
        kept.toMs,
        row.id,
      );
      const sized = gone.map(({ id }) => ({ id, ...this.#size(id) }));
      const size = this.#size(row.id);
      const result = { kind: "replaced", id: row.id, ...size, gone: sized, removed } as const;
      inTransaction(result);
      return result;
    });
  }

  /** The next bins of a batch whatever its state; `next` is null at the end. */
  slice(
    id: number,
    limit: number,
    from: Cursor = FIRST,
  ): { bins: DemandBin[]; next: Cursor | null } {
    const rows = this.#db.all<BinRow & { series: number }>(
      `SELECT series, workload, category, host, start_ms, count
         FROM imported JOIN series ON series.id = imported.series
         WHERE batch = ? AND (series, start_ms) > (?, ?) ORDER BY series, start_ms LIMIT ?`,
      id,
      from.series,
      from.startMs,
      limit,
    );
    const last = rows.length < limit ? undefined : rows.at(-1);
    return {
      bins: rows.map(binOf),
      next: last ? { series: last.series, startMs: last.start_ms } : null,
    };
  }

  /** Batches that count no more, and those that were begun before `beforeMs` and never committed. */
  leftOver(beforeMs: number): number[] {
    return this.#db
      .all<{ id: number }>(
        "SELECT id FROM import_batches WHERE state = 'gone' OR (state = 'open' AND at_ms < ?)",
        beforeMs,
      )
      .map(({ id }) => id);
  }

  /** Drops up to `limit` rows of a batch, the batch with its last; true when it is gone. */
  drop(id: number, limit: number): Promise<boolean> {
    return this.#db.commit(() => {
      this.#setState(id, "gone");
      const { changes } = this.#db.run(
        `DELETE FROM imported WHERE (batch, series, start_ms) IN
           (SELECT batch, series, start_ms FROM imported WHERE batch = ? LIMIT ?)`,
        id,
        limit,
      );
      if (changes === limit) return false;
      this.#db.run("DELETE FROM import_batches WHERE id = ?", id);
      return true;
    });
  }

  /** Drops bins that start before `beforeMs`, and batches that cover nothing later. */
  async prune(beforeMs: number): Promise<void> {
    await this.#db.commit(() => {
      this.#db.run("DELETE FROM imported WHERE start_ms < ?", beforeMs);
      this.#db.run("UPDATE import_batches SET state = 'gone' WHERE to_ms <= ?", beforeMs);
    });
  }

  #find(source: string, batch: string): Row | null {
    return (
      this.#db.get<Row>(
        "SELECT * FROM import_batches WHERE source = ? AND name = ?",
        source,
        batch,
      ) ?? null
    );
  }

  #open(source: string, batch: string, atMs: number): Row | null {
    this.#db.run(
      "UPDATE import_batches SET state = 'gone' WHERE source = ? AND state = 'open'",
      source,
    );
    this.#db.run(
      `INSERT INTO import_batches (source, name, state, parts, digest, from_ms, to_ms, at_ms)
         VALUES (?, ?, 'open', 0, '', 0, ?, ?)`,
      source,
      batch,
      EVER.toMs,
      Math.round(atMs),
    );
    return this.#find(source, batch);
  }

  #current(source: string): Row[] {
    return this.#db.all<Row>(
      "SELECT * FROM import_batches WHERE source = ? AND state = 'current' ORDER BY id",
      source,
    );
  }

  #setState(id: number, state: Row["state"]): void {
    this.#db.run("UPDATE import_batches SET state = ? WHERE id = ?", state, id);
  }

  /** The cover without its first and last bin where those before told more; there they stay. */
  #withoutCutEdges(
    id: number,
    before: readonly Row[],
    { fromMs, toMs }: { fromMs: number; toMs: number },
  ): { fromMs: number; toMs: number } {
    const told = (batch: number, startMs: number) =>
      this.#db.get<{ told: number }>(
        `SELECT coalesce(sum(count), 0) AS told FROM imported WHERE batch = ? AND start_ms = ?`,
        batch,
        startMs,
      )?.told ?? 0;
    const fuller = (startMs: number) => {
      const known = before.reduce((sum, b) => sum + told(b.id, startMs), 0);
      if (known <= told(id, startMs)) return false;
      this.#db.run("DELETE FROM imported WHERE batch = ? AND start_ms = ?", id, startMs);
      return true;
    };
    const first = fuller(fromMs) ? fromMs + DEMAND_BIN_MS : fromMs;
    const lastMs = toMs - DEMAND_BIN_MS;
    return { fromMs: first, toMs: lastMs >= first && fuller(lastMs) ? lastMs : toMs };
  }

  /** Takes the cover out of an older batch that reaches beyond it; gives what that had there. */
  #takeOut(older: Row, { fromMs, toMs }: { fromMs: number; toMs: number }): DemandBin[] {
    if (older.to_ms <= fromMs || toMs <= older.from_ms) return [];
    const rows = this.#db.all<BinRow>(
      `SELECT workload, category, host, start_ms, count
         FROM imported JOIN series ON series.id = imported.series
         WHERE batch = ? AND start_ms >= ? AND start_ms < ?`,
      older.id,
      fromMs,
      toMs,
    );
    this.#db.run(
      "DELETE FROM imported WHERE batch = ? AND start_ms >= ? AND start_ms < ?",
      older.id,
      fromMs,
      toMs,
    );
    this.#db.run(
      "UPDATE import_batches SET from_ms = ?, to_ms = ? WHERE id = ?",
      fromMs <= older.from_ms ? toMs : older.from_ms,
      toMs >= older.to_ms ? fromMs : older.to_ms,
      older.id,
    );
    return rows.map(binOf);
  }

  #size(id: number): { bins: number; requests: number } {
    const row = this.#db.get<{ bins: number; requests: number }>(
      "SELECT count(*) AS bins, coalesce(sum(count), 0) AS requests FROM imported WHERE batch = ?",
      id,
    );
    return row ?? { bins: 0, requests: 0 };
  }
}

function binOf({ workload, category, host, start_ms, count }: BinRow): DemandBin {
  return { workload, category, host, startMs: start_ms, count };
}

function brokenOff(source: string): PrestageError {
  return new PrestageError(
    "CONFLICT",
    `this import of ${source} has ended: another of the same source began, or it waited a day`,
    { details: { source } },
  );
}
