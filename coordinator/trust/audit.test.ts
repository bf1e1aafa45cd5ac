import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { silentLog } from "../../shared/runtime/log.ts";
import { SimulatedClock } from "../../test/support/clock.ts";
import { Database } from "../store/open.ts";
import { Store } from "../store/store.ts";
import { type AuditEntry, AuditTrail } from "./audit.ts";
import { RefusalThrottle, ROWS_PER_WINDOW } from "./refusals.ts";

const entry = (object: string): AuditEntry => ({
  actor: "user:a",
  address: "10.0.0.1",
  action: "test",
  object,
  outcome: "ok",
  detail: { n: 1 },
});
const knock = (object: string, address = "10.0.0.1"): AuditEntry => ({
  ...entry(object),
  outcome: "refused",
  address,
});

describe("audit trail", () => {
  let dir: string;
  let store: Store;
  let clock: SimulatedClock;
  let trail: AuditTrail;
  const open = () => {
    store = Store.open(dir);
    trail = new AuditTrail({ clock, log: silentLog, store });
  };
  /** Does to the file what somebody with access to it could do. */
  const tamper = (...statements: string[]) => {
    store.close();
    const db = Database.open(join(dir, "prestage.db"));
    try {
      for (const sql of statements) db.run(sql);
    } finally {
      db.close();
      open();
    }
  };
  const UNLOCK = ["DROP TRIGGER audit_no_update", "DROP TRIGGER audit_no_delete"];

  beforeEach(async () => {
    dir = mkdtempSync(join(tmpdir(), "prestage-audit-"));
    clock = new SimulatedClock(1_000);
    open();
    for (let i = 1; i <= 5; i++) await trail.record(entry(`o${i}`));
  });
  afterEach(() => {
    store.close();
    rmSync(dir, { recursive: true, force: true });
  });

  test("verifies as it was written, also after a restart and over many pages", async () => {
    await Promise.all(Array.from({ length: 2_500 }, (_, i) => trail.record(entry(`m${i}`))));
    tamper();
    expect(trail.verify()).toEqual({ ok: true, rows: 2_505, brokenAt: null });
    expect(trail.newest(1)).toMatchObject([{ seq: 2_505, object: "m2499", detail: { n: 1 } }]);
  });

  test.each([
    ["a changed field", ["UPDATE audit SET object = 'x' WHERE seq = 3"], 3],
    ["a changed time", ["UPDATE audit SET at_ms = 7 WHERE seq = 2"], 2],
    ["a missing row", ["DELETE FROM audit WHERE seq = 4"], 5],
    ["a missing start", ["DELETE FROM audit WHERE seq = 1"], 2],
    [
      "two rows swapped",
      [
        "UPDATE audit SET seq = 99 WHERE seq = 2",
        "UPDATE audit SET seq = 2 WHERE seq = 3",
        "UPDATE audit SET seq = 3 WHERE seq = 99",
      ],
      2,
    ],
  ])("finds %s", (_, statements, brokenAt) => {
    tamper(...UNLOCK, ...statements);
    expect(trail.verify()).toMatchObject({ ok: false, brokenAt });
  });

  test("finds a cut-off end when the head was noted outside", () => {
    const head = trail.head();
    tamper(...UNLOCK, "DELETE FROM audit WHERE seq > 3");
    expect(trail.verify()).toMatchObject({ ok: true, rows: 3 });
    expect(trail.verify(head)).toMatchObject({ ok: false, brokenAt: 4 });
  });

  test("the database itself refuses to change or delete rows", () => {
    expect(() => tamper("UPDATE audit SET object = 'x'")).toThrow(/append-only/);
    expect(() => tamper("DELETE FROM audit")).toThrow(/append-only/);
  });

  test("a row stands or falls with the change it tells of", async () => {
    const failing = store.commit(() => {
      trail.append(entry("undone"));
      throw new Error("no");
    });
    await expect(failing).rejects.toThrow("no");
    await trail.record(entry("done"));
    expect(trail.newest(1)).toMatchObject([{ seq: 6, object: "done" }]);
    expect(trail.verify().ok).toBe(true);
  });

  test("a flood of one refusal is two rows, with the count (10,000 knocks)", async () => {
    for (let i = 0; i < 10_000; i++) trail.refused(knock("/api"));
    await clock.advance(60_000);
    trail.tick();
    await trail.flush();
    const rows = trail.newest(10).filter(({ outcome }) => outcome === "refused");
    expect(rows).toMatchObject([{ detail: { repeats: 9_999 } }, { detail: { n: 1 } }]);
  });

  test("long texts are cut, not refused", async () => {
    await trail.record({ ...entry("x".repeat(5_000)), detail: { long: "y".repeat(50_000) } });
    const [row] = trail.newest(1);
    expect(row?.object.length).toBeLessThan(300);
    expect(JSON.stringify(row?.detail).length).toBeLessThan(2_000);
    expect(trail.verify().ok).toBe(true);
  });
});

describe("refusals", () => {
  const weight = (rows: AuditEntry[]) =>
    rows.reduce((sum, { detail }) => sum + Number(detail?.repeats ?? 1), 0);

  test("many kinds fill a minute's share, the rest is one count (5,000 addresses)", () => {
    const throttle = new RefusalThrottle();
    const rows = Array.from({ length: 5_000 }, (_, i) => throttle.offer(knock("x", `a${i}`), 0));
    expect(rows.flat()).toHaveLength(ROWS_PER_WINDOW);
    expect(throttle.due(60_000)).toMatchObject([
      { address: "many", detail: { repeats: 5_000 - ROWS_PER_WINDOW } },
    ]);
  });

  test("every refusal is in some row's count, and rows stay few (property)", () => {
    const knocks = fc.array(fc.record({ kind: fc.nat(200), waitMs: fc.nat(5_000) }), {
      maxLength: 500,
    });
    fc.assert(
      fc.property(knocks, (all) => {
        const throttle = new RefusalThrottle();
        const rows: AuditEntry[] = [];
        let nowMs = 0;
        for (const { kind, waitMs } of all) {
          nowMs += waitMs;
          rows.push(...throttle.offer(knock(`k${kind}`), nowMs));
        }
        rows.push(...throttle.due(Number.POSITIVE_INFINITY));
        expect(weight(rows)).toBe(all.length);
        const minutes = Math.ceil((nowMs + 1) / 60_000) + 1;
        expect(rows.length).toBeLessThanOrEqual(minutes * (2 * ROWS_PER_WINDOW + 1));
      }),
    );
  });
});
