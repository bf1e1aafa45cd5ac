/** What was decided, with the forecast behind it, and what became of it. */
import type { Order, Outcome, OutcomeKind } from "../../shared/domain.ts";
import type { Database } from "./open.ts";

export type LedgerRow = {
  id: string;
  atMs: number;
  order: Order;
  forecast: { probability: number; mix: Record<string, number> };
  /** The best candidates that were not taken, at most 5. */
  alternatives: Order[];
  /** Null while it is open. */
  outcome: OutcomeKind | null;
  reward: number | null;
  /** The bandit's context and the arm it pulled. */
  context: number[];
  arm: number;
};
export type LedgerFilter = {
  workload?: string;
  category?: string;
  host?: string;
  limit: number;
};
export type Settlement = { id: string; outcome: OutcomeKind; reward: number };

const ALTERNATIVES_MAX = 5;

export class LedgerTable {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** Keeps new rows; a row whose id is there already stays as it is. Gives how many were new. */
  recordDecisions(rows: readonly LedgerRow[]): Promise<number> {
    return this.#db.commit(() =>
      rows.reduce((added, row) => {
        const { id, atMs, outcome, reward, order } = row;
        const body = JSON.stringify({
          order,
          forecast: row.forecast,
          alternatives: row.alternatives.slice(0, ALTERNATIVES_MAX),
          context: row.context,
          arm: row.arm,
        });
        const { changes } = this.#db.run(
          `INSERT INTO decisions (id, at_ms, workload, category, host, outcome, reward, body)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`,
          id,
          Math.round(atMs),
          order.workload,
          order.category,
          order.host,
          outcome,
          reward,
          body,
        );
        return added + changes;
      }, 0),
    );
  }

  /** Closes rows with what became of them; a closed row stays. Gives how many were open. */
  recordOutcomes(settlements: readonly Settlement[]): Promise<number> {
    return this.#db.commit(() =>
      settlements.reduce(
        (closed, { id, outcome, reward }) =>
          closed +
          this.#db.run(
            "UPDATE decisions SET outcome = ?, reward = ? WHERE id = ? AND outcome IS NULL",
            outcome,
            reward,
            id,
          ).changes,
        0,
      ),
    );
  }

  /** Newest first. */
  query({ workload, category, host, limit }: LedgerFilter): LedgerRow[] {
    return this.#db
      .all<DecisionColumns>(
        `SELECT id, at_ms, outcome, reward, body FROM decisions
           WHERE (?1 IS NULL OR workload = ?1) AND (?2 IS NULL OR category = ?2)
             AND (?3 IS NULL OR host = ?3)
           ORDER BY at_ms DESC, row DESC LIMIT ?4`,
        workload ?? null,
        category ?? null,
        host ?? null,
        limit,
      )
      .map(fromColumns);
  }

  get(id: string): LedgerRow | null {
    const row = this.#db.get<DecisionColumns>(
      "SELECT id, at_ms, outcome, reward, body FROM decisions WHERE id = ?",
      id,
    );
    return row ? fromColumns(row) : null;
  }

  /** Inside a transaction: keeps outcomes as agents sent them. */
  insertOutcomes(outcomes: readonly Outcome[]): void {
    for (const outcome of outcomes)
      this.#db.run(
        `INSERT INTO outcomes (at_ms, workload, category, host, kind, body)
           VALUES (?, ?, ?, ?, ?, ?)`,
        Math.round(outcome.atMs),
        outcome.workload,
        outcome.category,
        outcome.host,
        outcome.kind,
        JSON.stringify(outcome),
      );
  }

  /** Outcomes at or after `fromMs`, in the order of their time. */
  *outcomes({ fromMs, workload }: { fromMs: number; workload?: string }) {
    const rows = this.#db.iterate<{ body: string }>(
      `SELECT body FROM outcomes WHERE at_ms >= ?1 AND (?2 IS NULL OR workload = ?2)
         ORDER BY at_ms, id`,
      fromMs,
      workload ?? null,
    );
    for (const { body } of rows) yield JSON.parse(body) as Outcome;
  }

  /** How many outcomes of each kind since `fromMs`. */
  outcomeCounts(fromMs: number): Record<OutcomeKind, number> {
    const counts = { hit: 0, late: 0, miss: 0, wasted: 0 };
    const rows = this.#db.all<{ kind: OutcomeKind; n: number }>(
      "SELECT kind, count(*) AS n FROM outcomes WHERE at_ms >= ? GROUP BY kind",
      fromMs,
    );
    for (const { kind, n } of rows) counts[kind] = n;
    return counts;
  }

  /** Drops decisions and outcomes from before `beforeMs`; gives how many. */
  prune(beforeMs: number): Promise<number> {
    return this.#db.commit(
      () =>
        this.#db.run("DELETE FROM outcomes WHERE at_ms < ?", beforeMs).changes +
        this.#db.run("DELETE FROM decisions WHERE at_ms < ?", beforeMs).changes,
    );
  }
}

type DecisionColumns = {
  id: string;
  at_ms: number;
  outcome: OutcomeKind | null;
  reward: number | null;
  body: string;
};
type DecisionBody = Pick<LedgerRow, "order" | "forecast" | "alternatives" | "context" | "arm">;

function fromColumns({ id, at_ms, outcome, reward, body }: DecisionColumns): LedgerRow {
  const rest = JSON.parse(body) as DecisionBody;
  return { id, atMs: at_ms, outcome, reward, ...rest };
}
