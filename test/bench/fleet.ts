/**
 * What a fleet of agents costs the coordinator, and a tick of its planner: real agents' links in child processes, real
 * sockets, mutual TLS with a certificate each, one report per session and period.
 *
 *   node test/bench/fleet.ts [--sessions 5000] [--children 2] [--seconds 30] [--period 5000]
 *                            [--report 6] [--json]
 *
 * Each session takes a file descriptor here and one in its child: `ulimit -n` above
 * sessions + 100 is needed for this process, and above sessions / children + 100 for each child.
 * The agents share the machine with the coordinator; its own CPU time is what is counted.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { loadavg } from "node:os";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { parseArgs } from "node:util";
import { SESSIONS_DEFAULTS, Sessions } from "../../coordinator/gateway/sessions.ts";
import { systemClock } from "../../shared/runtime/clock.ts";
import { createLog } from "../../shared/runtime/log.ts";
import { Metrics } from "../../shared/runtime/metrics.ts";
import { systemRandom } from "../../shared/runtime/random.ts";
import { identifyBySan, makeTestCa, type TestCa } from "../support/certs.ts";
import { desiredState } from "../support/messages.ts";
import type { FleetOrder } from "./fleet-agents.ts";
import { benchPlan } from "./plan.ts";

const CORE_SHARE_AIM = 0.5;
const PLAN = { workloads: 50, categoriesEach: 20, hosts: 100, ticks: 100 };
const PLAN_P99_MS_AIM = 50;

type Options = {
  sessions: number;
  children: number;
  seconds: number;
  periodMs: number;
  reportSize: number;
};
type Counts = { reports: number; opened: number; lost: number };

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      sessions: { type: "string", default: "5000" },
      children: { type: "string", default: "2" },
      seconds: { type: "string", default: "30" },
      period: { type: "string", default: "5000" },
      report: { type: "string", default: "6" },
      json: { type: "boolean", default: false },
    },
  });
  const ticks = benchPlan(PLAN);
  const fleet = await bench({
    sessions: Number(values.sessions),
    children: Number(values.children),
    seconds: Number(values.seconds),
    periodMs: Number(values.period),
    reportSize: Number(values.report),
  });
  const result = {
    ...fleet,
    planTickP50Ms: round(ticks.p50Ms),
    planTickP99Ms: round(ticks.p99Ms),
    planOrdersTaken: ticks.taken,
  };
  if (!values.json) {
    for (const [name, value] of Object.entries(result))
      process.stdout.write(`${name.padEnd(34)} ${value}\n`);
    const verdict = (holds: boolean) => (holds ? "within" : "over");
    const core = verdict(result.coreShareAtFullRate <= CORE_SHARE_AIM);
    const tick = verdict(result.planTickP99Ms <= PLAN_P99_MS_AIM);
    process.stdout.write(`${core} the aim of ${CORE_SHARE_AIM} of a core\n`);
    process.stdout.write(`${tick} the aim of ${PLAN_P99_MS_AIM} ms for a plan tick\n`);
  }
  process.stdout.write(`${JSON.stringify(result)}\n`);
}

async function bench(options: Options) {
  const ca = await makeTestCa("bench");
  const counts: Counts = { reports: 0, opened: 0, lost: 0 };
  const server = createServer({
    ...(await ca.server()),
    ca: ca.caPem,
    requestCert: true,
    rejectUnauthorized: false,
    minVersion: "TLSv1.3",
  });
  server.listen({ port: 0, host: "127.0.0.1", backlog: 4_096 });
  await once(server, "listening");
  const sessions = makeSessions(counts);
  sessions.attach(server);
  const abort = new AbortController();
  const running = sessions.run(abort.signal);
  const children = await startAgents(ca, (server.address() as AddressInfo).port, options);
  try {
    const handshakes = await connectAll(children, sessions, options);
    const rssIdle = process.memoryUsage.rss();
    for (const child of children) child.send({ type: "report" } satisfies FleetOrder);
    await systemClock.sleep(options.periodMs);
    const measured = await measure(counts, options);
    return {
      sessions: sessions.hosts().length,
      ...handshakes,
      ...measured,
      rssConnectedMb: Math.round(rssIdle / 1e6),
      sessionsLost: counts.lost,
      // What else the machine was doing: the times of a busy one say little, its CPU times do.
      loadAverage: round(loadavg()[0] ?? 0),
      node: process.version,
    };
  } finally {
    await Promise.all(children.map(ended));
    abort.abort();
    await running;
    server.closeAllConnections();
    server.close();
  }
}

/** What ends beside it would blur what is measured next. */
async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, "exit");
  child.kill();
  await exit;
}

