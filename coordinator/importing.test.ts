import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { HistoryRow } from "../shared/api.ts";
import { systemClock } from "../shared/runtime/clock.ts";
import { DemandHistory } from "./demand/history.ts";
import { Importing } from "./importing.ts";
import { Store } from "./store/store.ts";

let dir: string;
let store: Store;
let history: DemandHistory;
let importing: Importing;
/** What was said, and how many requests of the first minutes the history had then. */
let changes: [string, number][];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "prestage-importing-"));
  store = Store.open(dir);
  history = new DemandHistory();
  changes = [];
  const demandChanges = () => void changes.push(["changes", requests()]);
  const demandChanged = () => void changes.push(["changed", requests()]);
  importing = new Importing({ clock: systemClock, store, history, demandChanges, demandChanged });
});
afterEach(() => {
  store.close();
  rmSync(dir, { recursive: true, force: true });
});

const MINUTE = 60_000;
const START = Date.UTC(2026, 0, 1);
const row = (minute: number, count: number, category = "c", origin = "h"): HistoryRow => ({
  timestampMs: START + minute * MINUTE + 1234,
  ...{ workload: "w", category, origin, count },
});

async function* each(rows: readonly HistoryRow[]) {
  yield* rows;
}

let batches = 0;
async function take(source: string, rows: readonly HistoryRow[], covers?: [number, number]) {
  const batch = `b${batches++}`;
  await importing.stage({ source, batch, part: 0 }, each(rows));
  return importing.commit({
    ...{ source, batch, parts: 1, digest: JSON.stringify(rows), cutEdges: false },
    covers: covers
      ? { fromMs: START + covers[0] * MINUTE, toMs: START + covers[1] * MINUTE }
      : null,
  });
}

/** What memory says of the first ten minutes, all categories. */
function requests(): number {
  const range = { fromMs: START, toMs: START + 10 * MINUTE };
  return history
    .keys()
    .flatMap((k) => [...history.series(k.workload, k.category, null, range).counts])
    .reduce((sum, count) => sum + count, 0);
}

function inMemory() {
  const range = { fromMs: START, toMs: START + 10 * MINUTE };
  return Object.fromEntries(
    history.keys().map(({ workload, category }) => [
      category,
      {
        counts: [...history.series(workload, category, null, range).counts],
        last: history.lastArrivalMs(workload, category),
        hosts: [...history.hostShare(workload, category).keys()].sort(),
        hour: history.hours(workload, category).counts[0],
      },
    ]),
  );
}

function afterRestart() {
  const range = { fromMs: 0, toMs: Number.MAX_SAFE_INTEGER };
  const live = history;
  history = new DemandHistory();
  for (const bin of store.demand.bins(range)) history.add(bin);
  const seen = inMemory();
  history = live;
  return seen;
}

test("importing: memory follows what is replaced (other categories, hosts, shorter)", async () => {
  const first = [row(1, 5), row(2, 1, "c", "g"), row(9, 2), row(3, 4, "gone")];
  expect(await take("s", first)).toEqual({
    ...{ bins: 4, requests: 12, duplicate: false },
    replaced: { bins: 0, requests: 0 },
  });
  expect(inMemory()).toMatchObject({ c: { last: START + 9 * MINUTE, hosts: ["g", "h"], hour: 8 } });
  const second = await take("s", [row(1, 2)]);
  expect(second.replaced).toEqual({ bins: 4, requests: 12 });
  expect(inMemory()).toEqual({
    c: {
      counts: [0, 2, 0, 0, 0, 0, 0, 0, 0, 0],
      ...{ last: START + MINUTE, hosts: ["h"], hour: 2 },
    },
  });
  expect(changes).toEqual([
    ["changes", 0],
    ["changed", 12],
    ["changes", 12],
    ["changed", 2],
  ]);
});

test("importing: the same again changes nothing and tells nobody", async () => {
  await take("s", [row(1, 5)]);
  const before = inMemory();
  expect(await take("s", [row(1, 5)])).toMatchObject({ duplicate: true, requests: 0 });
  expect([inMemory(), changes.length]).toEqual([before, 2]);
});

test("importing: live demand of the same minute is not touched", async () => {
  const live = { workload: "w", category: "c", host: "h", startMs: START + MINUTE, count: 3 };
  await store.demand.append("h", "boot", 1, [live], []);
  history.add(live);
  await take("s", [row(1, 5)]);
  await take("s", [row(1, 1)]);
  expect(inMemory().c?.counts[1]).toBe(4);
});

test("importing: a bad row takes the whole part with it", async () => {
  async function* rows() {
    yield row(1, 1);
    throw new Error("bad line");
  }
  const query = { source: "s", batch: "x", part: 0 };
  await expect(importing.stage(query, rows())).rejects.toThrow("bad line");
  await importing.stage(query, each([row(2, 1)]));
  const end = { parts: 1, digest: "", covers: null, cutEdges: false };
  expect(await importing.commit({ ...query, ...end })).toMatchObject({ bins: 1, requests: 1 });
});

test("importing: origins become host names", async () => {
  const origins = ["Edge 7!", "", "---", `${"x".repeat(70)}`, "10.0.0.7"];
  await take(
    "s",
    origins.map((origin) => row(1, 1, "c", origin)),
  );
  expect(inMemory().c?.hosts).toEqual(["10.0.0.7", "edge-7", "imported", "x".repeat(64)].sort());
});

test("importing: what is left over goes in the end", async () => {
  await take("s", [row(1, 5)]);
  await take("s", [row(2, 5)]);
  expect(store.imports.leftOver(0)).toHaveLength(1);
  await importing.dropLeftOver();
  expect(store.imports.leftOver(0)).toEqual([]);
});

test("importing: memory is what a restart would read, after whatever was imported", async () => {
  const told = fc.record({
    source: fc.constantFrom("s", "t"),
    rows: fc.array(
      fc.record({
        minute: fc.integer({ min: 0, max: 9 }),
        count: fc.integer({ min: 1, max: 9 }),
        category: fc.constantFrom("c", "d"),
        origin: fc.constantFrom("g", "h"),
      }),
      { maxLength: 6 },
    ),
    covers: fc.option(fc.constantFrom<[number, number]>([0, 10], [2, 6], [5, 10])),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(told, { maxLength: 8 }), async (imports) => {
      for (const { source, rows, covers } of imports) {
        const inside = rows.filter(
          ({ minute }) => covers === null || (minute >= covers[0] && minute < covers[1]),
        );
        await take(
          source,
          inside.map((r) => row(r.minute, r.count, r.category, r.origin)),
          covers ?? undefined,
        );
      }
      expect(inMemory()).toEqual(afterRestart());
    }),
    { numRuns: 60 },
  );
});
