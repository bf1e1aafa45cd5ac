import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Clock, systemClock } from "../shared/runtime/clock.ts";
import { silentLog } from "../shared/runtime/log.ts";
import { seededRandom } from "../shared/runtime/random.ts";
import { DemandHistory } from "./demand/history.ts";
import { Experts } from "./experts.ts";
import { Forecaster } from "./forecast/forecaster.ts";
import { LEVELS } from "./forecast/levels.ts";
import { Store } from "./store/store.ts";

const MINUTE_MS = 60_000;
const FIXTURE = new URL("../test/fixtures/forecaster-pytorch.onnx", import.meta.url);
const onnx = readFileSync(FIXTURE).toString("base64");
const startMs = Date.UTC(2026, 10, 27);
const MINUTES = 400;

/** Waves of 24 minutes, as the fixture was trained on, and a category that was just born. */
const history = new DemandHistory();
const random = seededRandom("experts");
for (let minute = 0; minute < MINUTES; minute++) {
  const mean = 40 * (1.2 + Math.sin((2 * Math.PI * minute) / 24));
  const count = Math.max(0, Math.round(mean + Math.sqrt(mean) * random.normal()));
  const at = startMs + minute * MINUTE_MS;
  history.add({ workload: "w", category: "waves", host: "h", startMs: at, count });
}
history.add({
  workload: "w",
  category: "young",
  host: "h",
  startMs: startMs + (MINUTES - 2) * MINUTE_MS,
  count: 1,
});
const demandClock: Clock = { ...systemClock, now: () => startMs + MINUTES * MINUTE_MS };

const dataDir = mkdtempSync(join(tmpdir(), "prestage-experts-"));
afterAll(() => rmSync(dataDir, { recursive: true }));

describe("experts of users", () => {
  let store: Store;
  let experts: Experts;
  let controller: AbortController;
  let running: Promise<void>;
  beforeEach(() => {
    store = Store.open(dataDir);
    const deps = { clock: systemClock, demandClock, log: silentLog, store, history };
    experts = new Experts(deps, { learns: false });
    controller = new AbortController();
    running = experts.run(controller.signal).catch(() => {});
  });
  afterEach(async () => {
    controller.abort();
    await running;
    store.close();
  });

  const past = (from = 0) => ({
    startMs: startMs + from * MINUTE_MS,
    binMs: MINUTE_MS,
    counts: history.series("w", "waves", null, {
      fromMs: startMs + from * MINUTE_MS,
      toMs: startMs + MINUTES * MINUTE_MS,
    }).counts,
  });
  const outlook = () => experts.outlook("w/waves", past()).get("model:shops");
  const asked = () => expect.poll(outlook, { timeout: 60_000, interval: 100 }).toBeDefined();

  test("a model exported from PyTorch joins, is asked each minute and forecasts", async () => {
    const added = await experts.add({ name: "shops", onnx }, "user:ann");
    expect(added).toMatchObject({ name: "shops", context: 48, horizon: 12, state: "ready" });
    await asked();
    const rows = outlook() ?? new Float64Array();
    expect(rows).toHaveLength(12 * LEVELS.length);
    let off = 0;
    for (let ahead = 0; ahead < 12; ahead++) {
      const mean = 40 * (1.2 + Math.sin((2 * Math.PI * (MINUTES + ahead)) / 24));
      off += Math.abs((rows[ahead * LEVELS.length + 4] ?? 0) - mean) / 12;
    }
    expect(off).toBeLessThan(14);
  }, 120_000);

  test("is there again after a restart, and has a share in the forecast", async () => {
    expect(experts.list().models).toMatchObject([{ name: "shops", addedBy: "user:ann" }]);
    await asked();
    const forecaster = new Forecaster({ outlook: (...of) => experts.outlook(...of) });
    const now = demandClock.now();
    forecaster.update(history, now);
    const near = forecaster.forecast("w", "waves", null, now, 5);
    expect(near.mix["model:shops"]).toBeGreaterThan(0.001);
    // Beyond its horizon the others go on without it.
    const far = forecaster.forecast("w", "waves", null, now, 40);
    expect(far.quantiles).toHaveLength(40);
    expect(far.quantiles.flat().every((q) => q >= 0)).toBe(true);
  }, 120_000);

  test("one that is not as expected is refused, and the one before stays", async () => {
    const wrong = Buffer.from("no model").toString("base64");
    await expect(experts.add({ name: "shops", onnx: wrong }, "user:ann")).rejects.toMatchObject({
      code: "USAGE",
    });
    expect(experts.list().models).toHaveLength(1);
    await asked();
  }, 120_000);

  test("a removed one is gone from the forecast and the store", async () => {
    await asked();
    expect((await experts.remove("shops")).models).toEqual([]);
    expect(outlook()).toBeUndefined();
    await expect(experts.remove("shops")).rejects.toMatchObject({ code: "NOT_FOUND" });
  }, 120_000);
});