function makeSessions(counts: Counts): Sessions {
  return new Sessions(
    {
      clock: systemClock,
      random: systemRandom(),
      log: createLog({ name: "fleet", level: "warn" }),
      metrics: new Metrics(),
      identify: identifyBySan("bench"),
      handlers: {
        connected: () => {
          counts.opened++;
        },
        disconnected: () => {
          counts.lost++;
        },
        report: () => {
          counts.reports++;
        },
        records: async () => {},
        request: async () => ({ kind: "model", model: null }),
        lastSeq: () => 0,
      },
    },
    // As many as come: how fast handshakes can go is one of the things measured.
    { ...SESSIONS_DEFAULTS, accept: { ratePerSecond: 100_000, burst: 100_000 } },
  );
}

async function startAgents(ca: TestCa, port: number, o: Options): Promise<ChildProcess[]> {
  const children: ChildProcess[] = [];
  const perChild = Math.ceil(o.sessions / o.children);
  for (let first = 0; first < o.sessions; first += perChild) {
    const agents = [];
    for (let i = first; i < Math.min(o.sessions, first + perChild); i++) {
      const host = `host-${i}`;
      agents.push({ host, ...(await ca.agent(host)) });
    }
    const child = fork(new URL("./fleet-agents.ts", import.meta.url), {
      execArgv: ["--max-old-space-size=4096"],
    });
    const order: FleetOrder = {
      type: "start",
      port,
      ca: ca.caPem,
      agents,
      periodMs: o.periodMs,
      reportSize: o.reportSize,
    };
    child.send(order);
    children.push(child);
  }
  return children;
}

async function connectAll(
  children: ChildProcess[],
  sessions: Sessions,
  { sessions: count }: Options,
) {
  const startMs = performance.now();
  const cpu = process.cpuUsage();
  for (const child of children) child.send({ type: "connect" } satisfies FleetOrder);
  while (sessions.hosts().length < count) {
    await systemClock.sleep(20);
    if (children.some((child) => child.exitCode !== null)) throw new Error("an agent child ended");
  }
  const seconds = (performance.now() - startMs) / 1_000;
  const { user, system } = process.cpuUsage(cpu);
  const desired = desiredState(1);
  for (const host of sessions.hosts()) sessions.setDesired(host, desired);
  sessions.setRoutes({ version: 1, entries: [] });
  return {
    connectSeconds: round(seconds),
    handshakesPerSecond: Math.round(count / seconds),
    handshakesPerCpuSecond: Math.round(count / ((user + system) / 1e6)),
  };
}

async function measure(counts: Counts, { seconds, sessions, periodMs }: Options) {
  const delay = monitorEventLoopDelay({ resolution: 5 });
  delay.enable();
  const before = counts.reports;
  const startMs = performance.now();
  const cpu = process.cpuUsage();
  await systemClock.sleep(seconds * 1_000);
  const { user, system } = process.cpuUsage(cpu);
  const elapsed = (performance.now() - startMs) / 1_000;
  delay.disable();
  const cpuSeconds = (user + system) / 1e6;
  const reports = counts.reports - before;
  return {
    measuredSeconds: round(elapsed),
    reportsPerSecond: round(reports / elapsed),
    coordinatorCoreShare: round(cpuSeconds / elapsed, 3),
    // The children may be too slow to send all that was asked for.
    coreShareAtFullRate: round(
      (cpuSeconds / Math.max(1, reports)) * (sessions / (periodMs / 1_000)),
      3,
    ),
    cpuMicrosecondsPerReport: Math.round((cpuSeconds * 1e6) / Math.max(1, reports)),
    eventLoopDelayP99Ms: round(delay.percentile(99) / 1e6),
    rssMb: Math.round(process.memoryUsage.rss() / 1e6),
  };
}

function round(value: number, digits = 1): number {
  return Number(value.toFixed(digits));
}

await main();
