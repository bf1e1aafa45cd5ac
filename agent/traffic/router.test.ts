import { createServer, request as httpRequest, type RequestListener, type Server } from "node:http";
import { connect } from "node:net";
import { afterEach, expect, test } from "vitest";
import type { Member, Outcome, RouteEntry } from "../../shared/domain.ts";
import { PrestageError } from "../../shared/errors.ts";
import { assert } from "../../shared/runtime/assert.ts";
import { systemClock } from "../../shared/runtime/clock.ts";
import { silentLog } from "../../shared/runtime/log.ts";
import { Metrics } from "../../shared/runtime/metrics.ts";
import { testWorkload } from "../../test/support/workload.ts";
import type { RouterPool } from "./exchange.ts";
import { Router } from "./router.ts";

const shop = testWorkload("shop", {
  category: { from: "path", segment: 1, default: "none" },
  mode: "act",
});
const servers: Server[] = [];
const hosts: Host[] = [];

afterEach(async () => {
  for (const host of hosts.splice(0)) await host.stop();
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

async function upstream(listener: RequestListener): Promise<number> {
  const server = createServer(listener);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return portOf(server);
}

function portOf(server: Server): number {
  const address = server.address();
  assert(address !== null && typeof address !== "string", "it listens");
  return address.port;
}

type Give = { kind?: "warm" | "late" | "made"; port: number; waitedMs?: number } | PrestageError;

/** A router with a pool that gives what a test says, in turn; the last one again and again. */
class Host {
  readonly name: string;
  gives: Give[] = [];
  isReady = false;
  members: Member[] = [];
  readonly outcomes: Outcome[] = [];
  readonly demand: string[] = [];
  readonly released: boolean[] = [];
  acquired = 0;
  readonly router: Router;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;

  constructor(name: string, options: { waitMsMax?: number; requestsMax?: number } = {}) {
    this.name = name;
    this.router = new Router(
      {
        clock: systemClock,
        demandClock: systemClock,
        log: silentLog,
        metrics: new Metrics(),
        self: name,
        members: () => this.members,
        pool: this.#pool(),
        onDemand: (workload, category) => this.demand.push(`${workload}/${category}`),
        onOutcome: (outcome) => this.outcomes.push(outcome),
      },
      { host: "127.0.0.1", port: 0, drainMs: 200, ...options },
    );
    this.router.setWorkloads([shop]);
    this.#running = this.router.run(this.#stop.signal);
    hosts.push(this);
  }

  get url(): string {
    return `http://127.0.0.1:${this.router.address().port}`;
  }

  setEntry(entry: Partial<RouteEntry>): void {
    const whole = { workload: "shop", category: "red", serving: [], home: [], ...entry };
    this.router.setRoutes({ version: 1, entries: [whole] });
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  #pool(): RouterPool {
    return {
      ready: () => this.isReady,
      making: () => false,
      acquire: async (_workload, _category, { signal }) => {
        this.acquired++;
        const give = this.gives.length > 1 ? this.gives.shift() : this.gives[0];
        if (!give) {
          await new Promise((_, reject) => {
            signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
          });
        }
        assert(give !== undefined, "the test gives something");
        if (give instanceof PrestageError) throw give;
        return {
          kind: give.kind ?? "warm",
          environment: { id: "e", port: give.port, orderId: "order 1/é" },
          waitedMs: give.waitedMs ?? 0,
          memoryByteMs: 9,
          release: (failed = false) => {
            this.released.push(failed);
          },
        };
      },
    };
  }
}

async function host(name: string, options?: ConstructorParameters<typeof Host>[1]): Promise<Host> {
  const one = new Host(name, options);
  await one.router.started;
  return one;
}

function know(...all: Host[]): void {
  const members = all.map((one) => ({
    host: one.name,
    site: "s",
    peerId: "p",
    meshAddresses: [],
    routerUrl: one.url,
  }));
  for (const one of all) one.members = members;
}

const echo: RequestListener = (request, response) => {
  response.setHeader("x-method", request.method ?? "");
  response.setHeader("x-seen", JSON.stringify(request.headers));
  response.setHeader("set-cookie", ["a=1", "b=2"]);
  request.pipe(response);
};

test("router: passes request and answer on, and records one outcome", async () => {
  const h = await host("h1");
  h.gives = [{ port: await upstream(echo) }];
  const answer = await fetch(`${h.url}/shop/red/x?y=1`, {
    method: "POST",
    body: "hello",
    headers: { "x-mine": "1", "prestage-shadow": "1" },
  });
  expect(await answer.text()).toBe("hello");
  expect(answer.headers.get("prestage-outcome")).toBe("hit");
  expect(answer.headers.get("server-timing")).toMatch(/^prestage;desc=hit;dur=0.0$/);
  expect(answer.headers.get("prestage-order")).toBeNull();
  expect(answer.headers.getSetCookie()).toEqual(["a=1", "b=2"]);
  const seen = JSON.parse(answer.headers.get("x-seen") ?? "{}");
  expect(seen).toMatchObject({ "x-mine": "1", "x-forwarded-for": "127.0.0.1" });
  expect(seen["prestage-shadow"]).toBeUndefined();
  expect(h.demand).toEqual(["shop/red"]);
  expect(h.outcomes).toMatchObject([
    { kind: "hit", workload: "shop", category: "red", host: "h1", status: 200, memoryByteMs: 9 },
  ]);
  expect(h.outcomes[0]?.firstByteMs).toBeGreaterThan(0);
  expect(h.released).toEqual([false]);
});

test("router: streams both ways (first parts arrive before the last is sent)", async () => {
  const h = await host("h1");
  h.gives = [{ port: await upstream((request, response) => request.pipe(response)) }];
  const { promise: first, resolve } = Promise.withResolvers<string>();
  const sending = httpRequest(`${h.url}/shop/red`, { method: "POST" });
  let text = "";
  const whole = new Promise<string>((done) => {
    sending.on("response", (answer) => {
      answer.on("data", (chunk: Buffer) => {
        text += chunk;
        resolve(text);
      });
      answer.on("end", () => done(text));
    });
  });
  sending.write("one ");
  expect(await first).toBe("one ");
  sending.end("two");
  expect(await whole).toBe("one two");
});

test("router: the head goes out before a body that takes its time", async () => {
  const h = await host("h1");
  let finish = () => {};
  const port = await upstream((_, response) => {
    response.flushHeaders();
    finish = () => response.end("done");
  });
  h.gives = [{ port }];
  const answer = await fetch(`${h.url}/shop/red`);
  expect(h.outcomes).toHaveLength(1);
  finish();
  expect(await answer.text()).toBe("done");
});

test("router: answers 404 with the remedy (no workload matches)", async () => {
  const h = await host("h1");
  const answer = await fetch(`${h.url}/nobody`);
  expect(answer.status).toBe(404);
  expect(await answer.json()).toMatchObject({
    error: { code: "NOT_FOUND", remedy: expect.stringContaining("prestage apply") },
  });
  expect([h.demand, h.outcomes]).toEqual([[], []]);
});

test("router: answers 503 with Retry-After when nothing can be made: a miss", async () => {
  const h = await host("h1");
  h.gives = [new PrestageError("UNAVAILABLE", "no room", { details: { retryAfterMs: 2500 } })];
  const answer = await fetch(`${h.url}/shop/red`);
  expect([answer.status, answer.headers.get("retry-after")]).toEqual([503, "3"]);
  expect(await answer.json()).toMatchObject({ error: { code: "UNAVAILABLE" } });
  expect(h.outcomes).toMatchObject([{ kind: "miss", status: 503 }]);
});

test("router: answers 504 when an environment takes too long", async () => {
  const h = await host("h1", { waitMsMax: 50 });
  const answer = await fetch(`${h.url}/shop/red`);
  expect(answer.status).toBe(504);
  expect(h.outcomes).toMatchObject([{ kind: "miss", status: 504 }]);
});

test("router: refuses what is too much at once", async () => {
  const h = await host("h1", { requestsMax: 1, waitMsMax: 300 });
  const first = fetch(`${h.url}/shop/red`);
  await expect.poll(() => h.acquired).toBe(1);
  expect((await fetch(`${h.url}/shop/red`)).status).toBe(503);
  expect((await first).status).toBe(504);
});

const dead = () =>
  upstream(() => {}).then((port) => {
    servers.pop()?.close();
    return port;
  });
const resets: RequestListener = (request) => request.socket.destroy();

test.each([
  ["GET", "connection refused", dead, 200],
  ["GET", "reset without an answer", () => upstream(resets), 200],
  ["PUT", "reset without an answer", () => upstream(resets), 200],
  ["POST", "connection refused: nothing was sent", dead, 200],
  ["POST", "reset: it may have happened", () => upstream(resets), 502],
])("router: %s on a dead environment (%s)", async (method, _, bad, status) => {
  const h = await host("h1");
  h.gives = [{ port: await bad() }, { port: await upstream(echo), kind: "made", waitedMs: 3 }];
  const body = method === "GET" ? undefined : "small body";
  const answer = await fetch(`${h.url}/shop/red`, { method, body });
  expect(answer.status).toBe(status);
  if (status === 200) {
    expect(await answer.text()).toBe(body ?? "");
    expect(h.outcomes).toMatchObject([{ kind: "miss", status: 200 }]);
  } else {
    expect(await answer.json()).toMatchObject({ error: { code: "ENVIRONMENT_FAILED" } });
    expect(h.outcomes).toMatchObject([{ status }]);
  }
  expect(h.released).toEqual(status === 200 ? [true, false] : [true]);
});

test("router: repeats once, not for ever", async () => {
  const h = await host("h1");
  h.gives = [{ port: await dead() }];
  expect((await fetch(`${h.url}/shop/red`)).status).toBe(502);
  expect(h.released).toEqual([true, true]);
});

test("router: an answer that breaks off breaks off for the client too", async () => {
  const h = await host("h1");
  const port = await upstream((request, response) => {
    response.writeHead(200, { "content-length": "100" });
    response.write("part");
    setImmediate(() => request.socket.destroy());
  });
  h.gives = [{ port }];
  await expect(fetch(`${h.url}/shop/red`).then((a) => a.text())).rejects.toThrow();
  expect(h.outcomes).toMatchObject([{ status: 200 }]);
  await expect.poll(() => h.released).toEqual([false]);
});

test("router: a client that leaves aborts the wait", async () => {
  const h = await host("h1");
  const leaving = new AbortController();
  const asking = fetch(`${h.url}/shop/red`, { signal: leaving.signal });
  const refused = expect(asking).rejects.toThrow();
  await expect.poll(() => h.acquired).toBe(1);
  leaving.abort();
  await refused;
  await expect.poll(() => h.outcomes).toMatchObject([{ kind: "miss", status: 499 }]);
});

test("router: a client that leaves aborts the upstream", async () => {
  const h = await host("h1");
  let closed = false;
  const port = await upstream((request, response) => {
    response.write("part");
    request.socket.once("close", () => {
      closed = true;
    });
  });
  h.gives = [{ port }];
  const leaving = new AbortController();
  const answer = await fetch(`${h.url}/shop/red`, { signal: leaving.signal });
  leaving.abort();
  await expect(answer.text()).rejects.toThrow();
  await expect.poll(() => closed).toBe(true);
  expect(h.released).toEqual([false]);
});

test("router: another host serves; demand and outcome are recorded where it entered", async () => {
  const [a, b] = [await host("a"), await host("b")];
  know(a, b);
  a.setEntry({ serving: ["b"] });
  b.gives = [{ port: await upstream(echo), kind: "late", waitedMs: 12 }];
  const answer = await fetch(`${a.url}/shop/red`, { method: "POST", body: "over there" });
  expect(await answer.text()).toBe("over there");
  expect(answer.headers.get("prestage-outcome")).toBe("late");
  for (const name of ["prestage-waited-ms", "prestage-order", "prestage-memory-byte-ms"])
    expect(answer.headers.get(name)).toBeNull();
  expect(JSON.parse(answer.headers.get("x-seen") ?? "")["prestage-hop"]).toBeUndefined();
  expect([a.demand, b.demand, b.outcomes]).toEqual([["shop/red"], [], []]);
  expect(a.outcomes).toMatchObject([
    { kind: "late", host: "b", orderId: "order 1/é", memoryByteMs: 9, status: 200 },
  ]);
  expect(a.acquired).toBe(0);
});

test("router: a hop is served or refused there, never sent on", async () => {
  const [a, b, c] = [await host("a"), await host("b"), await host("c")];
  know(a, b, c);
  a.setEntry({ serving: ["b"] });
  b.setEntry({ serving: ["c"], home: ["c"] });
  const full = new PrestageError("UNAVAILABLE", "no room");
  b.gives = [full];
  a.gives = [{ port: await upstream(echo), kind: "made" }];
  const answer = await fetch(`${a.url}/shop/red`, { method: "POST", body: "again" });
  expect(await answer.text()).toBe("again");
  expect([a.acquired, b.acquired, c.acquired]).toEqual([1, 1, 0]);
  expect(a.outcomes).toMatchObject([{ kind: "miss", host: "a" }]);
});

test("router: hosts that are gone are passed over, twice at most, then it is made here", async () => {
  const [a, b, c, d] = [await host("a"), await host("b"), await host("c"), await host("d")];
  know(a, b, c, d);
  a.setEntry({ serving: ["b", "c", "d"] });
  d.gives = [{ port: await upstream(echo) }];
  await b.stop();
  await c.stop();
  a.gives = [{ port: await upstream(echo), kind: "made" }];
  const answer = await fetch(`${a.url}/shop/red`);
  expect(answer.status).toBe(200);
  expect([a.acquired, d.acquired]).toEqual([1, 0]);
});

test("router: a host that does not answer at all holds a request up for a second at most", async () => {
  const [a, b] = [await host("a"), await host("b")];
  know(a, b);
  // An address for documentation: nobody is there.
  a.members = a.members.map((m) => (m.host === "b" ? { ...m, routerUrl: "http://192.0.2.1" } : m));
  a.setEntry({ serving: ["b"] });
  a.gives = [{ port: await upstream(echo), kind: "made" }];
  const answer = await fetch(`${a.url}/shop/red`, { method: "POST", body: "still whole" });
  expect(await answer.text()).toBe("still whole");
  expect(a.outcomes[0]?.firstByteMs).toBeLessThan(30_000);
});

test("router: a workload the other host does not know yet is tried elsewhere", async () => {
  const [a, b] = [await host("a"), await host("b")];
  know(a, b);
  b.router.setWorkloads([]);
  a.setEntry({ home: ["b", "a"] });
  a.gives = [{ port: await upstream(echo), kind: "made" }];
  expect((await fetch(`${a.url}/shop/red`)).status).toBe(200);
  expect(a.acquired).toBe(1);
});

test("router: what is ready here stays here, whatever the table", async () => {
  const [a, b] = [await host("a"), await host("b")];
  know(a, b);
  a.setEntry({ serving: ["b"] });
  a.isReady = true;
  a.gives = [{ port: await upstream(echo) }];
  expect((await fetch(`${a.url}/shop/red`)).status).toBe(200);
  expect([a.acquired, b.acquired]).toEqual([1, 0]);
});

test.each([["here"], ["there"]])("router: a WebSocket upgrade passes (%s)", async (where) => {
  const [a, b] = [await host("a"), await host("b")];
  know(a, b);
  const server = createServer();
  server.on("upgrade", (_, socket) => {
    socket.write(
      "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
    );
    socket.on("data", (chunk) => socket.write(`echo ${chunk}`));
    socket.on("end", () => socket.end());
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const serving = where === "here" ? a : b;
  serving.gives = [{ port: portOf(server), kind: "late" }];
  if (where === "there") a.setEntry({ serving: ["b"] });
  const socket = connect(a.router.address().port, "127.0.0.1");
  let text = "";
  socket.on("data", (chunk) => {
    text += chunk;
  });
  socket.write(
    "GET /shop/red HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n",
  );
  await expect.poll(() => text).toMatch(/^HTTP\/1.1 101 /);
  socket.write("hello");
  await expect.poll(() => text).toMatch(/echo hello$/);
  expect(a.outcomes).toMatchObject([{ kind: "late", host: serving.name, status: 101 }]);
  expect(b.outcomes).toEqual([]);
  socket.end();
  await expect.poll(() => serving.released).toEqual([false]);
});

test("router: an upgrade that finds no environment is answered 503, a miss", async () => {
  const h = await host("h1");
  h.gives = [new PrestageError("UNAVAILABLE", "no room")];
  const socket = connect(h.router.address().port, "127.0.0.1");
  socket.write(
    "GET /shop/red HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
  );
  const text = await new Promise((resolve) => socket.once("data", (chunk) => resolve(`${chunk}`)));
  expect(text).toMatch(/^HTTP\/1.1 503 /);
  expect(h.outcomes).toMatchObject([{ kind: "miss", status: 503 }]);
});

test("router: a refused upgrade ends the connection", async () => {
  const h = await host("h1");
  const socket = connect(h.router.address().port, "127.0.0.1");
  socket.write(
    "GET /none HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
  );
  const text = await new Promise((resolve) => socket.once("data", (chunk) => resolve(`${chunk}`)));
  expect(text).toMatch(/^HTTP\/1.1 404 /);
});
