import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type EnvironmentStatus, Order } from "../../shared/domain.ts";
import { seededRandom } from "../../shared/runtime/random.ts";
import { type Workload, WorkloadsFile } from "../../shared/workload.ts";
import { PROGRAM_ALONE } from "./decide.ts";
import type { ArrivalView, Holding, HostView, PlanInput } from "./input.ts";
import { plan } from "./planner.ts";

const MINUTE = 60_000;
const NOW = 100 * MINUTE;
const MB = 2 ** 20;

function workload(over: Partial<Record<keyof Workload, unknown>> = {}): Workload {
  const file = WorkloadsFile.parse({
    workloads: [
      {
        name: "w",
        mode: "act",
        match: { pathPrefix: "/w" },
        environment: { command: ["run"], resources: { memoryMb: 128 } },
        missCostSeconds: 2,
        ...over,
      },
    ],
  });
  const [first] = file.workloads;
  if (!first) throw new Error("no workload");
  return first;
}

const curve = (hazardPerMinute: number[]): ArrivalView => ({
  hazardPerMinute,
  probabilityWithin: (ms) =>
    1 - hazardPerMinute.slice(0, Math.ceil(ms / MINUTE)).reduce((s, h) => s * (1 - h), 1),
});
const constant = (h: number) => curve(new Array<number>(120).fill(h));
/** Certain in the minute `at` minutes from now. */
const timer = (at: number) => curve(Array.from({ length: 120 }, (_, k) => (k === at ? 1 : 0)));

const environment = (over: Partial<EnvironmentStatus> = {}): EnvironmentStatus => ({
  id: "e",
  workload: "w",
  category: "c",
  state: "warm",
  sinceMs: 0,
  verdict: { passed: true, atMs: 0, latencyMs: 1, detail: "" },
  lastUsedMs: null,
  planned: true,
  memoryBytes: 128 * MB,
  restarts: 0,
  ...over,
});
const need = { ref: { name: "data", version: "1" }, manifestHash: "h-data", bytes: 32 * MB };
const held: Holding = { ...need, bytesHave: need.bytes, active: true };
const host = (id: string, over: Partial<HostView> = {}): HostView => ({
  id,
  site: "s",
  connected: true,
  sample: null,
  environments: [],
  holdings: [],
  ...over,
});

function input(over: Partial<PlanInput> = {}): PlanInput {
  return {
    now: NOW,
    speed: 1,
    workloads: [workload()],
    classes: [{ name: "default", priority: 100 }],
    hosts: [host("a"), host("b")],
    categories: () => ["c"],
    curve: () => constant(0.5),
    artifacts: () => [need],
    measured: () => ({ warmMs: 1000 }),
    affinity: (_, id) => ({ a: 0.9, b: 0.5 })[id] ?? 0.4,
    aggressiveness: () => ({ threshold: 1, lead: 1 }),
    support: () => PROGRAM_ALONE,
    budgets: {
      stagingBytes: 1000 * MB,
      host: () => ({ memoryBytes: 1024 * MB, diskBytes: 1024 * MB, environments: 8 }),
    },
    prices: { memoryGbHour: 1, movedGb: 0.5, diskGbHour: 0.002 },
    explicit: [],
    paused: false,
    throttled: new Set(),
    previous: [],
    ...over,
  };
}
const row = (orders: Order[], kind: string, at: string) =>
  orders.find((o) => o.kind === kind && o.host === at);
const taken = (orders: Order[]) =>
  orders.filter((o) => o.taken).map((o) => `${o.kind} ${o.category ?? o.id}@${o.host}`);

