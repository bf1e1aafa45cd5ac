import { afterEach, describe, expect, test } from "vitest";
import { PrestageError } from "../../shared/errors.ts";
import { PoolHarness } from "../../test/support/warm-pool.ts";
import { testWorkload } from "../../test/support/workload.ts";

const MB = 2 ** 20;
const shop = testWorkload("shop", { mode: "act" });
const blog = testWorkload("blog", { mode: "observe", keepAliveMs: 600_000 });
const open: PoolHarness[] = [];

function harness(...args: ConstructorParameters<typeof PoolHarness>): PoolHarness {
  const one = new PoolHarness(...args);
  open.push(one);
  return one;
}

afterEach(async () => {
  for (const one of open.splice(0)) {
    await one.stop();
    expect(one.driver.alive).toEqual([]);
    expect(one.pool.list()).toEqual([]);
  }
});

async function settled<T>(promise: Promise<T>): Promise<T | PrestageError | "waiting"> {
  return Promise.race([
    promise.catch((cause: unknown) => {
      if (cause instanceof PrestageError) return cause;
      throw cause;
    }),
    new Promise<"waiting">((resolve) => setImmediate(() => resolve("waiting"))),
  ]);
}

describe("a request", () => {
  test("is a miss when nothing is there, and makes it in the foreground", async () => {
    const h = harness();
    await h.clock.advance(0);
    const acquiring = h.pool.acquire(shop, "red");
    await h.clock.advance(200);
    const acquired = await acquiring;
    expect(acquired).toMatchObject({ kind: "made", waitedMs: 160, environment: { orderId: null } });
    expect(h.staged).toMatchObject([{ workload: "shop", category: "red", foreground: true }]);
    expect(h.probes).toEqual(["warmup 10000", "shadow 10000"]);
    const [{ startMs } = { startMs: null }] = h.pool.list();
    expect(startMs).toBeGreaterThan(0);
    expect(startMs).toBeLessThan(acquired.kind === "made" ? acquired.waitedMs : 0); // less staging
    acquired.release();
  });

  test("shares one making with all that arrive meanwhile, each a miss", async () => {
    const h = harness();
    await h.clock.advance(0);
    const first = h.pool.acquire(shop, "red");
    await h.clock.advance(60);
    const others = Array.from({ length: 20 }, () => h.pool.acquire(shop, "red"));
    await h.clock.advance(200);
    const all = await Promise.all([first, ...others]);
    expect(h.driver.processes).toHaveLength(1);
    expect(new Set(all.map((a) => a.kind))).toEqual(new Set(["made"]));
    expect(all.map((a) => a.waitedMs)).toEqual([160, ...others.map(() => 100)]);
    expect(h.states()).toEqual(["serving"]);
    for (const one of all) one.release();
    expect(h.states()).toEqual(["warm"]);
  });

  test("is late when a planned one is under way, which then hurries", async () => {
    const h = harness();
    h.pool.setDesired([h.keep("shop", "red")], [shop], { paused: false });
    await h.clock.advance(10);
    const acquiring = h.pool.acquire(shop, "red");
    await h.clock.advance(200);
    const acquired = await acquiring;
    expect(acquired).toMatchObject({ kind: "late", environment: { orderId: "order-shop-red" } });
    expect(h.staged.map(({ foreground, aborted }) => [foreground, aborted])).toEqual([
      [false, true],
      [true, false],
    ]);
    expect(h.driver.processes).toHaveLength(1);
    acquired.release();
  });

  test("is a hit when it is warm", async () => {
    const h = harness();
    h.pool.setDesired([h.keep("shop", "red")], [shop], { paused: false });
    await h.clock.advance(500);
    expect(h.pool.ready("shop", "red")).toBe(true);
    const acquired = await h.pool.acquire(shop, "red");
    expect(acquired).toMatchObject({
      kind: "warm",
      waitedMs: 0,
      environment: { orderId: "order-shop-red" },
    });
    acquired.release();
  });

  test("that gives up leaves the others waiting", async () => {
    const h = harness();
    await h.clock.advance(0);
    const leaving = new AbortController();
    const gone = h.pool.acquire(shop, "red", { signal: leaving.signal });
    const stays = h.pool.acquire(shop, "red");
    leaving.abort(new Error("client gone"));
    await expect(gone).rejects.toThrow("client gone");
    await h.clock.advance(300);
    (await stays).release();
    expect(h.states()).toEqual(["warm"]);
  });

  test("is refused (agent stopping)", async () => {
    const h = harness();
    await h.clock.advance(0);
    const waiting = h.pool.acquire(shop, "red");
    const refused = expect(waiting).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await h.stop();
    await refused;
    await expect(h.pool.acquire(shop, "red")).rejects.toMatchObject({ code: "UNAVAILABLE" });
    open.length = 0;
  });

  test("is refused (too many environments in the making)", async () => {
    const h = harness({ makingMax: 2 });
    await h.clock.advance(0);
    const two = [h.pool.acquire(shop, "a"), h.pool.acquire(shop, "b")];
    await expect(h.pool.acquire(shop, "c")).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await h.clock.advance(300);
    for (const one of await Promise.all(two)) one.release();
  });

  test("is refused (workload no longer declared)", async () => {
    const h = harness();
    h.pool.setDesired([], [blog], { paused: false });
    await h.clock.advance(0);
    await expect(h.pool.acquire(shop, "a")).rejects.toMatchObject({ code: "NOT_FOUND" });
  });
});

