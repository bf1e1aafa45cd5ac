/**
 * The one embedded database of a coordinator, `DATA/prestage.db`. The only importer of node:sqlite.
 *
 * What is acknowledged must outlive a power cut, so every commit is synced (WAL, synchronous=FULL).
 * A sync costs 18 times a write; therefore writers that arrive in one turn of the event loop share
 * one transaction, each behind its own savepoint so that one's failure is not another's. Refused:
 * synchronous=NORMAL, which lost acknowledged rows in 59 of 60 power cuts.
 */
import { chmodSync, closeSync, existsSync, mkdirSync, openSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync, type SQLInputValue, type StatementSync } from "node:sqlite";
import { PrestageError } from "../../shared/errors.ts";
import { MIGRATIONS, type Migration } from "./migrations.ts";
import { hasWalResetFix } from "./sqlite-version.ts";

export type Value = SQLInputValue;

type Pending = {
  work: () => unknown;
  resolve: (value: unknown) => void;
  reject: (cause: unknown) => void;
};
type Outcome = { ok: true; value: unknown } | { ok: false; cause: unknown };

/** More writers than this in one turn are spread over several transactions. */
const GROUP_MAX = 512;
/** Writers that may wait at once; more are refused, since the disk is not keeping up. */
const PENDING_MAX = 50_000;

export class Database {
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  #pending: Pending[] = [];
  #scheduled = false;
  #depth = 0;
  #closed = false;
  /** Transactions that were synced to disk, and writers they carried. */
  commits = 0;
  writers = 0;

  private constructor(db: DatabaseSync) {
    this.#db = db;
  }

  /**
   * Opens or makes the file (0600) and brings its schema up to date. Throws CONFLICT when another
   * process has it open, CORRUPT when it is no sound database, CONFIG_INVALID when this SQLite is
   * too old or the file is from a newer Prestage.
   */
  static open(file: string, migrations: readonly Migration[] = MIGRATIONS): Database {
    makePrivate(file);
    const db = openSound(file);
    try {
      const database = new Database(db);
      database.#migrate(migrations);
      for (const suffix of ["", "-wal"])
        if (existsSync(file + suffix)) chmodSync(file + suffix, 0o600);
      return database;
    } catch (cause) {
      db.close();
      throw cause;
    }
  }

  run(sql: string, ...values: Value[]): { changes: number; id: number } {
    const { changes, lastInsertRowid } = this.#prepare(sql).run(...values);
    return { changes: Number(changes), id: Number(lastInsertRowid) };
  }

  get<Row>(sql: string, ...values: Value[]): Row | undefined {
    return this.#prepare(sql).get(...values) as Row | undefined;
  }

  all<Row>(sql: string, ...values: Value[]): Row[] {
    return this.#prepare(sql).all(...values) as Row[];
  }

  /** Rows one at a time. The statement is the iteration's own, so that two may run at once. */
  iterate<Row>(sql: string, ...values: Value[]): IterableIterator<Row> {
    return this.#db.prepare(sql).iterate(...values) as IterableIterator<Row>;
  }

