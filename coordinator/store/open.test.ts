import { chmodSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { MIGRATIONS } from "./migrations.ts";
import { Database } from "./open.ts";
import { hasWalResetFix } from "./sqlite-version.ts";

const TABLE = { version: 1, name: "first", sql: "CREATE TABLE t (k TEXT PRIMARY KEY, v INTEGER)" };
let dir: string;
let file: string;
let open: Database[] = [];
const database = (migrations = [TABLE]) => {
  const db = Database.open(file, migrations);
  open.push(db);
  return db;
};
const put = (db: Database, k: string, v = 1) => db.run("INSERT INTO t VALUES (?, ?)", k, v);
const count = (db: Database) => db.get<{ n: number }>("SELECT count(*) AS n FROM t")?.n;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "prestage-store-"));
  file = join(dir, "data", "prestage.db");
});
afterEach(() => {
  for (const db of open) db.close();
  open = [];
  rmSync(dir, { recursive: true, force: true });
});

describe("database: what it refuses", () => {
  test.each([
    ["3.44.5", false],
    ["3.44.6", true],
    ["3.45.0", false],
    ["3.50.6", false],
    ["3.50.7", true],
    ["3.51.2", false],
    ["3.51.3", true],
    ["3.52.0", true],
    ["4.0.0", true],
    ["2.9.9", false],
    ["unknown", false],
  ])("SQLite %s is fit: %s", (version, fit) => {
    expect(hasWalResetFix(version)).toBe(fit);
  });

  test("a second process's open of the same file", () => {
    database();
    expect(() => Database.open(file, [TABLE])).toThrow(/another process/);
  });

  test("a file that is no database, and one of a newer schema", () => {
    database([TABLE, { version: 2, name: "more", sql: "CREATE TABLE u (k TEXT)" }]).close();
    expect(() => Database.open(file, [TABLE])).toThrow(/schema 2/);
    const other = join(dir, "other.db");
    writeFileSync(other, "not a database, but long enough to have a header of its own".repeat(40));
    expect(() => Database.open(other, [TABLE])).toThrow(
      expect.objectContaining({ code: "CORRUPT" }),
    );
  });
});

describe("database: on disk", () => {
  test("is the owner's only, also when it was not before", () => {
    const db = database();
    put(db, "a");
    expect(statSync(file).mode & 0o777).toBe(0o600);
    db.close();
    chmodSync(file, 0o644);
    database();
    expect(statSync(file).mode & 0o777).toBe(0o600);
  });

  test("syncs every commit: WAL, synchronous FULL", () => {
    const db = database();
    expect(db.get("PRAGMA journal_mode")).toEqual({ journal_mode: "wal" });
    expect(db.get("PRAGMA synchronous")).toEqual({ synchronous: 2 });
  });

  test("migrations run once, in order, and a failing one leaves nothing behind", () => {
    const more = { version: 2, name: "more", sql: "CREATE TABLE u (k TEXT)" };
    const bad = {
      version: 3,
      name: "bad",
      sql: "CREATE TABLE v (k TEXT); CREATE TABLE v (k TEXT)",
    };
    database().close();
    expect(() => Database.open(file, [TABLE, more, bad])).toThrow();
    const db = database([TABLE, more]);
    expect(db.all("SELECT version, name FROM migrations")).toEqual([
      { version: 1, name: "first" },
      { version: 2, name: "more" },
    ]);
    expect(db.get("SELECT name FROM sqlite_schema WHERE name = 'v'")).toBeUndefined();
  });

  test("the released steps count up from 1", () => {
    expect(MIGRATIONS.map(({ version }) => version)).toEqual(MIGRATIONS.map((_, i) => i + 1));
  });
});

describe("database: group commit", () => {
  test("writers of one turn share one transaction", async () => {
    const db = database();
    const before = db.commits;
    await Promise.all(Array.from({ length: 100 }, (_, i) => db.commit(() => put(db, `k${i}`))));
    expect(db.commits - before).toBe(1);
    expect(count(db)).toBe(100);
  });

  test("one that fails is undone alone", async () => {
    const db = database();
    const results = await Promise.allSettled([
      db.commit(() => put(db, "a")),
      db.commit(() => {
        put(db, "b");
        throw new Error("no");
      }),
      db.commit(() => put(db, "a")),
      db.commit(() => put(db, "c")),
    ]);
    expect(results.map(({ status }) => status)).toEqual([
      "fulfilled",
      "rejected",
      "rejected",
      "fulfilled",
    ]);
    expect(db.all("SELECT k FROM t ORDER BY k")).toEqual([{ k: "a" }, { k: "c" }]);
  });

  test("a transaction inside a writer undoes only its own part", async () => {
    const db = database();
    await db.commit(() => {
      put(db, "outer");
      expect(() =>
        db.transaction(() => {
          put(db, "inner");
          throw new Error("no");
        }),
      ).toThrow("no");
    });
    expect(db.all("SELECT k FROM t")).toEqual([{ k: "outer" }]);
  });

  test("nothing resolves before it is durable (the wake-up comes after the commit)", async () => {
    const db = database();
    const before = db.commits;
    await db.commit(() => {
      put(db, "a");
      expect(db.commits).toBe(before);
    });
    expect(db.commits).toBe(before + 1);
  });

  test("more writers than a group holds all get through", async () => {
    const db = database();
    await Promise.all(Array.from({ length: 2_000 }, (_, i) => db.commit(() => put(db, `k${i}`))));
    expect(count(db)).toBe(2_000);
  });

  test("writers over the bound are refused, not kept (the disk does not keep up)", async () => {
    const db = database();
    const all = Array.from({ length: 50_100 }, () => db.commit(() => undefined));
    const refused = (await Promise.allSettled(all)).filter(({ status }) => status === "rejected");
    expect(refused).toHaveLength(100);
  });

  test("a full disk refuses writers with a code, loses nothing, and goes on after it", async () => {
    const db = database();
    await db.commit(() => put(db, "before"));
    db.get("PRAGMA max_page_count = 12");
    const fill = (i: number) => db.commit(() => put(db, `k${i}`.padEnd(3_000, "x")));
    const results = await Promise.allSettled(Array.from({ length: 50 }, (_, i) => fill(i)));
    const refused = results.flatMap((r) => (r.status === "rejected" ? [r.reason.code] : []));
    expect(new Set(refused)).toEqual(new Set(["DISK_FULL"]));
    expect(count(db)).toBe(51 - refused.length);
    db.get("PRAGMA max_page_count = 1000000");
    await fill(99);
    expect(count(db)).toBe(52 - refused.length);
  });

  test("close writes what waits; later writers are refused", async () => {
    const db = database();
    const waiting = db.commit(() => put(db, "a"));
    db.close();
    await waiting;
    await expect(db.commit(() => undefined)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(count(database())).toBe(1);
  });
});