describe("an environment that fails", () => {
  test("its shadow request never gets a request, is restarted, then reported failed", async () => {
    const h = harness({ restartsMax: 2 });
    h.healthy = () => false;
    h.pool.setDesired([h.keep("shop", "red")], [shop], { paused: false });
    await h.clock.advance(0);
    const acquiring = h.pool.acquire(shop, "red");
    const refused = expect(acquiring).rejects.toMatchObject({
      code: "ENVIRONMENT_FAILED",
      message: "shadow request failed: status 500, expected 200",
    });
    await h.clock.advance(4000);
    await refused;
    expect(h.driver.processes).toHaveLength(3);
    expect(h.pool.orderStates()).toMatchObject([{ state: "failed", code: "ENVIRONMENT_FAILED" }]);
    expect(h.pool.ready("shop", "red")).toBe(false);
    // While it is paused requests are told at once, and cost no process.
    const again = await settled(h.pool.acquire(shop, "red"));
    expect(again).toMatchObject({ code: "ENVIRONMENT_FAILED" });
    expect(h.driver.processes).toHaveLength(3);
    // It heals by itself.
    h.healthy = () => true;
    await h.clock.advance(10_000);
    expect(h.pool.orderStates()).toMatchObject([{ state: "done" }]);
  });

  test("to start lets the waiting request have its successor", async () => {
    const h = harness();
    let launches = 0;
    h.driver.failLaunch = () => launches++ === 0;
    await h.clock.advance(0);
    const acquiring = h.pool.acquire(shop, "red");
    await h.clock.advance(2000);
    const acquired = await acquiring;
    expect(acquired.kind).toBe("made");
    expect(h.pool.list()).toMatchObject([{ restarts: 1, state: "serving" }]);
    acquired.release();
  });

  test("to be staged for want of the artifact tells the request at once", async () => {
    const h = harness();
    h.stageError = new PrestageError("NOT_FOUND", "no artifact model-red");
    await h.clock.advance(0);
    const acquiring = h.pool.acquire(shop, "red");
    const refused = expect(acquiring).rejects.toMatchObject({ code: "NOT_FOUND" });
    await h.clock.advance(60);
    await refused;
    expect(h.driver.processes).toEqual([]);
  });

  test("by dying while warm is replaced (planned), soon but not at once", async () => {
    const h = harness();
    h.pool.setDesired([h.keep("shop", "red")], [shop], { paused: false });
    await h.clock.advance(500);
    h.driver.processes[0]?.crash();
    await h.clock.advance(50);
    expect(h.pool.ready("shop", "red")).toBe(false);
    await h.clock.advance(2000);
    expect(h.pool.ready("shop", "red")).toBe(true);
    expect(h.pool.list()).toMatchObject([{ restarts: 1, planned: true }]);
    expect(h.pool.takeWaste()).toEqual([]);
  });

  test("a request gets no other before a shadow request passed again", async () => {
    const h = harness();
    await h.clock.advance(0);
    const first = h.pool.acquire(shop, "red");
    await h.clock.advance(200);
    (await first).release(true);
    expect(h.pool.ready("shop", "red")).toBe(false);
    const next = h.pool.acquire(shop, "red");
    expect(await settled(next)).toBe("waiting");
    await h.clock.advance(5);
    expect(await settled(next)).toMatchObject({ waitedMs: 5 });
    expect(h.driver.processes).toHaveLength(1);
    (await next).release();
  });

  test("a request and then its shadow is replaced for those who wait", async () => {
    const h = harness();
    await h.clock.advance(0);
    const first = h.pool.acquire(shop, "red");
    await h.clock.advance(200);
    h.healthy = (port) => port !== 10_000;
    (await first).release(true);
    const next = h.pool.acquire(shop, "red");
    await h.clock.advance(2000);
    expect((await next).environment.port).toBe(10_001);
    (await next).release();
  });
});

