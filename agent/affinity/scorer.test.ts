import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  AffinityModelMeta,
  FEATURES,
  META_FILE,
  MODEL_BYTES_MAX,
  MODEL_FILE,
} from "../../shared/affinity.ts";
import { silentLog } from "../../shared/runtime/log.ts";
import { SimulatedClock } from "../../test/support/clock.ts";
import { AffinityScorer, type ScoreInput } from "./scorer.ts";

/** A trained model as a coordinator exported it. */
const FIXTURE = join(import.meta.dirname, "../../test/fixtures/affinity");
const onnx = await readFile(join(FIXTURE, MODEL_FILE));
const meta = AffinityModelMeta.parse(JSON.parse(await readFile(join(FIXTURE, META_FILE), "utf8")));

const input = (workload: string, cpuUsed = 0.2): ScoreInput => ({
  workload,
  sample: {
    cpuUsed,
    memoryBytes: 8e9,
    memoryFreeBytes: 4e9,
    loopDelayMs: 2,
    requestsPerSecond: 3,
    diskFreeBytes: 50e9,
    peerBytesPerSecond: 20e6,
    originBytesPerSecond: 2e6,
  },
  demandShare: 0.5,
  heldShare: 1,
  warm: true,
});

let clock: SimulatedClock;
let scorer: AffinityScorer;
beforeEach(() => {
  clock = new SimulatedClock();
  scorer = new AffinityScorer({ clock, log: silentLog });
});
afterEach(() => scorer.close());

async function score(workload: string): Promise<number> {
  const [row] = await scorer.scores([input(workload)]);
  return row?.score ?? Number.NaN;
}

test.each(["the prior", "a model"])("a busy host scores less than an idle one (%s)", async (by) => {
  if (by === "a model") await scorer.load(onnx, meta);
  const [idle, busy] = await scorer.scores([input("a", 0.1), input("b", 0.9)]);
  expect(idle?.score).toBeGreaterThan((busy?.score ?? 1) + 0.2);
  expect(idle?.modelVersion).toBe(by === "a model" ? meta.version : 0);
});

describe("measured latency", () => {
  test("costs a slow host its place within five requests, and it recovers", async () => {
    await scorer.load(onnx, meta);
    const rival = new AffinityScorer({ clock, log: silentLog });
    await rival.load(onnx, meta);
    const [place] = await rival.scores([input("shop", 0.6)]);
    const placeScore = place?.score ?? Number.NaN;
    expect(await score("shop")).toBeGreaterThan(placeScore);
    let requests = 0;
    while ((await score("shop")) >= placeScore) {
      scorer.observeLatency("shop", 20, 100);
      expect(++requests).toBeLessThanOrEqual(5);
    }
    for (let i = 0; i < 5; i++) scorer.observeLatency("shop", 20, 20);
    expect(await score("shop")).toBeGreaterThan(placeScore);
    await rival.close();
  });

  test("fades on a host that gets no requests, so that it is tried again", async () => {
    const before = await score("shop");
    for (let i = 0; i < 5; i++) scorer.observeLatency("shop", 20, 100);
    expect(await score("shop")).toBeLessThan(before - 0.3);
    await clock.advance(10 * 60_000);
    expect(await score("shop")).toBeCloseTo(before, 2);
  });

  test("of one application leaves the others alone", async () => {
    const before = await score("other");
    scorer.observeLatency("shop", 20, 1000, true);
    expect(await score("other")).toBe(before);
  });
});

describe("a model", () => {
  test("is taken from an activated tree", async () => {
    await scorer.loadFrom(FIXTURE);
    expect(scorer.modelVersion).toBe(meta.version);
  });

  test.each([
    ["for other features", { ...meta, features: ["weather"] }, onnx],
    ["that fails its own check", { ...meta, check: { ...meta.check, score: 0.999 } }, onnx],
    ["of random bytes", meta, Buffer.alloc(100, 7)],
    ["cut short", meta, onnx.subarray(0, 900)],
  ])("%s is refused and the one in use stays", async (_, badMeta, badOnnx) => {
    await scorer.load(onnx, meta);
    await expect(scorer.load(badOnnx, badMeta)).rejects.toMatchObject({ code: "CORRUPT" });
    expect(scorer.modelVersion).toBe(meta.version);
    expect(await score("shop")).toBeGreaterThan(0);
  });

  test("is refused when it is too large or its tree lacks a file", async () => {
    const dir = await mkdtemp(join(tmpdir(), "prestage-affinity-"));
    try {
      await expect(scorer.loadFrom(dir)).rejects.toMatchObject({ code: "CORRUPT" });
      await writeFile(join(dir, MODEL_FILE), Buffer.alloc(MODEL_BYTES_MAX + 1));
      await expect(scorer.loadFrom(dir)).rejects.toMatchObject({ code: "TOO_LARGE" });
      await writeFile(join(dir, MODEL_FILE), onnx);
      await writeFile(join(dir, META_FILE), "{");
      await expect(scorer.loadFrom(dir)).rejects.toMatchObject({ code: "CORRUPT" });
    } finally {
      await rm(dir, { recursive: true });
    }
  });

  test("can be replaced while it is scoring", async () => {
    await scorer.load(onnx, meta);
    const rows = Array.from({ length: 64 }, () => FEATURES.map(() => 0.5));
    const scores = Promise.all(Array.from({ length: 20 }, () => scorer.score(rows)));
    await scorer.load(onnx, { ...meta, version: meta.version + 1 });
    expect((await scores).flat()).toHaveLength(20 * 64);
  });
});