  /** Runs `work` now, whole or not at all; inside another transaction as a part of it. */
  transaction<T>(work: () => T): T {
    if (this.#depth > 0) return this.#savepoint(work);
    this.#db.exec("BEGIN IMMEDIATE");
    this.#depth++;
    try {
      const value = work();
      this.#db.exec("COMMIT");
      this.commits++;
      return value;
    } catch (cause) {
      this.#rollBack();
      throw cause;
    } finally {
      this.#depth--;
    }
  }

  /**
   * Runs `work` (synchronous) in the next shared transaction and resolves with what it gave, after
   * that is on disk. When `work` throws, its writes alone are undone.
   */
  commit<T>(work: () => T): Promise<T> {
    if (this.#closed) return Promise.reject(closedError());
    if (this.#pending.length >= PENDING_MAX)
      return Promise.reject(
        new PrestageError("UNAVAILABLE", "the database does not keep up with its writers", {
          details: { waiting: this.#pending.length },
        }),
      );
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    this.#pending.push({ work, resolve: resolve as (value: unknown) => void, reject });
    this.#schedule();
    return promise;
  }

  /** Writes what waits, then closes. Later commits are refused. */
  close(): void {
    if (this.#closed) return;
    while (this.#pending.length > 0) this.#flush();
    this.#closed = true;
    this.#statements.clear();
    this.#db.close();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#flush();
      if (this.#pending.length > 0) this.#schedule();
    });
  }

  #flush(): void {
    const group = this.#pending.slice(0, GROUP_MAX);
    this.#pending = this.#pending.slice(GROUP_MAX);
    if (group.length === 0) return;
    let outcomes: Outcome[];
    try {
      outcomes = this.transaction(() => group.map(({ work }) => this.#attempt(work)));
    } catch (cause) {
      for (const { reject } of group) reject(databaseError(cause));
      return;
    }
    this.writers += group.length;
    group.forEach(({ resolve, reject }, i) => {
      const outcome = outcomes[i];
      if (outcome?.ok) resolve(outcome.value);
      else reject(outcome?.cause);
    });
  }

  #attempt(work: () => unknown): Outcome {
    try {
      return { ok: true, value: this.#savepoint(work) };
    } catch (cause) {
      // A full disk or I/O error may have ended the whole transaction: then none of it is done.
      if (!this.#db.isTransaction) throw cause;
      return { ok: false, cause: databaseError(cause) };
    }
  }

  #savepoint<T>(work: () => T): T {
    const name = `s${this.#depth}`;
    this.#db.exec(`SAVEPOINT ${name}`);
    this.#depth++;
    try {
      const value = work();
      this.#db.exec(`RELEASE ${name}`);
      return value;
    } catch (cause) {
      if (this.#db.isTransaction) this.#db.exec(`ROLLBACK TO ${name}; RELEASE ${name}`);
      throw cause;
    } finally {
      this.#depth--;
    }
  }

  #rollBack(): void {
    if (this.#db.isTransaction) this.#db.exec("ROLLBACK");
  }

  #prepare(sql: string): StatementSync {
    if (this.#closed) throw closedError();
    let statement = this.#statements.get(sql);
    if (!statement) {
      statement = this.#db.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  #migrate(migrations: readonly Migration[]): void {
    this.#db.exec(
      `CREATE TABLE IF NOT EXISTS migrations
         (version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_ms INTEGER NOT NULL) STRICT`,
    );
    const applied =
      this.get<{ version: number | null }>("SELECT max(version) AS version FROM migrations")
        ?.version ?? 0;
    const newest = migrations.at(-1)?.version ?? 0;
    if (applied > newest)
      throw new PrestageError(
        "CONFIG_INVALID",
        `the database has schema ${applied}, this Prestage knows ${newest}: run the newer version`,
        { details: { applied, newest } },
      );
    for (const migration of migrations.filter(({ version }) => version > applied))
      this.transaction(() => {
        this.#db.exec(migration.sql);
        this.run(
          "INSERT INTO migrations VALUES (?, ?, unixepoch() * 1000)",
          migration.version,
          migration.name,
        );
      });
  }
}

function makePrivate(file: string): void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  if (!existsSync(file)) closeSync(openSync(file, "a", 0o600));
}

function openSound(file: string): DatabaseSync {
  const db = new DatabaseSync(file);
  try {
    const version = db.prepare("SELECT sqlite_version() AS v").get()?.v;
    if (typeof version !== "string" || !hasWalResetFix(version))
      throw new PrestageError(
        "CONFIG_INVALID",
        `SQLite ${version} can corrupt its log: run Prestage with Node 26 or newer`,
        { details: { version: String(version) } },
      );
    // One coordinator per folder: the lock goes with the process, also when it is killed.
    db.exec("PRAGMA locking_mode = EXCLUSIVE");
    db.exec("PRAGMA busy_timeout = 0");
    db.exec("PRAGMA journal_mode = WAL");
    db.exec("PRAGMA synchronous = FULL");
    db.exec("PRAGMA foreign_keys = ON");
    db.exec("PRAGMA trusted_schema = OFF");
    db.exec("PRAGMA journal_size_limit = 67108864");
    db.exec("BEGIN IMMEDIATE; COMMIT");
    return db;
  } catch (cause) {
    db.close();
    throw databaseError(cause, file);
  }
}

/** SQLite's failures as ours; a writer's own errors and broken constraints stay what they are. */
function databaseError(cause: unknown, file?: string): unknown {
  if (!(cause instanceof Error && "errcode" in cause && typeof cause.errcode === "number"))
    return cause;
  const details = { file: file ?? "", reason: cause.message };
  const code = cause.errcode & 0xff;
  if (code === 1 || code === 19) return cause;
  if (code === 5 || code === 6)
    return new PrestageError("CONFLICT", "another process has the coordinator's database open", {
      cause,
      details,
    });
  if (code === 11 || code === 26)
    return new PrestageError(
      "CORRUPT",
      "the coordinator's database is damaged: restore the last good copy",
      { cause, details },
    );
  if (code === 13)
    return new PrestageError("DISK_FULL", "no space for the coordinator's database", {
      cause,
      details,
    });
  return new PrestageError("UNAVAILABLE", `the coordinator's database failed: ${cause.message}`, {
    cause,
    details,
  });
}

function closedError(): PrestageError {
  return new PrestageError("UNAVAILABLE", "the coordinator's database is closed");
}