describe("what is idle", () => {
  test("is dropped after keep-alive (not in act mode)", async () => {
    const h = harness();
    h.pool.setDesired([], [blog], { paused: false });
    await h.clock.advance(0);
    const acquiring = h.pool.acquire(blog, "x");
    await h.clock.advance(200);
    (await acquiring).release();
    await h.clock.advance(599_000);
    expect(h.states()).toEqual(["warm"]);
    (await h.pool.acquire(blog, "x")).release();
    await h.clock.advance(599_000);
    expect(h.states()).toEqual(["warm"]);
    await h.clock.advance(2000);
    expect(h.states()).toEqual([]);
  });

  test("is dropped after the grace (act mode, not in the plan)", async () => {
    const h = harness();
    h.pool.setDesired([], [shop], { paused: false });
    await h.clock.advance(0);
    const acquiring = h.pool.acquire(shop, "x");
    await h.clock.advance(200);
    (await acquiring).release();
    await h.clock.advance(59_000);
    expect(h.states()).toEqual(["warm"]);
    await h.clock.advance(2000);
    expect(h.states()).toEqual([]);
  });

  test("stays for its keep-alive while there is no coordinator (act mode)", async () => {
    const h = harness();
    h.pool.setDesired([h.keep("shop", "planned")], [shop], { paused: false });
    h.pool.setConnected(false);
    await h.clock.advance(0);
    const acquiring = h.pool.acquire(shop, "x");
    await h.clock.advance(200);
    (await acquiring).release();
    await h.clock.advance(500_000);
    expect(h.states()).toEqual(["warm", "warm"]);
    await h.clock.advance(7 * 24 * 3_600_000);
    expect(h.pool.list()).toMatchObject([{ category: "planned", state: "warm" }]);
  });

  test("stays as long as the plan lists it; dropped unused it is wasted", async () => {
    const h = harness();
    h.pool.setDesired([h.keep("shop", "red")], [shop], { paused: false });
    await h.clock.advance(3_600_000);
    expect(h.states()).toEqual(["warm"]);
    h.pool.setDesired([], [shop], { paused: false });
    await h.clock.advance(20);
    expect(h.states()).toEqual([]);
    const [row, ...more] = h.pool.takeWaste();
    expect(more).toEqual([]);
    expect(row).toMatchObject({ kind: "wasted", orderId: "order-shop-red", host: "h1" });
    // 50 ms of staging hold nothing; stopping takes 10 ms.
    expect(row?.memoryByteMs).toBe((3_600_000 - 50 + 10) * 128 * MB);
  });

  test("dropped after use by the plan is no waste, and waits for requests in flight", async () => {
    const h = harness();
    h.pool.setDesired([h.keep("shop", "red")], [shop], { paused: false });
    await h.clock.advance(500);
    const acquired = await h.pool.acquire(shop, "red");
    h.pool.setDesired([], [shop], { paused: false });
    await h.clock.advance(5000);
    expect(h.states()).toEqual(["serving"]);
    acquired.release();
    await h.clock.advance(20);
    expect(h.states()).toEqual([]);
    expect(h.pool.takeWaste()).toEqual([]);
  });

  test("goes first to make room for a waiting request, the longest idle of the unplanned", async () => {
    const h = harness({ memoryBytesMax: 3 * 128 * MB });
    h.pool.setDesired([h.keep("shop", "planned")], [shop], { paused: false });
    await h.clock.advance(500);
    for (const category of ["old", "new"]) {
      const acquiring = h.pool.acquire(shop, category);
      await h.clock.advance(500);
      (await acquiring).release();
    }
    const acquiring = h.pool.acquire(shop, "wanted");
    await h.clock.advance(500);
    (await acquiring).release();
    expect(h.pool.list().map((one) => one.category)).toEqual(["planned", "new", "wanted"]);
  });
});

