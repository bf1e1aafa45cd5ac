/** Declared workloads and QoS classes, as `prestage apply` left them. */
import type { QosClass, Workload } from "../../shared/workload.ts";
import type { Database } from "./open.ts";

export type ApplyResult = {
  added: string[];
  changed: string[];
  unchanged: string[];
  removed: string[];
};

const NOW = "CAST(unixepoch('subsec') * 1000 AS INTEGER)";

export class WorkloadTable {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  list(): Workload[] {
    return this.#db
      .all<{ body: string }>("SELECT body FROM workloads ORDER BY name")
      .map(({ body }) => JSON.parse(body) as Workload);
  }

  get(name: string): Workload | null {
    const row = this.#db.get<{ body: string }>("SELECT body FROM workloads WHERE name = ?", name);
    return row ? (JSON.parse(row.body) as Workload) : null;
  }

  /** The declared classes; `default` is always among them. */
  classes(): QosClass[] {
    const declared = this.#db
      .all<{ body: string }>("SELECT body FROM classes ORDER BY name")
      .map(({ body }) => JSON.parse(body) as QosClass);
    return declared.some(({ name }) => name === "default")
      ? declared
      : [...declared, { name: "default", priority: 100 }];
  }

  /** Adds and changes what the file declares, leaves the rest alone. */
  apply(file: { classes: QosClass[]; workloads: Workload[] }, by: string): Promise<ApplyResult> {
    return this.#db.commit(() => {
      const result: ApplyResult = { added: [], changed: [], unchanged: [], removed: [] };
      for (const declared of file.classes)
        this.#db.run(
          "INSERT INTO classes VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET body = excluded.body",
          declared.name,
          JSON.stringify(declared),
        );
      for (const workload of file.workloads) {
        const body = JSON.stringify(workload);
        const before = this.#db.get<{ body: string }>(
          "SELECT body FROM workloads WHERE name = ?",
          workload.name,
        );
        if (before?.body === body) {
          result.unchanged.push(workload.name);
          continue;
        }
        this.#db.run(
          `INSERT INTO workloads VALUES (?, ?, ?, ${NOW}) ON CONFLICT (name) DO UPDATE
             SET body = excluded.body, changed_by = excluded.changed_by,
                 changed_ms = excluded.changed_ms`,
          workload.name,
          body,
          by,
        );
        (before ? result.changed : result.added).push(workload.name);
      }
      return result;
    });
  }

  remove(names: readonly string[]): Promise<ApplyResult> {
    return this.#db.commit(() => ({
      added: [],
      changed: [],
      unchanged: [],
      removed: names.filter(
        (name) => this.#db.run("DELETE FROM workloads WHERE name = ?", name).changes === 1,
      ),
    }));
  }
}