describe("what is ordered", () => {
  test("planner: stages and warms likely demand on the best host only (two hosts)", () => {
    const { orders, homes } = plan(input());
    expect(taken(orders)).toEqual(["stage c@a", "warm c@a"]);
    expect(row(orders, "warm", "a")).toMatchObject({ reason: "forecast", bytes: need.bytes });
    expect(row(orders, "warm", "b")).toMatchObject({ taken: false, reason: "lower-score" });
    expect(homes.get("w/c")).toEqual(["a", "b"]);
    for (const order of orders) Order.parse(order);
  });

  test("planner: stages at a probability that does not pay for memory (rare demand)", () => {
    const { orders } = plan(input({ curve: () => constant(0.0005) }));
    expect(taken(orders)).toEqual(["stage c@a"]);
    expect(row(orders, "warm", "a")).toMatchObject({ taken: false, reason: "unlikely" });
  });

  test("planner: starts when the lead demands it, not earlier (timer, lead one minute)", () => {
    const at = (minute: number) =>
      taken(plan(input({ curve: () => timer(minute) })).orders).includes("warm c@a");
    expect([0, 1, 2, 3, 30].map(at)).toEqual([false, true, false, false, false]);
  });

  test("planner: the lead is what staging and warming take at measured rates (slow link)", () => {
    const sample = {
      atMs: 0,
      cpuUsed: 0,
      memoryBytes: 2 ** 34,
      memoryFreeBytes: 2 ** 33,
      diskFreeBytes: 2 ** 36,
      requestsPerSecond: 0,
      peerBytesPerSecond: 0,
      originBytesPerSecond: need.bytes / 179,
      loopDelayMs: 0,
      agentBytes: 0,
    };
    const slow = (minute: number) =>
      plan(input({ hosts: [host("a", { sample })], curve: () => timer(minute) })).orders;
    expect(row(slow(3), "warm", "a")?.leadMs).toBeCloseTo(180_000, 0);
    expect(row(slow(3), "warm", "a")?.taken).toBe(true);
    expect(row(slow(2), "warm", "a")?.taken).toBe(false);
    expect(row(slow(4), "warm", "a")?.taken).toBe(false);
  });

  test("planner: keeps what is warm and likely, drops what is not (idle environment)", () => {
    const hosts = [host("a", { environments: [environment()], holdings: [held] })];
    const orders = (h: number) => plan(input({ hosts, curve: () => constant(h) })).orders;
    expect(row(orders(0.1), "warm", "a")).toMatchObject({ taken: true, reason: "keep" });
    expect(row(orders(0.0001), "warm", "a")).toMatchObject({ taken: false, reason: "unlikely" });
  });

  test("planner: prepares as many hosts as the workload asks for (placement 2)", () => {
    const { orders } = plan(input({ workloads: [workload({ placement: { hosts: 2 } })] }));
    expect(taken(orders).sort()).toEqual(["stage c@a", "stage c@b", "warm c@a", "warm c@b"]);
  });

  test("planner: a bolder or shyer bandit moves the mark (threshold 0.5 and 2)", () => {
    const base = input({ curve: () => constant(0.0011) });
    const hosts = [host("a", { environments: [environment()], holdings: [held] })];
    const keep = (threshold: number) =>
      row(
        plan({ ...base, hosts, aggressiveness: () => ({ threshold, lead: 1 }) }).orders,
        "warm",
        "a",
      )?.taken;
    expect([keep(0.5), keep(2)]).toEqual([true, false]);
  });
});