describe("the budget", () => {
  test("makes a request wait for memory in use, and serves it when that is free", async () => {
    const h = harness({ memoryBytesMax: 128 * MB });
    await h.clock.advance(0);
    const first = h.pool.acquire(shop, "a");
    await h.clock.advance(500);
    const holding = await first;
    const second = h.pool.acquire(shop, "b");
    await h.clock.advance(5000);
    expect(await settled(second)).toBe("waiting");
    expect(h.driver.alive).toHaveLength(1);
    holding.release();
    await h.clock.advance(500);
    (await second).release();
  });

  test("refuses what can never fit", async () => {
    const h = harness({ memoryBytesMax: 64 * MB });
    await h.clock.advance(0);
    const refused = expect(h.pool.acquire(shop, "a")).rejects.toMatchObject({
      code: "UNAVAILABLE",
    });
    await h.clock.advance(500);
    await refused;
  });

  test("lets the plan start few at once, the most urgent first", async () => {
    const h = harness({ plannedStartsMax: 1 });
    h.pool.setDesired(
      [
        h.keep("shop", "low", { priority: 1 }),
        h.keep("shop", "later", { priority: 5, deadlineMs: 9e12 }),
        h.keep("shop", "soon", { priority: 5 }),
      ],
      [shop],
      { paused: false },
    );
    await h.clock.advance(1000);
    const started = h.driver.processes.map((process) => process.spec.category);
    // The first to be staged finds room; then urgency decides.
    expect(started).toEqual(["low", "soon", "later"]);
  });
});

describe("a desired state", () => {
  test("that is paused starts nothing and stops what is only planned", async () => {
    const h = harness();
    h.pool.setDesired([h.keep("shop", "a")], [shop], { paused: false });
    await h.clock.advance(10);
    h.pool.setDesired([h.keep("shop", "a"), h.keep("shop", "b")], [shop], { paused: true });
    await h.clock.advance(1000);
    expect(h.states()).toEqual([]);
    expect(h.staged).toMatchObject([{ category: "a", aborted: true }]);
    h.pool.setDesired([h.keep("shop", "a")], [shop], { paused: false });
    await h.clock.advance(1000);
    expect(h.states()).toEqual(["warm"]);
  });

  test("with a changed workload replaces its environments, after their requests", async () => {
    const h = harness();
    h.pool.setDesired([h.keep("shop", "a")], [shop], { paused: false });
    await h.clock.advance(1000);
    const acquired = await h.pool.acquire(shop, "a");
    const changed = testWorkload("shop", { mode: "act", environment: { command: ["other"] } });
    h.pool.setDesired([h.keep("shop", "a")], [changed], { paused: false });
    await h.clock.advance(1000);
    expect(h.states().sort()).toEqual(["draining", "warm"]);
    acquired.release();
    await h.clock.advance(50);
    expect(h.driver.alive.map((p) => p.spec.workload.environment.command)).toEqual([["other"]]);
  });

  test("without a workload drains it, and cuts requests at the deadline", async () => {
    const h = harness({ drainMs: 1000 });
    await h.clock.advance(0);
    const acquiring = h.pool.acquire(shop, "a");
    await h.clock.advance(500);
    const acquired = await acquiring;
    h.pool.setDesired([], [], { paused: false });
    await h.clock.advance(900);
    expect(h.states()).toEqual(["draining"]);
    await h.clock.advance(200);
    expect(h.states()).toEqual([]);
    acquired.release();
  });

  test("takes over what a request made, and requests then name the order", async () => {
    const h = harness();
    await h.clock.advance(0);
    const acquiring = h.pool.acquire(shop, "a");
    await h.clock.advance(500);
    (await acquiring).release();
    h.pool.setDesired([h.keep("shop", "a")], [shop], { paused: false });
    await h.clock.advance(1_000_000);
    expect(h.pool.list()).toMatchObject([{ planned: true }]);
    const acquired = await h.pool.acquire(shop, "a");
    expect(acquired.environment.orderId).toBe("order-shop-a");
    acquired.release();
    expect(h.driver.processes).toHaveLength(1);
  });
});

test("memory-time is split by who wanted it and counts from warming to gone", async () => {
  const h = harness();
  h.pool.setDesired([], [blog], { paused: false });
  await h.clock.advance(0);
  const acquiring = h.pool.acquire(blog, "x");
  await h.clock.advance(50 + 1000);
  (await acquiring).release();
  h.pool.setDesired([h.keep("blog", "x")], [blog], { paused: false });
  await h.clock.advance(500);
  expect(h.pool.takeMemoryTime()).toEqual([
    {
      workload: "blog",
      category: "x",
      unplannedByteMs: 1000 * 128 * MB,
      plannedByteMs: 500 * 128 * MB,
    },
  ]);
  expect(h.pool.takeMemoryTime()).toEqual([]);
});

test("changes are told once a turn", async () => {
  const h = harness();
  let told = 0;
  const end = h.pool.onChange(() => told++);
  h.pool.setDesired([h.keep("shop", "a"), h.keep("shop", "b")], [shop], { paused: false });
  await h.clock.advance(0);
  expect(told).toBe(1);
  end();
  await h.clock.advance(1000);
  expect(told).toBe(1);
});
