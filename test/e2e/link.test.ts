/** Agent and coordinator over real sockets and real mutual TLS on loopback. */
import { once } from "node:events";
import { createServer, type Server } from "node:https";
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from "node:net";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { Link } from "../../agent/link/link.ts";
import type { SessionOptions } from "../../agent/link/session.ts";
import { type LinkTls, WsTransport } from "../../agent/link/ws-transport.ts";
import { AGENT_SESSION_DEFAULTS } from "../../coordinator/gateway/session.ts";
import {
  type SessionHandlers,
  Sessions,
  type SessionsOptions,
} from "../../coordinator/gateway/sessions.ts";
import { PrestageError } from "../../shared/errors.ts";
import type { Hello, Report } from "../../shared/protocol/bodies.ts";
import { decode, encode, frame } from "../../shared/protocol/codec.ts";
import type { DownMessage } from "../../shared/protocol/messages.ts";
import { systemClock } from "../../shared/runtime/clock.ts";
import { silentLog } from "../../shared/runtime/log.ts";
import { Metrics } from "../../shared/runtime/metrics.ts";
import { seededRandom, systemRandom } from "../../shared/runtime/random.ts";
import { identifyBySan, makeTestCa, type TestCa, type TestCertificate } from "../support/certs.ts";
import { bin, desiredState, helloFacts, outcome, reportFacts } from "../support/messages.ts";

let ca: TestCa;
let serverTls: TestCertificate;
let agentTls: LinkTls;
const cleanups: (() => Promise<void>)[] = [];

beforeAll(async () => {
  ca = await makeTestCa();
  serverTls = await ca.server();
  agentTls = { ca: ca.caPem, ...(await ca.agent("host-a")), serverName: "localhost" };
});

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

type Coordinator = {
  server: Server;
  sessions: Sessions;
  port: number;
  metrics: Metrics;
  reports: Report[];
  hellos: Hello[];
  ended: number;
  /** Every item taken over, by key: how often. */
  items: Map<string, number>;
};

async function startCoordinator(
  handlers: Partial<SessionHandlers> = {},
  session: Partial<typeof AGENT_SESSION_DEFAULTS> = {},
  port = 0,
  options: Partial<SessionsOptions> = {},
  batch: (moment: "arrives" | "stored", seq: number) => void = () => {},
): Promise<Coordinator> {
  const server = createServer({
    ...serverTls,
    ca: ca.caPem,
    requestCert: true,
    rejectUnauthorized: false,
    minVersion: "TLSv1.3",
  });
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  const lastSeq = new Map<string, number>();
  const metrics = new Metrics();
  const reports: Report[] = [];
  const hellos: Hello[] = [];
  const items = new Map<string, number>();
  const state = { ended: 0 };
  const count = (key: string, by: number) => items.set(key, (items.get(key) ?? 0) + by);
  const sessions = new Sessions(
    {
      clock: systemClock,
      random: systemRandom(),
      log: silentLog,
      metrics,
      identify: identifyBySan("test"),
      handlers: {
        connected: (_host, hello) => hellos.push(hello),
        disconnected: () => {
          state.ended++;
        },
        report: (_host, report) => reports.push(report),
        records: async (host, bootId, seq, demand, outcomes) => {
          batch("arrives", seq);
          await systemClock.sleep(2);
          const key = `${host}/${bootId}`;
          if (seq <= (lastSeq.get(key) ?? 0)) return;
          lastSeq.set(key, seq);
          for (const b of demand) count(`demand ${b.category}`, b.count);
          for (const o of outcomes) count(`outcome ${o.category}`, 1);
          batch("stored", seq);
        },
        request: async () => ({ kind: "model", model: null }),
        lastSeq: (host, bootId) => lastSeq.get(`${host}/${bootId}`) ?? 0,
        ...handlers,
      },
    },
    { session: { ...AGENT_SESSION_DEFAULTS, ...session }, ...options },
  );
  sessions.attach(server);
  const abort = new AbortController();
  const running = sessions.run(abort.signal);
  cleanups.push(async () => {
    abort.abort();
    await running;
    server.closeAllConnections();
    server.close();
  });
  return {
    server,
    sessions,
    port: (server.address() as AddressInfo).port,
    metrics,
    reports,
    hellos,
    items,
    get ended() {
      return state.ended;
    },
  };
}

