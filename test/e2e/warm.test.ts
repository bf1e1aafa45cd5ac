/** Router, pool and real processes together: what a request finds, and what it never finds. */
import { expect, test } from "vitest";
import { z } from "zod";
import { processesOf, startTicksOf } from "../../agent/warm/orphans.ts";
import { sendSignal } from "../../shared/runtime/signal.ts";
import { serverCommand, temporaryDir } from "../support/servers.ts";
import { startWarmHost } from "../support/warm-host.ts";
import { testWorkload } from "../support/workload.ts";

async function shopIn(dir: string, env: Record<string, string> = {}) {
  return testWorkload("shop", {
    mode: "act",
    category: { from: "path", segment: 1, default: "none" },
    environment: {
      command: await serverCommand(dir),
      env,
      readiness: { path: "/ready" },
      warmup: [{ path: "/shop/warm-me", method: "GET" }],
    },
    shadow: {
      request: { path: "/shop/shadow", method: "GET", headers: {} },
      expect: { status: 200, maxMs: 5000 },
    },
  });
}

async function pidOf(answer: Response): Promise<number> {
  const { pid } = z.object({ pid: z.number() }).parse(await answer.json());
  return pid;
}

function keep(category: string) {
  return { orderId: `o-${category}`, workload: "shop", category, priority: 1, deadlineMs: 0 };
}

test("a first request is a miss, shared by all that come meanwhile; the next is a hit", async () => {
  await using temporary = await temporaryDir();
  const shop = await shopIn(temporary.dir, { READY_AFTER_MS: "300" });
  const host = await startWarmHost("h1", temporary.dir, [shop]);
  const answers = await Promise.all(
    Array.from({ length: 20 }, () => fetch(`${host.url}/shop/red/x`)),
  );
  const pids = new Set(await Promise.all(answers.map(pidOf)));
  expect(pids.size).toBe(1);
  expect(new Set(host.outcomes.map((o) => o.kind))).toEqual(new Set(["miss"]));
  const hit = await fetch(`${host.url}/shop/red/seen`);
  // Warm-up ran before the shadow request, and neither was counted.
  expect(await hit.json()).toEqual(["/ready", "/shop/warm-me", "/shop/shadow"]);
  expect(hit.headers.get("prestage-outcome")).toBe("hit");
  expect(host.demand).toHaveLength(21);
  expect(host.outcomes.map((o) => o.kind).filter((kind) => kind === "hit")).toHaveLength(1);
  const [miss, warm] = [host.outcomes[0], host.outcomes[20]];
  expect(miss?.waitedMs).toBeGreaterThan(300);
  expect(miss?.firstByteMs).toBeGreaterThanOrEqual(miss?.waitedMs ?? 0);
  expect(warm?.firstByteMs).toBeLessThan(miss?.firstByteMs ?? 0);
  await host.stop();
  for (const pid of pids) expect(await startTicksOf(pid)).toBeNull();
});

test("a planned environment turns the same request into a hit, or late while under way", async () => {
  await using temporary = await temporaryDir();
  const shop = await shopIn(temporary.dir, { READY_AFTER_MS: "200" });
  const host = await startWarmHost("h1", temporary.dir, [shop]);
  host.pool.setDesired([keep("red"), keep("blue")], [shop], { paused: false });
  const late = await fetch(`${host.url}/shop/red`);
  expect(late.headers.get("prestage-outcome")).toBe("late");
  await expect.poll(() => host.pool.ready("shop", "blue"), { timeout: 60_000 }).toBe(true);
  const hit = await fetch(`${host.url}/shop/blue`);
  expect(hit.headers.get("prestage-outcome")).toBe("hit");
  expect(host.outcomes.map((o) => [o.kind, o.orderId])).toEqual([
    ["late", "o-red"],
    ["hit", "o-blue"],
  ]);
  await host.stop();
});

test("an environment killed under load: repeatable requests all succeed", async () => {
  await using temporary = await temporaryDir();
  const shop = await shopIn(temporary.dir);
  const host = await startWarmHost("h1", temporary.dir, [shop]);
  host.pool.setDesired([keep("red")], [shop], { paused: false });
  const pid = await pidOf(await fetch(`${host.url}/shop/red`));
  const ask = async () => {
    const answer = await fetch(`${host.url}/shop/red/slow?ms=1000`);
    return [answer.status, await pidOf(answer)];
  };
  const asking = Array.from({ length: 10 }, ask);
  await expect.poll(() => host.demand.length, { timeout: 60_000 }).toBe(11);
  sendSignal(pid, "SIGKILL");
  const answers = await Promise.all(asking);
  expect(new Set(answers.map(([status]) => status))).toEqual(new Set([200]));
  expect(answers.some(([, other]) => other !== pid)).toBe(true);
  await host.stop();
});

test("an environment that fails its shadow request never gets a request", async () => {
  await using temporary = await temporaryDir();
  const shop = await shopIn(temporary.dir, { BAD_SHADOW: "1" });
  const host = await startWarmHost("h1", temporary.dir, [shop], { restartsMax: 1 });
  const answer = await fetch(`${host.url}/shop/red`);
  expect(answer.status).toBe(502);
  expect(await answer.json()).toMatchObject({
    error: {
      code: "ENVIRONMENT_FAILED",
      message: expect.stringContaining("GET /shop/shadow: status 500, expected 200"),
      details: { output: expect.stringContaining("starting on") },
    },
  });
  expect(host.outcomes).toMatchObject([{ kind: "miss", status: 502 }]);
  await host.stop();
});

test("another host's environment serves a request that enters here; its loss is made good", async () => {
  await using temporary = await temporaryDir();
  await using other = await temporaryDir();
  const [a, b] = [
    await startWarmHost("a", temporary.dir, [await shopIn(temporary.dir)]),
    await startWarmHost("b", other.dir, [await shopIn(other.dir)]),
  ];
  const members = [a, b].map(({ url }, i) => ({
    host: i === 0 ? "a" : "b",
    site: "s",
    peerId: "",
    meshAddresses: [],
    routerUrl: url,
  }));
  a.members = members;
  a.router.setRoutes({
    version: 1,
    entries: [{ workload: "shop", category: "red", serving: ["b"], home: ["b", "a"] }],
  });
  expect((await fetch(`${a.url}/shop/red`)).headers.get("prestage-outcome")).toBe("miss");
  expect((await fetch(`${a.url}/shop/red`)).headers.get("prestage-outcome")).toBe("hit");
  expect([a.pool.list().length, b.pool.list().length]).toEqual([0, 1]);
  await b.stop();
  expect((await fetch(`${a.url}/shop/red`)).headers.get("prestage-outcome")).toBe("miss");
  expect(a.outcomes.map((o) => [o.kind, o.host])).toEqual([
    ["miss", "b"],
    ["hit", "b"],
    ["miss", "a"],
  ]);
  expect(b.outcomes).toEqual([]);
  const ids = new Set(a.pool.list().map((one) => one.id));
  expect(await processesOf(ids)).toHaveLength(1);
  await a.stop();
  expect(await processesOf(ids)).toEqual([]);
});
