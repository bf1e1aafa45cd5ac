/**
 * `npm run sim -- mesh [--hosts 2600] [--bytes 3e9] [--link 300e6] [--seeds 5] …`, and
 * `npm run sim -- soak [--hosts 50] [--hours 24]`.
 */
import { parseArgs } from "node:util";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { SWARM_DEFAULTS, type SwarmOptions } from "./plan.ts";
import { growth, Soak } from "./soak.ts";
import { Swarm, type SwarmResult } from "./swarm.ts";

/** Flags in the units people think in. */
const FLAGS = {
  hosts: "hosts",
  bytes: "bytes",
  link: "linkBytesPerSecond",
  seeders: "seeders",
  origin: "originBytesPerSecond",
  sites: "sites",
  thin: "thinBytesPerSecond",
  neighbours: "neighbours",
  refusing: "refusing",
  spread: "spreadMs",
  dying: "dying",
  lying: "lying",
  slow: "slow",
  kill: "killAt",
} as const satisfies Record<string, keyof SwarmOptions>;

type Job = { seeds: number[]; options: SwarmOptions };
/** Requests live some thousand events, so that a small young generation copies them again and again. */
const YOUNG_MB = 192;

if (!isMainThread && workerData.swarm) work(workerData.swarm);

function work({ seeds, options }: Job): void {
  for (const seed of seeds) {
    const startMs = performance.now();
    const result = new Swarm(seed, options).run();
    parentPort?.postMessage({ result, tookMs: performance.now() - startMs });
  }
}

export async function runMesh(argv: string[]): Promise<number> {
  const text = { type: "string" as const };
  const { values } = parseArgs({
    args: argv,
    options: {
      seeds: { ...text, default: "5" },
      seed: { ...text, default: "1" },
      threads: { ...text, default: "2" },
      ...Object.fromEntries(Object.keys(FLAGS).map((name) => [name, text])),
    },
  });
  const options = { ...SWARM_DEFAULTS };
  const given: Record<string, string | undefined> = values;
  for (const [name, field] of Object.entries(FLAGS)) {
    const value = given[name];
    if (value !== undefined) options[field] = Number(value);
  }
  const [count = 0, first = 0, threads = 0] = [values.seeds, values.seed, values.threads].map(
    Number,
  );
  if (![count, threads, ...Object.values(options)].every((n) => n >= 0)) return usage();
  let failed = false;
  const seeds = Array.from({ length: count }, (_, i) => first + i);
  const lanes = Array.from({ length: Math.min(threads, count) }, (_, lane) => {
    const swarm: Job = { seeds: seeds.filter((_, i) => i % threads === lane), options };
    const worker = new Worker(new URL(import.meta.url), {
      workerData: { swarm },
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MB, maxOldGenerationSizeMb: 8_192 },
    });
    worker.on("message", ({ result, tookMs }: { result: SwarmResult; tookMs: number }) => {
      process.stdout.write(`${line(result, options, tookMs)}\n`);
      failed ||= result.unfinished > 0;
    });
    return new Promise<void>((resolve, reject) => {
      worker.on("error", reject);
      worker.on("exit", () => resolve());
    });
  });
  await Promise.all(lanes);
  return failed ? 1 : 0;
}

function usage(): number {
  process.stderr.write(`numbers: --seeds --seed --threads --${Object.keys(FLAGS).join(" --")}\n`);
  return 2;
}

export function runSoak(argv: string[]): number {
  const text = { type: "string" as const };
  const { values } = parseArgs({
    args: argv,
    options: {
      hosts: { ...text, default: "50" },
      hours: { ...text, default: "24" },
      seed: { ...text, default: "1" },
    },
  });
  const [hosts, hours, seed] = [values.hosts, values.hours, values.seed].map(Number);
  if (!hosts || !hours || seed === undefined) return 2;
  const startMs = performance.now();
  const result = new Soak({ hosts, hours, seed }, heapBytes).run();
  const heapMiB = growth(result.samples, (s) => s.heapBytes) / 2 ** 20;
  const entries = growth(result.samples, (s) => s.remembered);
  const { published, joined, completed, unfinished, left, events } = result;
  for (const at of [0.25, 0.5, 0.75, 1]) {
    const s = result.samples[Math.ceil(at * result.samples.length) - 1];
    if (s)
      process.stdout.write(
        `${(s.atMs / 3.6e6).toFixed(1)} h: heap ${(s.heapBytes / 2 ** 20).toFixed(2)} MiB, ` +
          `${s.remembered} entries in the cores\n`,
      );
  }
  process.stdout.write(
    `${hours} h of ${hosts} hosts: ${published} versions, ${joined - hosts} hosts came anew, ` +
      `${completed} completed, ${unfinished} unfinished; after warm-up ` +
      `${heapMiB.toFixed(4)} MiB and ${entries.toFixed(1)} entries per 10 min, ` +
      `${left} left when all was dropped; ` +
      `${(events / 1e6).toFixed(1)} M events in ${((performance.now() - startMs) / 1000).toFixed(0)} s\n`,
  );
  return unfinished > 0 || left > 0 || heapMiB > 1 ? 1 : 0;
}

function heapBytes(): number {
  setFlagsFromString("--expose-gc");
  const collect: () => void = runInNewContext("gc");
  collect();
  return process.memoryUsage().heapUsed;
}

function line(r: SwarmResult, o: SwarmOptions, tookMs: number): string {
  const s = (q: number) => (quantile(r.doneMs, q) / 1000).toFixed(2);
  const share = (bytes: number) => (bytes / o.bytes).toFixed(4);
  return (
    `seed ${r.seed}: ${r.hosts} hosts, ideal ${(o.bytes / o.linkBytesPerSecond).toFixed(2)} s: ` +
    `p50 ${s(0.5)} p99 ${s(0.99)} p99.9 ${s(0.999)} last ${s(1)} s` +
    `${r.unfinished > 0 ? `, UNFINISHED ${r.unfinished}` : ""}; ` +
    `seed ${share(r.seedBytes)} x, origin ${share(r.originBytes)} x, thin ${share(r.thinBytes)} x, ` +
    `twice ${((100 * r.twiceBytes) / (o.bytes * r.hosts)).toFixed(3)} %, ` +
    `control ${((100 * r.controlBytes) / (o.bytes * r.hosts)).toFixed(3)} %; ` +
    `${(r.events / 1e6).toFixed(1)} M events in ${(tookMs / 1000).toFixed(1)} s, ` +
    `${Math.round(process.memoryUsage.rss() / 2 ** 20)} MiB`
  );
}

function quantile(sorted: number[], q: number): number {
  return sorted[Math.min(sorted.length - 1, Math.ceil(q * sorted.length) - 1)] ?? Number.NaN;
}