function startLink(
  port: number,
  options: { tls?: LinkTls; session?: Partial<SessionOptions> } = {},
) {
  const link = new Link(
    {
      transport: new WsTransport({
        url: `https://127.0.0.1:${port}`,
        tls: () => options.tls ?? agentTls,
      }),
      clock: systemClock,
      random: seededRandom("link"),
      log: silentLog,
      metrics: new Metrics(),
      hello: () => helloFacts("host-a"),
    },
    { session: { backoffMsMax: 100, recordsGapMs: 5, reportGapMs: 5, ...options.session } },
  );
  const abort = new AbortController();
  const running = link.run(abort.signal);
  const stop = async () => {
    abort.abort();
    await running;
  };
  cleanups.push(stop);
  return { link, stop };
}

/** A TCP relay whose connections can be cut, or stopped. */
async function startRelay(target: number) {
  const pairs = new Set<[Socket, Socket]>();
  const relay = createTcpServer((near) => {
    const far = connect(target, "127.0.0.1");
    const pair: [Socket, Socket] = [near, far];
    pairs.add(pair);
    near.pipe(far).pipe(near);
    for (const socket of pair) {
      socket.on("error", () => socket.destroy());
      socket.on("close", () => {
        near.destroy();
        far.destroy();
        pairs.delete(pair);
      });
    }
  });
  relay.listen(0, "127.0.0.1");
  await once(relay, "listening");
  const cut = () => {
    for (const [near, far] of pairs) {
      near.destroy();
      far.destroy();
    }
  };
  cleanups.push(async () => {
    cut();
    relay.close();
  });
  /** Nothing more reaches the agent, while its own bytes still pass. */
  const stall = () => {
    for (const [near, far] of pairs) {
      far.unpipe(near);
      far.pause();
    }
  };
  return { port: (relay.address() as AddressInfo).port, cut, stall };
}

/** An agent's bare connection, to send what a true agent would not. */
async function connectBare(port: number) {
  const transport = new WsTransport({ url: `https://127.0.0.1:${port}`, tls: () => agentTls });
  const connection = await transport.connect({ signal: AbortSignal.timeout(5_000) });
  const received: DownMessage[] = [];
  const state = { closed: false };
  connection.onMessage((bytes) => received.push(decode("down", bytes).message));
  connection.onClose(() => {
    state.closed = true;
  });
  return { connection, received, isClosed: () => state.closed };
}

const HELLO: Hello = {
  ...helloFacts("host-a"),
  protocol: { min: 1, max: 1 },
  desiredVersion: 0,
  routesVersion: 0,
  membersEpoch: 0,
};

async function until(what: string, holds: () => boolean, msMax = 30_000): Promise<void> {
  const startMs = performance.now();
  while (!holds()) {
    if (performance.now() - startMs > msMax) throw new Error(`not in time: ${what}`);
    await systemClock.sleep(5);
  }
}

