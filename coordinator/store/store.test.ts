import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { DemandBin, Order, Outcome } from "../../shared/domain.ts";
import { WorkloadsFile } from "../../shared/workload.ts";
import type { LedgerRow } from "./ledger.ts";
import { Store } from "./store.ts";

let dir: string;
let store: Store;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "prestage-store-"));
  store = Store.open(dir);
});
afterEach(() => {
  store.close();
  rmSync(dir, { recursive: true, force: true });
});
function reopen(): void {
  store.close();
  store = Store.open(dir);
}

const bin = (startMs: number, count: number, host = "h", workload = "w"): DemandBin => ({
  workload,
  category: "c",
  host,
  startMs,
  count,
});
const outcome = (atMs: number, kind: Outcome["kind"] = "hit"): Outcome => ({
  kind,
  workload: "w",
  category: "c",
  host: "h",
  atMs,
  firstByteMs: 1.5,
  waitedMs: 0,
  status: 200,
  orderId: "o1",
  bytes: 0,
  memoryByteMs: 12,
});
const allBins = () => [...store.demand.bins({ fromMs: 0, toMs: 1e15 })];

describe("workloads", () => {
  const file = (names: string[], mode = "observe") =>
    WorkloadsFile.parse({
      classes: [{ name: "gold", priority: 900 }],
      workloads: names.map((name) => ({
        name,
        mode,
        match: { pathPrefix: `/${name}` },
        environment: { command: ["node"] },
      })),
    });

  test("apply adds, changes, leaves alone, and is there after a restart", async () => {
    expect(await store.workloads.apply(file(["a", "b"]), "user:x")).toMatchObject({
      added: ["a", "b"],
    });
    const second = {
      ...file(["a"]),
      workloads: [...file(["a"]).workloads, ...file(["c"]).workloads],
    };
    expect(await store.workloads.apply(second, "user:x")).toMatchObject({
      added: ["c"],
      unchanged: ["a"],
    });
    expect(await store.workloads.apply(file(["b"], "act"), "user:x")).toMatchObject({
      changed: ["b"],
    });
    reopen();
    expect(store.workloads.list().map(({ name, mode }) => `${name} ${mode}`)).toEqual([
      "a observe",
      "b act",
      "c observe",
    ]);
    expect(store.workloads.classes()).toEqual([
      { name: "gold", priority: 900 },
      { name: "default", priority: 100 },
    ]);
    expect(await store.workloads.remove(["a", "nope"])).toMatchObject({ removed: ["a"] });
    expect(store.workloads.get("a")).toBeNull();
  });
});

