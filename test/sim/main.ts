/**
 * `npm run sim -- --seeds N [--seed S] [--hosts 50] [--seconds 1000] [--break NAME] [--twice]`:
 * runs seeds S … S+N−1, on two threads, and says what was found. Exit 1 when an invariant broke.
 */
import { parseArgs } from "node:util";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { BREAKS, isBreakName } from "./breaks.ts";
import { Summary } from "./report.ts";
import type { RunOptions, RunResult } from "./run.ts";
import { simulate } from "./simulate.ts";
import { runMesh, runSoak } from "./swarm/main.ts";

type Job = { seeds: number[]; options: RunOptions; twiceEvery: number };

async function work({ seeds, options, twiceEvery }: Job): Promise<void> {
  for (const seed of seeds)
    parentPort?.postMessage(await simulate(seed, options, { twice: seed % twiceEvery === 0 }));
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seeds: { type: "string", default: "20" },
      seed: { type: "string", default: "1" },
      hosts: { type: "string", default: "50" },
      seconds: { type: "string", default: "1000" },
      break: { type: "string" },
      twice: { type: "boolean", default: false },
      threads: { type: "string", default: "2" },
    },
  });
  const broken = values.break ?? null;
  if (broken !== null && !isBreakName(broken)) {
    process.stderr.write(
      `no deliberate bug is called ${broken}: ${Object.keys(BREAKS).join(", ")}\n`,
    );
    return 2;
  }
  const [count, first, hosts, seconds, threads] = [
    values.seeds,
    values.seed,
    values.hosts,
    values.seconds,
    values.threads,
  ].map(Number);
  if (!count || first === undefined || !hosts || !seconds || !threads) {
    process.stderr.write("--seeds, --seed, --hosts, --seconds and --threads are numbers over 0\n");
    return 2;
  }
  const options = { hosts, seconds, broken };
  const seeds = Array.from({ length: count }, (_, i) => first + i);
  const summary = new Summary(options);
  const twiceEvery = values.twice || broken === "chance" ? 1 : 20;
  const workers = Array.from({ length: Math.min(threads, count) }, (_, lane) => {
    const job: Job = { seeds: seeds.filter((_, i) => i % threads === lane), options, twiceEvery };
    const worker = new Worker(new URL(import.meta.url), { workerData: job });
    return new Promise<void>((resolve, reject) => {
      worker.on("message", (result: RunResult) => summary.add(result));
      worker.on("error", reject);
      worker.on("exit", () => resolve());
    });
  });
  await Promise.all(workers);
  process.stdout.write(`${summary.text()}\n`);
  return summary.failed ? 1 : 0;
}

const [command, ...rest] = process.argv.slice(2);
if (!isMainThread) await work(workerData as Job);
else if (command === "mesh") process.exitCode = await runMesh(rest);
else if (command === "soak") process.exitCode = runSoak(rest);
else process.exitCode = await main();
