import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Clock } from "../shared/runtime/clock.ts";
import { silentLog } from "../shared/runtime/log.ts";
import { seededRandom } from "../shared/runtime/random.ts";
import { WorkloadsFile } from "../shared/workload.ts";
import { Catalog } from "./catalog.ts";
import { DemandHistory } from "./demand/history.ts";
import { MeasuredCosts } from "./measured.ts";
import { PROGRAM_ALONE } from "./plan/decide.ts";
import { Prewarming } from "./prewarming.ts";
import { Store } from "./store/store.ts";

const MINUTE_MS = 60_000;
const END = 29_000_000;
const NEVER = new AbortController().signal;

let folder: string;
let store: Store;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prestage-prewarming-"));
  store = Store.open(folder);
  const workloads = Array.from({ length: 30 }, (_, i) => {
    return { name: `w${i}`, match: { pathPrefix: `/${i}` }, environment: { command: ["x"] } };
  });
  await store.workloads.apply(WorkloadsFile.parse({ workloads }), "test");
});
afterAll(async () => {
  store.close();
  await rm(folder, { recursive: true });
});

/** Each reading is 2 ms later; counts how often others got their turn. */
function countingClock() {
  let ms = 0;
  const seen = { turns: 0 };
  const clock: Clock = {
    now: () => ms,
    monotonic: () => (ms += 2),
    sleep: async () => void seen.turns++,
    after: () => () => {},
  };
  return { clock, seen };
}

/** Chance at rates from one in three minutes to one in two hours. */
function history(minutes: number): DemandHistory {
  const demand = new DemandHistory();
  const random = seededRandom("prewarming");
  for (let minute = END - minutes; minute < END; minute++)
    for (let i = 0; i < 30; i++)
      if (random.next() < 0.33 / 1.14 ** i)
        demand.add({
          workload: `w${i}`,
          category: "c",
          host: "h",
          startMs: minute * MINUTE_MS,
          count: 1,
        });
  return demand;
}

function prewarming(demand: DemandHistory, state: unknown = null) {
  const { clock, seen } = countingClock();
  const catalog = new Catalog(store);
  const measured = new MeasuredCosts();
  const deps = { clock, log: silentLog, history: demand, catalog, measured, speed: 1, state };
  return { one: new Prewarming(deps), seen };
}

test("prewarming: learns a price from the history, in slices (thirty categories, five hours)", async () => {
  const { one, seen } = prewarming(history(300));
  expect(one.memoryGbHour(0.95)).toBeNull();
  expect(await one.relearn(0.95, END * MINUTE_MS, NEVER)).toBe(true);
  expect(seen.turns).toBeGreaterThan(20);
  const [less = 0, more = 0] = [one.memoryGbHour(0.7) ?? 0, one.memoryGbHour(1.2) ?? 0];
  expect(less).toBeGreaterThan(more);
  expect(more).toBeGreaterThan(0);
}, 60_000);

test("prewarming: has nothing to learn from without demand of declared workloads", async () => {
  const demand = new DemandHistory();
  const undeclared = { workload: "other", category: "c", host: "h", count: 1 };
  for (const minute of [1, 2, 3])
    demand.add({ ...undeclared, startMs: (END - minute) * MINUTE_MS });
  const { one } = prewarming(demand);
  expect(await one.relearn(0.95, END * MINUTE_MS, NEVER)).toBe(false);
  expect(one.support("other", "c", END * MINUTE_MS)).toEqual(PROGRAM_ALONE);
});

test("prewarming: minutes that are over move who has a say (a hazard that is always wrong)", async () => {
  const demand = history(200);
  const { one } = prewarming(demand);
  const before = one.support("w0", "c", END * MINUTE_MS).program;
  const hazardPerMinute = new Array<number>(120).fill(0);
  for (let minute = END - 180; minute <= END; minute++)
    one.minute(minute, [{ workload: "w0", category: "c", hazardPerMinute }], 0.5);
  const after = one.support("w0", "c", END * MINUTE_MS);
  expect(before).toBe(1);
  expect(after.program).toBeLessThan(0.1);
  expect(after.wanted).toBeGreaterThan(0.5);

  const { one: restarted } = prewarming(demand, JSON.parse(JSON.stringify(one.state())));
  restarted.minute(END - 3, [{ workload: "w0", category: "c", hazardPerMinute }], 0.5);
  restarted.minute(END, [], 0.5);
  expect(restarted.support("w0", "c", END * MINUTE_MS).program).toBeLessThan(0.1);
});