describe("artifacts", () => {
  const signed = (hash: string) => ({
    body: `{"of":"${hash}"}`,
    hash: hash.repeat(64),
    signature: "s",
    publicKey: "p",
  });
  const facts = (version: string, createdMs = 1) => ({
    name: "model",
    version,
    bytes: 10,
    files: 1,
    createdMs,
    publisher: "h",
    originUrl: null,
  });

  test("a version never changes; a refused one moves no tag", async () => {
    expect(await store.artifacts.put(signed("a"), facts("1"), ["latest"])).toEqual({
      kind: "added",
    });
    expect(await store.artifacts.put(signed("a"), facts("1"), [])).toEqual({ kind: "present" });
    expect(await store.artifacts.put(signed("b"), facts("1"), ["stable"])).toEqual({
      kind: "conflict",
      hash: "a".repeat(64),
    });
    expect(store.artifacts.resolve("model", { tag: "stable" })).toBeNull();
    expect(store.artifacts.manifest("a".repeat(64))).toEqual(signed("a"));
  });

  test("a tag moves to the newest put", async () => {
    await store.artifacts.put(signed("a"), facts("1", 1), ["latest"]);
    await store.artifacts.put(signed("b"), facts("2", 2), ["latest"]);
    reopen();
    expect(store.artifacts.resolve("model", { tag: "latest" })?.version).toBe("2");
    expect(store.artifacts.resolve("model", { version: "1" })?.tags).toEqual([]);
    expect(store.artifacts.list().map(({ version, tags }) => [version, tags])).toEqual([
      ["1", []],
      ["2", ["latest"]],
    ]);
  });

  test("images are found by the repository of their origin, the latest first", async () => {
    const digests = ["1", "2"].map((digit) => `sha256:${digit.repeat(64)}`);
    const origins = [
      `oci://r.example/app:v1@${digests[0]}`,
      `oci://r.example/app:v1@${digests[1]}`,
      `oci://r.example/app@${digests[0]}`,
      `oci://r.example/app:v1.2@${digests[0]}`,
      `oci://r.example/app2:v1@${digests[0]}`,
      `oci://r.example/app/sub:v1@${digests[0]}`,
    ];
    for (const [at, originUrl] of origins.entries()) {
      const row = { ...facts(`${at}`, at), originUrl };
      await store.artifacts.put(signed("abcdef"[at] ?? ""), row, []);
    }
    const found = (tag: string | null, digest: string | null, limit = 10) =>
      store.artifacts
        .images("oci://r.example/app", { tag, digest }, limit)
        .map(({ originUrl }) => origins.indexOf(originUrl));
    expect(found(null, null)).toEqual([3, 2, 1, 0]);
    expect(found("v1", null)).toEqual([1, 0]);
    expect(found("v1", digests[0] ?? "")).toEqual([0]);
    expect(found(null, digests[0] ?? "")).toEqual([3, 2, 0]);
    expect(found(null, null, 1)).toEqual([3]);
    expect(found("v", null)).toEqual([]);
  });
});

describe("demand", () => {
  test("counts add up per series and bin, across restarts", async () => {
    expect(await store.demand.append("h", "b1", 1, [bin(0, 2)], [])).toBe(true);
    reopen();
    expect(await store.demand.append("h", "b1", 2, [bin(0, 3), bin(60_000, 1)], [])).toBe(true);
    expect(allBins()).toEqual([bin(0, 5), bin(60_000, 1)]);
  });

  test("any order of repeats counts each batch once (property)", async () => {
    let boot = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 12 }), { maxLength: 40 }),
        async (seqs) => {
          const bootId = `boot${boot++}`;
          let last = 0;
          let expected = 0;
          for (const seq of seqs) {
            const taken = await store.demand.append(
              "p",
              bootId,
              seq,
              [bin(boot * 60_000, seq, "p")],
              [],
            );
            expect(taken).toBe(seq > last);
            if (taken) expected += seq;
            last = Math.max(last, seq);
          }
          expect(store.demand.lastSeq("p", bootId)).toBe(last);
          const counted = allBins().find(({ startMs }) => startMs === boot * 60_000)?.count ?? 0;
          expect(counted).toBe(expected);
        },
      ),
      { numRuns: 40 },
    );
  });

  test("remembers only the last boots of a host", async () => {
    for (let boot = 0; boot < 10; boot++) await store.demand.append("h", `b${boot}`, 7, [], []);
    const seqs = Array.from({ length: 10 }, (_, boot) => store.demand.lastSeq("h", `b${boot}`));
    expect(seqs).toEqual([0, 0, 0, 0, 0, 0, 7, 7, 7, 7]);
  });

  test("a range and a workload can be asked for; old bins can be dropped", async () => {
    await store.demand.append("h", "b", 1, [bin(0, 1), bin(60_000, 1), bin(0, 1, "h", "v")], []);
    expect([...store.demand.bins({ fromMs: 0, toMs: 60_000, workload: "w" })]).toEqual([bin(0, 1)]);
    expect(await store.demand.prune(60_000)).toBe(2);
    expect(allBins()).toEqual([bin(60_000, 1)]);
  });

  test("outcomes of a batch stand or fall with it", async () => {
    await store.demand.append("h", "b", 1, [], [outcome(5), outcome(6, "miss")]);
    await store.demand.append("h", "b", 1, [], [outcome(5)]);
    expect(store.ledger.outcomeCounts(0)).toEqual({ hit: 1, late: 0, miss: 1, wasted: 0 });
    expect([...store.ledger.outcomes({ fromMs: 6 })]).toEqual([outcome(6, "miss")]);
  });
});