describe("why not", () => {
  test("planner: a mode that only looks orders nothing, and advice is complete (modes)", () => {
    const observe = plan(input({ workloads: [workload({ mode: "observe" })] })).orders;
    expect(observe.map((o) => [o.taken, o.reason])).toEqual([[false, "mode"]]);
    const advise = plan(input({ workloads: [workload({ mode: "advise" })] })).orders;
    const act = plan(input()).orders;
    const strip = (o: Order) => ({ ...o, taken: false, reason: o.taken ? "mode" : o.reason });
    expect(advise).toEqual(act.map(strip));
  });

  test("planner: paused or at peak nothing new is ordered, what is there stays (two hosts)", () => {
    const hosts = [host("a", { environments: [environment()], holdings: [held] }), host("b")];
    const two = { hosts, workloads: [workload({ placement: { hosts: 2 } })] };
    const paused = plan(input({ ...two, paused: true })).orders;
    expect(taken(paused).sort()).toEqual(["stage c@a", "warm c@a"]);
    expect(row(paused, "warm", "b")?.reason).toBe("paused");
    const peak = plan(input({ ...two, throttled: new Set(["b"]) })).orders;
    expect(row(peak, "stage", "b")?.reason).toBe("throttled");
  });

  test("planner: a host that is away gets nothing and is shown (its environment counted lost)", () => {
    const hosts = [host("a", { connected: false, environments: [environment()] }), host("b")];
    const { orders, homes } = plan(input({ hosts }));
    expect(row(orders, "warm", "a")).toMatchObject({ taken: false, reason: "host-gone" });
    expect(row(orders, "warm", "b")?.taken).toBe(true);
    expect(homes.get("w/c")).toEqual(["b"]);
  });

  test("planner: the better gain gets the last memory (room for one)", () => {
    const { orders } = plan(
      input({
        hosts: [host("a")],
        categories: () => ["rare", "often"],
        curve: (_, category) => constant(category === "often" ? 0.5 : 0.05),
        budgets: {
          stagingBytes: 1000 * MB,
          host: () => ({ memoryBytes: 200 * MB, diskBytes: 1024 * MB, environments: 8 }),
        },
      }),
    );
    const warm = orders.filter((o) => o.kind === "warm");
    expect(warm.map((o) => [o.category, o.reason])).toEqual([
      ["rare", "no-budget"],
      ["often", "forecast"],
    ]);
  });

  test("planner: a category with an unpublished artifact is not weighed (no manifest)", () => {
    expect(plan(input({ artifacts: () => null })).orders).toEqual([]);
  });
});

describe("explicit stages", () => {
  const stage = { id: "s1", need, host: "b", deadlineMs: null };
  const nothing = { curve: () => null };

  test("planner: what an operator asks for comes first and stays (again and again)", () => {
    const first = plan(input({ ...nothing, explicit: [stage] })).orders;
    expect(taken(first)).toEqual(["stage s1@b"]);
    const later = plan(input({ ...nothing, explicit: [stage], previous: first, now: NOW + 9 }));
    expect(later.orders[0]).toMatchObject({ id: "s1", taken: true, deadlineMs: NOW });
  });

  test("planner: says why an operator's wish is not done (reasons)", () => {
    const reason = (over: Partial<PlanInput>) =>
      plan(input({ ...nothing, explicit: [stage], ...over })).orders[0]?.reason;
    expect(reason({ hosts: [host("a")] })).toBe("host-gone");
    expect(reason({ paused: true })).toBe("paused");
    expect(reason({ throttled: new Set(["b"]) })).toBe("throttled");
    expect(reason({ explicit: [{ ...stage, deadlineMs: NOW - 1 }] })).toBe("explicit");
    const full = { memoryBytes: 0, diskBytes: 1 * MB, environments: 0 };
    expect(reason({ budgets: { stagingBytes: 1e12, host: () => full } })).toBe("no-budget");
  });
});

describe("planner: data should be there when it is likely to be needed", () => {
  const deadline = (arrivals: ArrivalView) => {
    const { orders } = plan(input({ curve: () => arrivals }));
    return (orders.find((o) => o.kind === "stage" && o.taken)?.deadlineMs ?? NaN) - NOW;
  };
  test.each([
    ["by its minute (a timer in 20 minutes)", timer(20), 20 * MINUTE],
    ["at once (one every minute)", constant(0.9), 0],
    ["half-way through what may come (once in a while)", constant(0.01), 25 * MINUTE],
  ])("%s", (_, arrivals, expected) => expect(deadline(arrivals)).toBe(expected));
});