describe("link", () => {
  test("takes over what is wanted and shows it in its report", async () => {
    const coordinator = await startCoordinator();
    coordinator.sessions.setDesired("host-a", desiredState(7));
    coordinator.sessions.setRoutes({ version: 3, entries: [] });
    const { link } = startLink(coordinator.port);
    const taken: number[] = [];
    link.onDesired((desired) => void taken.push(desired.version));
    link.report(reportFacts());
    coordinator.sessions.setMembers({ epoch: 5, members: [], publishers: [] });
    await until("versions reported", () => {
      const last = coordinator.reports.at(-1);
      return last?.desiredVersion === 7 && last.routesVersion === 3 && last.membersEpoch === 5;
    });
    coordinator.sessions.setDesired("host-a", desiredState(8));
    await until("next version", () => coordinator.reports.at(-1)?.desiredVersion === 8);
    expect(taken).toEqual([7, 8]);
  });

  test("delivers every record exactly once (connection cut again and again)", async () => {
    // Of three batches one is cut off before it is stored, and one before its agent hears of it.
    const moments = ["arrives", "stored", null] as const;
    const cuts = { arrives: 0, stored: 0 };
    const cut = new Set<number>();
    const coordinator = await startCoordinator({}, {}, 0, {}, (moment, seq) => {
      if (moments[seq % 3] !== moment || cut.has(seq)) return;
      cut.add(seq);
      cuts[moment]++;
      relay.cut();
    });
    const relay = await startRelay(coordinator.port);
    const { link } = startLink(relay.port);
    for (let round = 0; round < 12; round++) {
      for (let i = round * 25; i < (round + 1) * 25; i++) {
        link.record([bin("host-a", i)], [outcome("host-a", i)]);
        await systemClock.sleep(1);
      }
      await until("all items arrived", () => coordinator.items.size === (round + 1) * 50, 60_000);
    }
    expect([...coordinator.items.values()].every((times) => times === 1)).toBe(true);
    expect(cuts.arrives).toBeGreaterThan(2);
    expect(cuts.stored).toBeGreaterThan(2);
    const sessions = 1 + cuts.arrives + cuts.stored;
    await until("back after the last cut", () => coordinator.hellos.length === sessions);
  }, 120_000);

  test("a host's word counts for itself only (demand of another host)", async () => {
    const coordinator = await startCoordinator();
    const { link } = startLink(coordinator.port);
    link.record([bin("host-b", 1), bin("host-a", 2)], []);
    await until("arrived", () => coordinator.items.size > 0);
    expect([...coordinator.items.keys()]).toEqual(["demand c-2"]);
    expect(await coordinator.metrics.text()).toMatch(/foreign_records_total 1/);
  });

  test("keeps records until a coordinator is there (none at the start)", async () => {
    const coordinator = await startCoordinator();
    const relay = await startRelay(1);
    const { link, stop } = startLink(relay.port);
    link.record([bin("host-a", 1, 4)], []);
    await until("given up", () => link.status().code === "UNREACHABLE");
    expect(link.connected).toBe(false);
    await stop();
    const second = startLink(coordinator.port);
    second.link.record([bin("host-a", 1, 4)], []);
    await until("arrived", () => coordinator.items.get("demand c-1") === 4);
  });

  test("sends records that wait before it stops", async () => {
    const coordinator = await startCoordinator();
    const { link, stop } = startLink(coordinator.port, { session: { recordsGapMs: 200 } });
    await until("open", () => link.connected);
    link.record([bin("host-a", 1)], []);
    link.record([bin("host-a", 2)], []);
    await stop();
    expect([...coordinator.items.keys()]).toEqual(["demand c-1", "demand c-2"]);
  });

  test("answers requests, also with the handler's error", async () => {
    const coordinator = await startCoordinator({
      request: async (_host, body) => {
        if (body.kind === "model") return { kind: "model", model: null };
        throw new PrestageError("NOT_FOUND", "no such artifact");
      },
    });
    const { link } = startLink(coordinator.port);
    expect(await link.request({ kind: "model" })).toEqual({ kind: "model", model: null });
    const refused = link.request({ kind: "resolve", name: "a", version: "1", tag: null });
    await expect(refused).rejects.toMatchObject({ code: "NOT_FOUND", message: "no such artifact" });
    const late = link.request({ kind: "model" }, { timeoutMs: 0 });
    await expect(late).rejects.toMatchObject({ code: "UNREACHABLE" });
  });

  test("ends a session on order, and says why (revoked)", async () => {
    const coordinator = await startCoordinator();
    const { link } = startLink(coordinator.port, { session: { refusedMs: 60_000 } });
    await until("open", () => link.connected);
    coordinator.sessions.disconnect("host-a", "REVOKED");
    await until("closed", () => !link.connected);
    expect(link.status().code).toBe("REVOKED");
    expect(coordinator.sessions.hosts()).toEqual([]);
    expect(coordinator.ended).toBe(1);
  });

  test("refuses whom the CA does not know, and an agent refuses such a coordinator", async () => {
    const coordinator = await startCoordinator();
    const other = await makeTestCa();
    const stranger = { ca: ca.caPem, ...(await other.agent("host-a")), serverName: "localhost" };
    const a = startLink(coordinator.port, { tls: stranger });
    await until("refused", () => a.link.status().code === "UNAUTHENTICATED");
    const b = startLink(coordinator.port, { tls: { ...agentTls, ca: other.caPem } });
    await until("refuses", () => b.link.status().code === "CA_MISMATCH");
    expect(coordinator.hellos).toEqual([]);
  });

  test("an agent cannot speak for another host", async () => {
    const coordinator = await startCoordinator();
    const tls = { ca: ca.caPem, ...(await ca.agent("host-b")), serverName: "localhost" };
    const { link } = startLink(coordinator.port, { tls });
    await until("refused", () => link.status().code === "FORBIDDEN");
    expect(coordinator.hellos).toEqual([]);
  });

  test("a newer session of a host replaces the older", async () => {
    const coordinator = await startCoordinator();
    const first = startLink(coordinator.port, { session: { refusedMs: 60_000 } });
    await until("first open", () => first.link.connected);
    const second = startLink(coordinator.port);
    await until("second open", () => second.link.connected);
    await until("first closed", () => first.link.status().code === "CONFLICT");
    expect(coordinator.sessions.hosts()).toEqual(["host-a"]);
  });

  test("gives up an agent that does not read (stalled), which then comes back", async () => {
    const coordinator = await startCoordinator(
      {},
      { bufferedBytesSoft: 64 << 10, bufferedMsMax: 500, pushBytesPerSecond: 1e9, pushGapMs: 1 },
    );
    const relay = await startRelay(coordinator.port);
    const slow = startLink(relay.port);
    await until("open", () => slow.link.connected);
    relay.stall();
    const entry = { workload: "w", serving: ["host-a"], home: ["host-a", "host-b"] };
    const entries = Array.from({ length: 20_000 }, (_, i) => ({
      ...entry,
      category: `category-${i}`,
    }));
    // The kernel's buffers take some megabytes before anything waits here.
    for (let version = 1; coordinator.sessions.hosts().length > 0 && version < 40; version++) {
      coordinator.sessions.setRoutes({ version, entries });
      await systemClock.sleep(50);
    }
    await until("given up", () => coordinator.sessions.hosts().length === 0);
    const text = await coordinator.metrics.text();
    expect(text).toMatch(/prestage_gateway_closed_sessions_total\{code="RATE_LIMITED"\} 1/);
    relay.cut();
    await until("back", () => slow.link.connected);
  });

  test("comes back by itself when the coordinator does, and is told again (restart)", async () => {
    const first = await startCoordinator();
    const { link } = startLink(first.port);
    await until("open", () => link.connected);
    for (const cleanup of cleanups.splice(0, 1)) await cleanup();
    await until("lost", () => !link.connected);
    const second = await startCoordinator({}, {}, first.port);
    second.sessions.setDesired("host-a", desiredState(41));
    link.report(reportFacts());
    await until("told", () => second.reports.at(-1)?.desiredVersion === 41);
  });

  test("tells an agent without a common version whom to upgrade, and closes", async () => {
    const { port, hellos } = await startCoordinator();
    const bare = await connectBare(port);
    const body = { ...HELLO, protocol: { min: 7, max: 9 } };
    bare.connection.send(encode({ type: "hello", body }, 0));
    await until("closed", bare.isClosed);
    expect(bare.received).toMatchObject([
      {
        type: "bye",
        body: { code: "PROTOCOL", message: expect.stringContaining("upgrade the coordinator") },
      },
    ]);
    expect(hellos).toEqual([]);
  });

  test.each([
    ["rubbish", Uint8Array.from([9, 9, 9, 9, 9, 9]), "PROTOCOL"],
    ["replayed sequence", encode({ type: "pong", body: { at: 1 } }, 0), "PROTOCOL"],
    ["larger than its kind may be", frame("pong", 1, new Uint8Array(2_000)), "TOO_LARGE"],
    ["an extension type", frame("pong", 1, Uint8Array.from([0xd4, 0x00, 0x00])), "PROTOCOL"],
  ])("ends a session that sends what it must not (%s)", async (_what, bytes, code) => {
    const { port, sessions } = await startCoordinator();
    const bare = await connectBare(port);
    bare.connection.send(encode({ type: "hello", body: HELLO }, 0));
    await until("welcomed", () => bare.received.length === 1);
    expect(sessions.hosts()).toEqual(["host-a"]);
    bare.connection.send(bytes);
    await until("closed", bare.isClosed);
    expect(bare.received.at(-1)).toMatchObject({ type: "bye", body: { code } });
    expect(sessions.hosts()).toEqual([]);
  });

  test("drops what comes over its rate and ends the session on a flood", async () => {
    const { port, metrics } = await startCoordinator();
    const bare = await connectBare(port);
    bare.connection.send(encode({ type: "hello", body: HELLO }, 0));
    for (let sequence = 1; sequence <= 400; sequence++)
      bare.connection.send(encode({ type: "pong", body: { at: 1 } }, sequence));
    await until("closed", bare.isClosed);
    expect(bare.received.at(-1)).toMatchObject({ type: "bye", body: { code: "RATE_LIMITED" } });
    expect(await metrics.text()).toMatch(/dropped_frames_total\{type="pong"\} 2\d\d/);
  });

  test("lets in so many per second and tells the others when to come (admission)", async () => {
    const accept = { ratePerSecond: 0.01, burst: 1 };
    const { port } = await startCoordinator({}, {}, 0, { accept });
    await connectBare(port);
    await expect(connectBare(port)).rejects.toMatchObject({
      code: "UNAVAILABLE",
      details: { retryAfterMs: expect.any(Number) },
    });
  });
});