describe("ledger", () => {
  const order = (host: string): Order => ({
    id: "o",
    kind: "warm",
    workload: "w",
    category: "c",
    host,
    artifacts: [],
    taken: true,
    reason: "forecast",
    probability: 0.5,
    threshold: 0.1,
    leadMs: 1,
    deadlineMs: 2,
    missCost: 1,
    stageCost: 1,
    holdCost: 1,
    expectedGain: 1,
    bytes: 0,
    affinity: 1,
  });
  const row = (id: string, atMs: number, host = "h"): LedgerRow => ({
    id,
    atMs,
    order: order(host),
    forecast: { probability: 0.5, mix: { level: 1 } },
    alternatives: Array.from({ length: 7 }, () => order("other")),
    outcome: null,
    reward: null,
    context: [1, 2],
    arm: 3,
  });

  test("a decision is kept with at most 5 alternatives, closed once, found newest first", async () => {
    expect(await store.ledger.recordDecisions([row("a", 1), row("b", 2, "g"), row("a", 9)])).toBe(
      2,
    );
    expect(await store.ledger.recordOutcomes([{ id: "a", outcome: "hit", reward: 2.5 }])).toBe(1);
    expect(await store.ledger.recordOutcomes([{ id: "a", outcome: "miss", reward: -1 }])).toBe(0);
    reopen();
    expect(store.ledger.query({ limit: 10 }).map(({ id }) => id)).toEqual(["b", "a"]);
    expect(store.ledger.query({ host: "g", limit: 10 })).toHaveLength(1);
    expect(store.ledger.get("a")).toEqual({
      ...row("a", 1),
      alternatives: row("a", 1).alternatives.slice(0, 5),
      outcome: "hit",
      reward: 2.5,
    });
    expect(await store.ledger.prune(2)).toBe(1);
    expect(store.ledger.get("a")).toBeNull();
  });
});

describe("models", () => {
  test("the newest version is given, old ones are dropped, states are kept", async () => {
    for (let version = 1; version <= 7; version++) {
      const body = new Uint8Array([version]);
      await store.models.put({ kind: "affinity", version, meta: { loss: version }, body });
    }
    await store.models.setState("bandit", { arms: [1, 2] });
    await store.models.setState("bandit", { arms: [3] });
    reopen();
    expect(store.models.get("affinity")).toMatchObject({ version: 7, meta: { loss: 7 } });
    expect(store.models.get("affinity", 6)?.body).toEqual(new Uint8Array([6]));
    expect(store.models.versions("affinity")).toEqual([3, 4, 5, 6, 7]);
    expect(store.models.state("bandit")).toEqual({ arms: [3] });
    expect(store.models.state("none")).toBeUndefined();
    expect(store.models.get("none")).toBeNull();
    expect(store.models.list("aff")).toMatchObject([{ kind: "affinity", version: 7, bytes: 1 }]);
    expect(store.models.list("other")).toEqual([]);
    await store.models.remove("affinity");
    expect(store.models.get("affinity")).toBeNull();
  });

  test("a version never changes", async () => {
    const model = { kind: "k", version: 1, meta: null, body: new Uint8Array(1) };
    await store.models.put(model);
    await expect(store.models.put(model)).rejects.toThrow(/UNIQUE/);
  });
});

describe("audit rows", () => {
  test("can be added, never changed or deleted", async () => {
    const row = {
      seq: 1,
      atMs: 1,
      actor: "a",
      address: "",
      action: "x",
      object: "",
      outcome: "ok",
      detail: "{}",
      hash: "h",
    };
    await store.commit(() => store.audit.insert(row));
    await expect(store.commit(() => store.audit.insert(row))).rejects.toThrow(/UNIQUE/);
    expect(store.audit.last()).toEqual(row);
    expect(store.audit.after(0, 10)).toEqual([row]);
  });
});