test("planner: a cold arrival costs the same wherever it is weighed (data on b only)", () => {
  const workloads = [workload({ missCostSeconds: undefined })];
  const hosts = [host("a"), host("b", { holdings: [held] })];
  const { orders } = plan(input({ workloads, hosts }));
  const costs = orders.filter((o) => o.kind === "warm").map((o) => o.missCost);
  expect(costs.length).toBeGreaterThan(1);
  expect(new Set(costs)).toEqual(new Set([1])); // the start alone: a second
});

describe("steadiness", () => {
  test("planner: an order that goes on keeps its id and deadline (next minute)", () => {
    const first = plan(input()).orders;
    const later = plan(input({ now: NOW + MINUTE, previous: first })).orders;
    const ids = (orders: Order[]) => orders.filter((o) => o.taken).map((o) => [o.id, o.deadlineMs]);
    expect(ids(later)).toEqual(ids(first));
  });

  test("planner: does not move for a hair of affinity, moves for much (warm on b)", () => {
    const hosts = [host("a"), host("b", { environments: [environment()], holdings: [held] })];
    const at = (a: number, b: number) =>
      taken(
        plan(input({ hosts, curve: () => timer(1), affinity: (_, id) => (id === "a" ? a : b) }))
          .orders,
      );
    expect(at(0.6, 0.55)).toEqual(["stage c@b", "warm c@b"]);
    expect(at(0.95, 0.05)).toContain("warm c@a");
  });

  test("planner: an alternative is taken only where the best host is full", () => {
    const roomOn = (a: number) => ({
      stagingBytes: 1000 * MB,
      host: (id: string) => ({
        memoryBytes: (id === "a" ? a : 1024) * MB,
        diskBytes: 1024 * MB,
        environments: 8,
      }),
    });
    const warm = (a: number) =>
      taken(plan(input({ budgets: roomOn(a) })).orders).filter((o) => o.startsWith("warm"));
    expect(warm(1024)).toEqual(["warm c@a"]);
    expect(warm(0)).toEqual(["warm c@b"]);
  });

  test("planner: the ready environment stays until the better host is ready (moving)", () => {
    const warmOn = (...ids: string[]) =>
      ["a", "b"].map((id) =>
        host(id, ids.includes(id) ? { environments: [environment()], holdings: [held] } : {}),
      );
    const affinity = (_: string, id: string) => (id === "a" ? 0.95 : 0.05);
    const curve = () => timer(1);
    const first = plan(input({ hosts: warmOn("b"), affinity, curve })).orders;
    expect(taken(first)).toEqual(expect.arrayContaining(["warm c@a", "warm c@b"]));
    const then = plan(input({ hosts: warmOn("a", "b"), affinity, curve, previous: first })).orders;
    expect(taken(then)).toContain("warm c@a");
    expect(taken(then)).not.toContain("warm c@b");
  });

  test("planner: goes on with a start whose environment was not reported yet (next tick)", () => {
    const first = plan(input({ curve: () => timer(1) })).orders;
    const later = plan(input({ curve: () => timer(0), previous: first, now: NOW + MINUTE })).orders;
    expect(row(later, "warm", "a")?.taken).toBe(true);
  });
});

