/** `npm run sim -- --help` says what it does. */
import { parseArgs } from "node:util";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { BREAKS, isBreakName } from "./breaks.ts";
import { Summary } from "./report.ts";
import type { RunOptions, RunResult } from "./run.ts";
import { simulate } from "./simulate.ts";
import { runMesh, runSoak } from "./swarm/main.ts";

const USAGE = `npm run sim -- [--seeds 20] [--seed 1] [--hosts 50] [--seconds 1000] [--threads 2]
                [--break NAME] [--twice]
  Runs seeds from the first on and says what was found; exit 1 when an invariant broke.
  --break makes a deliberate bug (${Object.keys(BREAKS).join(", ")});
  --twice runs every seed twice, to see that it does the same.
npm run sim -- mesh [--hosts 2600] [--bytes 3e9] [--link 300e6] [--seeds 5] [--threads 2] …
  One version goes to all hosts; times of the last ones.
npm run sim -- soak [--hosts 50] [--hours 24]
  Churn; whether memory grows.
`;

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
async function run(): Promise<number> {
  if (command === "mesh") return runMesh(rest);
  if (command === "soak") return runSoak(rest);
  if (command !== "--help" && command !== "-h") return main();
  process.stdout.write(USAGE);
  return 0;
}

if (!isMainThread) await work(workerData as Job);
else
  process.exitCode = await run().catch((cause: unknown) => {
    if (!(cause instanceof TypeError && "code" in cause)) throw cause;
    if (!String(cause.code).startsWith("ERR_PARSE_ARGS")) throw cause;
    process.stderr.write(`${cause.message}\n${USAGE}`);
    return 2;
  });
