import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { DemandBin } from "../../shared/domain.ts";
import { Store } from "./store.ts";

let dir: string;
let store: Store;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "prestage-imports-"));
  store = Store.open(dir);
});
afterEach(() => {
  store.close();
  rmSync(dir, { recursive: true, force: true });
});

const MINUTE = 60_000;
const bin = (minute: number, count: number, category = "c"): DemandBin => ({
  workload: "w",
  category,
  host: "h",
  startMs: minute * MINUTE,
  count,
});
const all = () => [...store.demand.bins({ fromMs: 0, toMs: Number.MAX_SAFE_INTEGER })];
const counts = () => all().map((b) => [b.startMs / MINUTE, b.count]);

let batches = 0;
type Told = { covers?: [number, number]; cutEdges?: boolean; digest?: string };
/** One import, in parts of `size`; gives what commit gave. */
async function say(source: string, bins: readonly DemandBin[], told: Told = {}, size = 2) {
  const batch = `b${batches++}`;
  let part = 0;
  for (let from = 0; from === 0 || from < bins.length; from += size)
    await store.imports.stage({ source, batch, part: part++ }, bins.slice(from, from + size), 0);
  const { covers, cutEdges = false, digest = batch } = told;
  return store.imports.commit(
    { source, batch },
    {
      ...{ parts: part, digest, cutEdges },
      covers: covers ? { fromMs: covers[0] * MINUTE, toMs: covers[1] * MINUTE } : null,
    },
  );
}