test.each([
  ["environments", "warm" as const, 0.5],
  ["data of what comes once in a while", "stage" as const, 0.001],
])("planner: no %s move while affinity only trembles (200 plans, ten categories)", (_, kind, h) => {
  const random = seededRandom("tremble");
  const categories = Array.from({ length: 10 }, (_, i) => `c${i}`);
  const ids = ["h0", "h1", "h2", "h3"];
  let hosts = ids.map((id) => host(id));
  let previous: Order[] = [];
  const places = new Set<string>();
  for (let tick = 0; tick < 200; tick++) {
    const tremble = new Map(ids.map((id) => [id, 0.6 + 0.15 * (random.next() - 0.5)]));
    previous = plan(
      input({
        now: NOW + tick * MINUTE,
        hosts,
        categories: () => categories,
        curve: () => constant(h),
        artifacts: (_, category) => [{ ...need, manifestHash: `h-${category}` }],
        affinity: (_, id) => tremble.get(id) ?? 0,
        previous,
      }),
    ).orders;
    const done = (kind: Order["kind"]) => previous.filter((o) => o.taken && o.kind === kind);
    for (const o of done(kind)) places.add(`${o.category}@${o.host}`);
    hosts = ids.map((id) =>
      host(id, {
        environments: done("warm")
          .filter((o) => o.host === id)
          .map((o) => environment({ id: o.id, category: o.category ?? "" })),
        holdings: done("stage")
          .filter((o) => o.host === id)
          .map((o) => ({ ...held, manifestHash: `h-${o.category}` })),
      }),
    );
  }
  expect(places.size).toBe(categories.length);
  if (kind === "warm")
    expect(new Set([...places].map((p) => p.split("@")[1])).size).toBeGreaterThan(1);
});

const anyWorld = fc.record({
  hosts: fc.integer({ min: 1, max: 4 }),
  categories: fc.integer({ min: 1, max: 6 }),
  placement: fc.integer({ min: 1, max: 3 }),
  memoryMb: fc.integer({ min: 0, max: 600 }),
  diskMb: fc.integer({ min: 0, max: 300 }),
  bytesMb: fc.integer({ min: 0, max: 200 }),
  environments: fc.integer({ min: 0, max: 4 }),
  seeds: fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 8, maxLength: 8 }),
});

test("planner: keeps the budgets and explains every row (any small fleet)", () => {
  fc.assert(
    fc.property(anyWorld, (world) => {
      const hosts = Array.from({ length: world.hosts }, (_, i) => host(`h${i}`));
      const categories = Array.from({ length: world.categories }, (_, i) => `c${i}`);
      const chance = (i: number) => world.seeds[i % 8] ?? 0;
      const one = input({
        hosts,
        workloads: [workload({ placement: { hosts: world.placement } })],
        categories: () => categories,
        curve: (_, c) => constant(chance(Number(c.slice(1)))),
        affinity: (_, id) => chance(Number(id.slice(1)) + 3),
        artifacts: (_, c) => [{ ...need, manifestHash: `h-${c}` }],
        budgets: {
          stagingBytes: world.bytesMb * MB,
          host: () => ({
            memoryBytes: world.memoryMb * MB,
            diskBytes: world.diskMb * MB,
            environments: world.environments,
          }),
        },
      });
      const { orders } = plan(one);
      const given = orders.filter((o) => o.taken);
      const moved = new Set(given.map((o) => `${o.host} ${o.category}`)).size * need.bytes;
      expect(moved).toBeLessThanOrEqual(world.bytesMb * MB);
      for (const { id } of hosts) {
        const here = given.filter((o) => o.host === id);
        const warm = here.filter((o) => o.kind === "warm").length;
        const disk = new Set(here.map((o) => o.category)).size * need.bytes;
        expect(warm * 128).toBeLessThanOrEqual(world.memoryMb);
        expect(warm).toBeLessThanOrEqual(world.environments);
        expect(disk).toBeLessThanOrEqual(world.diskMb * MB);
      }
      for (const category of categories) {
        const warm = given.filter((o) => o.kind === "warm" && o.category === category);
        expect(warm.length).toBeLessThanOrEqual(world.placement);
      }
      for (const o of given) expect(o.expectedGain).toBeGreaterThan(0);
      for (const o of given) expect(["forecast", "keep"]).toContain(o.reason);
      for (const o of orders.filter((r) => !r.taken))
        expect(["unlikely", "not-worth", "no-budget", "lower-score"]).toContain(o.reason);
      expect(new Set(orders.map((o) => o.id)).size).toBe(orders.length);
      expect(plan(one)).toEqual({ orders, homes: plan(one).homes });
    }),
    { numRuns: 200 },
  );
});
