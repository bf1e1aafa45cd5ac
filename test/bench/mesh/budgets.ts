/**
 * Budgets on the wire, with real agents:
 * node test/bench/mesh/budgets.ts [MB_PER_S] [HOSTS] [MBIT] [--only host|in|out|origin]
 * The most that an interface's counter rose by in any second, all headers of all frames included:
 * into each of HOSTS hosts that swap a version, each with a budget; out of a seed that all hosts of
 * another site stage from, which that site's budget bounds, then its own site's; and into hosts that
 * get all from a web server.
 */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { systemClock } from "../../../shared/runtime/clock.ts";
import { until } from "../../support/namespaced-fleet.ts";
import { BenchFleet, MIB } from "./bench-fleet.ts";

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { only: { type: "string" } },
});
const [megabytes = 5, count = 3, linkMbit = 200] = positionals.map(Number);
const BUDGET = megabytes * 1e6;
const STAGE_MS = 14_000;
const IDLE_MS = 3_000;
const SECOND_MS = 1_000;
const UNLIMITED = 1e9;
const say = (line: string) => process.stdout.write(`${line}\n`);
const names = Array.from({ length: count }, (_, i) => `h${i + 1}`);
const share = (bytes: number) => `${((100 * bytes) / BUDGET).toFixed(1)} %`;

type Seen = { max: number; mean: number };

/** Of each counter: the most in any second, and the mean of a second. */
async function watch(files: readonly string[], forMs: number): Promise<Seen[]> {
  const program = new URL("counters.ts", import.meta.url).pathname;
  const child = spawn("nice", ["-n", "-10", process.execPath, program, ...files], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const lines = createInterface({ input: child.stdout });
  const samples: number[][] = [];
  lines.on("line", (line) => samples.push(line.split(" ").map(Number)));
  await systemClock.sleep(forMs);
  child.kill();
  return files.map((_, i) => {
    const of = (s: number[] | undefined) => ({ atMs: s?.[0] ?? 0, bytes: s?.[i + 1] ?? 0 });
    let [max, first] = [0, 0];
    for (const sample of samples) {
      const last = of(sample);
      while (last.atMs - of(samples[first]).atMs > SECOND_MS) first++;
      max = Math.max(max, last.bytes - of(samples[first]).bytes);
    }
    const [begin, end] = [of(samples[0]), of(samples.at(-1))];
    return { max, mean: ((end.bytes - begin.bytes) * SECOND_MS) / (end.atMs - begin.atMs) };
  });
}

type Scene = {
  qos: object;
  sites: (host: string) => string;
  watched: string[];
  /** Nobody has it: all of it comes from a web server. */
  origin?: boolean;
};

async function stagedWithin(what: string, scene: Scene): Promise<void> {
  const { qos, sites, watched, origin = false } = scene;
  const bench = await BenchFleet.open({ hosts: ["seed", ...names], linkMbit, qos, sites });
  const mib = Math.ceil((megabytes * count * STAGE_MS) / 1e3) + 64;
  const server = origin ? await serveRandom(bench.fleet.outside, mib) : null;
  try {
    await bench.fleet.everyFrame();
    if (server) {
      const url = `http://${bench.fleet.outside}:${server.port}/payload.bin`;
      const args = ["publish", url, "--no-keep", "--name", "payload", "--version", "1"];
      await bench.fleet.json(args, { host: "seed" });
    } else await bench.publish("payload", mib);
    const files = watched.map((host) =>
      bench.fleet.counterOf(host, host === "seed" ? "sent" : "received"),
    );
    const idle = await watch(files, IDLE_MS);
    await bench.fleet.json(["stage", "payload@1", "--hosts", names.join()]);
    await until("staging runs", async () => {
      const { transfers } = await bench.fleet.agent(names[0] ?? "");
      return transfers.peerBytes + transfers.originBytes > 0;
    });
    const seen = await watch(files, STAGE_MS);
    say(`${what}, ${megabytes} MB/s: most in any second, mean (idle)`);
    watched.forEach((host, i) => {
      const { max, mean } = seen[i] ?? { max: 0, mean: 0 };
      say(`  ${host}: ${share(max)}, ${share(mean)} (${share(idle[i]?.mean ?? 0)})`);
    });
  } finally {
    server?.close();
    await bench.close();
  }
}

/** A web server with one file of so many random bytes, with ranges. */
async function serveRandom(host: string, mib: number) {
  const bytes = randomBytes(MIB * mib);
  const server = createServer((request, response) => {
    const [, from = "0", to = `${bytes.length - 1}`] =
      /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
    const [first, last] = [Number(from), Number(to)];
    response.writeHead(request.headers.range ? 206 : 200, {
      "content-length": last - first + 1,
      "content-range": `bytes ${first}-${last}/${bytes.length}`,
      etag: '"1"',
    });
    response.end(request.method === "HEAD" ? undefined : bytes.subarray(first, last + 1));
  });
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  const { port } = server.address() as AddressInfo;
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  return { port, close };
}

const only = values.only;
const scenes: Record<string, Scene & { what: string }> = {
  host: {
    what: "each host's budget",
    qos: { perHostBytesPerSecond: BUDGET, stagingBytesPerSecond: (count + 1) * BUDGET },
    sites: () => "lab",
    watched: names,
  },
  in: {
    what: "into a site",
    qos: { stagingBytesPerSecond: UNLIMITED, sites: { thin: { inBytesPerSecond: BUDGET } } },
    sites: thin,
    watched: ["seed"],
  },
  out: {
    what: "out of a site",
    qos: { stagingBytesPerSecond: UNLIMITED, sites: { core: { outBytesPerSecond: BUDGET } } },
    sites: thin,
    watched: ["seed"],
  },
  origin: {
    what: "each host's budget, from a web server",
    qos: { perHostBytesPerSecond: BUDGET, stagingBytesPerSecond: (count + 1) * BUDGET },
    sites: () => "lab",
    watched: names,
    origin: true,
  },
};
function thin(host: string): string {
  return host === "seed" ? "core" : "thin";
}
for (const [name, { what, ...scene }] of Object.entries(scenes))
  if (only === undefined || only === name) await stagedWithin(what, scene);