describe("imports", () => {
  test("counts when committed, not when staged; parts may have bins in common", async () => {
    const query = { source: "s", batch: "b" };
    expect(await store.imports.stage({ ...query, part: 0 }, [bin(1, 2), bin(2, 1)], 0)).toBe(true);
    expect(await store.imports.stage({ ...query, part: 1 }, [bin(1, 3)], 0)).toBe(true);
    expect(all()).toEqual([]);
    const end = { parts: 2, digest: "d", covers: null, cutEdges: false };
    expect(await store.imports.commit(query, end)).toMatchObject({
      bins: 2,
      requests: 6,
      gone: [],
    });
    expect(counts()).toEqual([
      [1, 5],
      [2, 1],
    ]);
  });

  test("a part or a commit that is sent again is taken once", async () => {
    const query = { source: "s", batch: "b" };
    await store.imports.stage({ ...query, part: 0 }, [bin(1, 2)], 0);
    expect(await store.imports.stage({ ...query, part: 0 }, [bin(1, 2)], 0)).toBe(false);
    const end = { parts: 1, digest: "d", covers: null, cutEdges: false };
    await store.imports.commit(query, end);
    expect(await store.imports.commit(query, end)).toEqual({ kind: "same" });
    expect(await store.imports.stage({ ...query, part: 0 }, [bin(1, 2)], 0)).toBe(false);
    expect(counts()).toEqual([[1, 2]]);
  });

  test.each([
    ["a batch nobody began", { source: "s", batch: "x", part: 1 }],
    ["a part out of order", { source: "s", batch: "open", part: 2 }],
    ["a batch that another of its source ended", { source: "s", batch: "ended", part: 1 }],
  ])("refuses %s", async (_, query) => {
    await store.imports.stage({ source: "s", batch: "ended", part: 0 }, [bin(1, 1)], 0);
    await store.imports.stage({ source: "s", batch: "open", part: 0 }, [bin(1, 1)], 0);
    await expect(store.imports.stage(query, [bin(1, 1)], 0)).rejects.toMatchObject({
      code: "CONFLICT",
    });
    const end = { parts: 9, digest: "d", covers: null, cutEdges: false };
    await expect(store.imports.commit(query, end)).rejects.toMatchObject({ code: "CONFLICT" });
    expect(all()).toEqual([]);
  });

  test("the same again changes nothing, other sources add up", async () => {
    await say("s", [bin(1, 1), bin(2, 1)], { digest: "same" });
    expect(await say("s", [bin(1, 1), bin(2, 1)], { digest: "same" })).toEqual({ kind: "same" });
    await say("t", [bin(1, 4)]);
    expect(counts()).toEqual([
      [1, 1],
      [2, 1],
      [1, 4],
    ]);
  });

  test("all a source ever said is replaced without a cover, also other categories", async () => {
    await say("s", [bin(1, 1), bin(2, 1, "old")]);
    const replaced = await say("s", [bin(3, 7)]);
    expect(replaced).toMatchObject({ gone: [{ bins: 2, requests: 2 }], removed: [] });
    expect(counts()).toEqual([[3, 7]]);
  });

  test("within a cover what was said before is replaced, beyond it stays", async () => {
    const ten = Array.from({ length: 10 }, (_, i) => bin(i, 1));
    await say("s", ten, { covers: [0, 10] });
    const result = await say("s", [bin(5, 3)], { covers: [4, 7] });
    expect(result).toMatchObject({ gone: [], removed: [bin(4, 1), bin(5, 1), bin(6, 1)] });
    expect(counts()).toEqual([...[0, 1, 2, 3, 7, 8, 9].map((minute) => [minute, 1]), [5, 3]]);
    await say("s", [bin(0, 2)], { covers: [0, 20] });
    expect(counts()).toEqual([[0, 2]]);
  });

  test("the fuller telling of a cut first or last minute stays", async () => {
    await say("s", [bin(1, 9), bin(2, 9), bin(3, 2)], { covers: [1, 4], cutEdges: true });
    await say("s", [bin(2, 4), bin(3, 9), bin(4, 1)], { covers: [2, 5], cutEdges: true });
    expect(counts().toSorted()).toEqual([
      [1, 9],
      [2, 9],
      [3, 9],
      [4, 1],
    ]);
  });

  test("what is left over is dropped in slices, what counts is not", async () => {
    await say("s", [bin(1, 1), bin(2, 1), bin(3, 1)]);
    await say("s", [bin(4, 4)]);
    await store.imports.stage({ source: "t", batch: "begun", part: 0 }, [bin(1, 1)], 1_000);
    expect(store.imports.leftOver(1_000)).toHaveLength(1);
    const left = store.imports.leftOver(1_001);
    expect(left).toHaveLength(2);
    let steps = 0;
    for (const id of left) while (!(await store.imports.drop(id, 2))) steps++;
    expect(steps).toBe(1);
    expect(store.imports.leftOver(1_001)).toEqual([]);
    expect(counts()).toEqual([[4, 4]]);
  });

  test("a batch is read in slices, whatever its state", async () => {
    const bins = [bin(1, 1), bin(2, 2), bin(1, 3, "d"), bin(5, 4, "d")];
    const result = await say("s", bins, {}, 10);
    const id = result.kind === "replaced" ? result.id : -1;
    const read: DemandBin[] = [];
    let { bins: some, next } = store.imports.slice(id, 3);
    read.push(...some);
    while (next !== null) {
      ({ bins: some, next } = store.imports.slice(id, 3, next));
      read.push(...some);
    }
    expect(read).toEqual(bins);
  });

  test("old bins can be dropped, and survive a restart until then", async () => {
    await say("s", [bin(1, 1), bin(5, 1)], { covers: [1, 6] });
    store.close();
    store = Store.open(dir);
    await store.imports.prune(3 * MINUTE);
    expect(counts()).toEqual([[5, 1]]);
    await store.imports.prune(6 * MINUTE);
    expect(store.imports.leftOver(0)).toHaveLength(1);
  });

  test("whatever is imported in whatever order, a minute is what was said of it last", async () => {
    const import_ = fc.record({
      source: fc.constantFrom("s", "t"),
      from: fc.integer({ min: 0, max: 12 }),
      length: fc.integer({ min: 1, max: 8 }),
      seed: fc.integer({ min: 0, max: 5 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(import_, { maxLength: 12 }), async (imports) => {
        await forgetAll();
        const model = new Map<string, number>();
        for (const { source, from, length, seed } of imports) {
          const bins: DemandBin[] = [];
          for (let m = from; m < from + length; m++) {
            const count = (m * 7 + seed) % 4;
            model.set(`${source}/${m}`, count);
            if (count > 0) bins.push(bin(m, count));
          }
          await say(source, bins, { covers: [from, from + length], digest: `${seed}` });
        }
        const expected = new Map<number, number>();
        for (const [key, count] of model) {
          const minute = Number(key.split("/")[1]);
          if (count > 0) expected.set(minute, (expected.get(minute) ?? 0) + count);
        }
        const seen = new Map<number, number>();
        for (const [minute = 0, count = 0] of counts())
          seen.set(minute, (seen.get(minute) ?? 0) + count);
        expect(new Map([...seen].sort())).toEqual(new Map([...expected].sort()));
      }),
      { numRuns: 40 },
    );
  });
});

async function forgetAll(): Promise<void> {
  for (const source of ["s", "t"]) await say(source, []);
  for (const id of store.imports.leftOver(1)) await store.imports.drop(id, 1000);
}
