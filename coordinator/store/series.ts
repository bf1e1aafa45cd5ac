/** The number a (workload, category, host) has in the tables, made at first use. */
import type { DemandBin } from "../../shared/domain.ts";
import type { Database } from "./open.ts";

export type SeriesOf = Pick<DemandBin, "workload" | "category" | "host">;

const CACHED_MAX = 200_000;

export class SeriesIds {
  readonly #db: Database;
  readonly #known = new Map<string, number>();

  constructor(db: Database) {
    this.#db = db;
  }

  of({ workload, category, host }: SeriesOf): number {
    const key = `${workload}/${category}/${host}`;
    const known = this.#known.get(key);
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
    if (this.#known.size >= CACHED_MAX) this.#known.clear();
    this.#known.set(key, id);
    return id;
  }

  /** `db.commit`, but ids made by a transaction that was undone do not stay in the cache. */
  commit<T>(work: () => T): Promise<T> {
    return this.#db.commit(work).catch((cause: unknown) => {
      this.#known.clear();
      throw cause;
    });
  }
}
