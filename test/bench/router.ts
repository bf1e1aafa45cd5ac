/**
 * What the router costs: the same requests straight to a server, through the bare proxy library,
 * through a router, and through two (as when another host serves), in one run, turn by turn. Prints
 * requests per second and p99 as ratios; each party is its own process.
 *
 *   node test/bench/router.ts [--seconds 3] [--connections 32]
 */
import { fork } from "node:child_process";
import { Agent, createServer, request as httpRequest } from "node:http";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { ProxyServer } from "httpxy";
import { Router } from "../../agent/traffic/router.ts";
import type { Member } from "../../shared/domain.ts";
import { systemClock } from "../../shared/runtime/clock.ts";
import { silentLog } from "../../shared/runtime/log.ts";
import { Metrics } from "../../shared/runtime/metrics.ts";
import { testWorkload } from "../support/workload.ts";

const self = fileURLToPath(import.meta.url);
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: "string", default: "3" },
    connections: { type: "string", default: "32" },
  },
});

const [role, ...args] = positionals;
if (role === "server") await server();
else if (role === "bare") bare(Number(args[0]));
else if (role === "router") await router(Number(args[0]), args[1] ?? "");
else await main(Number(values.seconds), Number(values.connections));

async function server(): Promise<void> {
  const body = Buffer.alloc(1024, "x");
  const http = createServer((_, response) => response.end(body));
  http.listen(0, "127.0.0.1", () => process.send?.(http.address()));
}

/** The proxy library alone: the least any router on it can cost. */
function bare(port: number): void {
  const agent = new Agent({ keepAlive: true, maxSockets: 1024, scheduling: "lifo" });
  const proxy = new ProxyServer({ target: `http://127.0.0.1:${port}`, agent, xfwd: true });
  const http = createServer((request, response) => proxy.web(request, response));
  http.listen(0, "127.0.0.1", () => process.send?.(http.address()));
}

/** `port` 0: sends everything to the router at `other`. */
async function router(port: number, other: string): Promise<void> {
  const members: Member[] = other
    ? [{ host: "other", site: "s", peerId: "", meshAddresses: [], routerUrl: other }]
    : [];
  const environment = { id: "e", port, orderId: null };
  const one = new Router(
    {
      clock: systemClock,
      demandClock: systemClock,
      log: silentLog,
      metrics: new Metrics(),
      self: "me",
      members: () => members,
      onDemand: () => {},
      onOutcome: () => {},
      pool: {
        ready: () => port !== 0,
        making: () => false,
        acquire: async () => ({
          kind: "warm",
          environment,
          waitedMs: 0,
          memoryByteMs: 0,
          release: () => {},
        }),
      },
    },
    { host: "127.0.0.1", port: 0 },
  );
  one.setWorkloads([testWorkload("shop")]);
  const entry = { workload: "shop", category: "default", serving: ["other"], home: [] };
  one.setRoutes({ version: 1, entries: [entry] });
  one.started.then(() => process.send?.(one.address()));
  const stop = new AbortController();
  process.once("SIGTERM", () => stop.abort());
  await one.run(stop.signal);
  if (process.connected) process.disconnect?.();
}

type Measured = { perSecond: number; p50Ms: number; p99Ms: number };

async function load(port: number, seconds: number, connections: number): Promise<Measured> {
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  const took: number[] = [];
  const startMs = performance.now();
  const endMs = startMs + seconds * 1000;
  const worker = async () => {
    while (performance.now() < endMs) {
      const sentMs = performance.now();
      await ask(port, agent);
      took.push(performance.now() - sentMs);
    }
  };
  await Promise.all(Array.from({ length: connections }, worker));
  agent.destroy();
  took.sort((a, b) => a - b);
  const at = (share: number) => took[Math.floor(took.length * share)] ?? Number.NaN;
  const perSecond = (took.length * 1000) / (performance.now() - startMs);
  return { perSecond, p50Ms: at(0.5), p99Ms: at(0.99) };
}

function ask(port: number, agent: Agent): Promise<void> {
  return new Promise((resolve, reject) => {
    httpRequest({ host: "127.0.0.1", port, path: "/shop/item", agent }, (response) => {
      response.resume();
      response.on("end", resolve);
      response.on("error", reject);
      if (response.statusCode !== 200) reject(new Error(`status ${response.statusCode}`));
    })
      .on("error", reject)
      .end();
  });
}

async function main(seconds: number, connections: number): Promise<void> {
  const children: ReturnType<typeof fork>[] = [];
  const start = async (...words: string[]): Promise<number> => {
    const child = fork(self, words);
    children.push(child);
    const { port } = await new Promise<{ port: number }>((resolve, reject) => {
      child.once("message", (message) => resolve(message as { port: number }));
      child.once("exit", (code) => reject(new Error(`${words[0]} ended with ${code}`)));
    });
    return port;
  };
  try {
    const direct = await start("server");
    const library = await start("bare", String(direct));
    const near = await start("router", String(direct));
    const far = await start("router", "0", `http://127.0.0.1:${near}`);
    const targets = { direct, "bare httpxy": library, "one router": near, "two routers": far };
    for (const port of Object.values(targets)) await load(port, 1, connections);
    for (const wide of [connections, 1]) {
      const rows = new Map<string, Measured>();
      for (const [name, port] of Object.entries(targets))
        rows.set(name, await load(port, seconds, wide));
      print(rows, wide);
    }
  } finally {
    for (const child of children) child.kill();
  }
}

function print(rows: Map<string, Measured>, connections: number): void {
  const base = rows.get("direct");
  process.stdout.write(`\n${connections} connection(s), 1 KiB answers\n`);
  for (const [name, { perSecond, p50Ms, p99Ms }] of rows) {
    const ratio = (a: number, b: number | undefined) => `${(a / (b ?? Number.NaN)).toFixed(2)}×`;
    process.stdout.write(
      `${name.padEnd(12)} ${perSecond.toFixed(0).padStart(7)} requests/s ` +
        `(${ratio(perSecond, base?.perSecond)} of direct)  p50 ${p50Ms.toFixed(2)} ms  ` +
        `p99 ${p99Ms.toFixed(2)} ms (${ratio(p99Ms, base?.p99Ms)})\n`,
    );
  }
}
