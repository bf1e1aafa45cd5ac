/** `prestage backtest`: its options, and how it is shown. The work is handed in. */
import { readFile, writeFile } from "node:fs/promises";
import type { Command } from "commander";
import { addCommand, type Call, type Shell } from "../../shared/cli/command.ts";
import { parseDuration } from "../../shared/cli/duration.ts";
import { readYaml } from "../../shared/config.ts";
import { PrestageError } from "../../shared/errors.ts";
import { type Workload, WorkloadsFile } from "../../shared/workload.ts";

export type BacktestArguments = {
  file: string;
  format: string;
  policies: readonly string[];
  warmUpMinutes: number;
  seed: string;
  sample: number;
  memoryRatio: number;
  loadShare: number | null;
  memoryMb: number;
  startSeconds: number;
  artifactMb: number;
  durationsFile: string | null;
  memoryFile: string | null;
  workloads: readonly Workload[];
};

export type BacktestDeps = {
  policies: readonly string[];
  run(
    args: BacktestArguments,
    call: Pick<Call<object>, "clock" | "signal"> & {
      progress(done: number, total: number): void;
    },
  ): Promise<{ result: unknown; text(): string; html(): string }>;
};

type Options = {
  format: string;
  policies?: string;
  warmUp: string;
  seed: string;
  sample: string;
  memoryRatio: string;
  loadShare?: string;
  memory: string;
  startTime: string;
  artifact: string;
  durations?: string;
  memoryFile?: string;
  workloads?: string;
  html?: string;
};

const FORMATS = ["auto", "csv", "azure", "log"];

export function addBacktest(
  program: Command,
  shell: Shell,
  group: string,
  load: () => Promise<BacktestDeps>,
): void {
  addCommand<Options>(program, shell, {
    usage: "backtest <file>",
    group,
    summary: "what Prestage would have done on recorded requests, against standard policies",
    description:
      "Replays recorded requests (CSV timestamp,workload,category,origin,count; the wide Azure " +
      "functions format; access logs; each also as .gz and .zst) through the live decision code on " +
      "a simulated clock, learning from zero, beside standard policies: fixed:MINUTES; " +
      "hybrid-histogram (Shahrad et al., ATC 2020: 4 h range, 5th to 99th percentile, 10 % margin, " +
      "CV ≥ 2, standard keep-alive in place of ARIMA); greedy-dual (FaasCache, ASPLOS 2021) and lru " +
      "with the memory-time of fixed:10; oracle, which knows what comes. prestage holds the " +
      "memory-time of --memory-ratio × fixed:10; prestage:N holds what pays when a cold arrival is " +
      "worth N minutes of idle memory. No coordinator is needed.",
    examples: [
      ["prestage backtest access.log.gz --html report.html", "a page to show around"],
      ["prestage backtest invocations.csv --policies prestage:63,fixed:20 --json", "for a script"],
    ],
    setup,
    run: async (call) => {
      const deps = await load();
      const args = await argumentsOf(call, deps.policies);
      const bar = call.progress(`replaying ${args.file}`);
      try {
        const { clock, signal } = call;
        const progress = (done: number, total: number) =>
          bar.update(done, total, `minute ${done} of ${total}`);
        const { result, text, html } = await deps.run(args, { clock, signal, progress });
        bar.end();
        const { html: page } = call.options;
        if (page) await write(page, html());
        call.show(result, () => `${text()}${page ? `wrote ${page}\n` : ""}`);
      } finally {
        bar.end();
      }
    },
  });
}

function setup(command: Command): void {
  command
    .option("--format <name>", "csv, azure or log; auto looks at the first line", "auto")
    .option("--policies <list>", "policies of the table, by comma")
    .option("--warm-up <duration>", "played and not counted at the beginning", "0s")
    .option("--seed <text>", "of the sample", "1")
    .option("--sample <n>", "at most so many categories, by chance", "2000")
    .option("--memory-ratio <x>", "memory-time of `prestage`, as a share of fixed:10's", "0.9")
    .option("--load-share <x>", "cost of a load made ahead, as a part of a cold arrival's")
    .option("--memory <MB>", "memory of an environment", "128")
    .option("--start-time <duration>", "from load to ready; rounded up to minutes", "5s")
    .option("--artifact <MB>", "bytes a load moves", "64")
    .option("--workloads <file>", "workloads.yaml: memory and miss cost of those declared there")
    .option("--durations <file>", "Azure durations.csv: usual time of a request, for the latency")
    .option("--memory-file <file>", "Azure memory.csv: memory by function")
    .option("--html <file>", "also write a page with charts");
}

async function argumentsOf(
  call: Call<Options>,
  known: readonly string[],
): Promise<BacktestArguments> {
  const o = call.options;
  if (!FORMATS.includes(o.format))
    throw new PrestageError("USAGE", `--format: one of ${FORMATS.join(", ")}`);
  return {
    file: call.arg(0),
    format: o.format,
    policies: policiesOf(o.policies, known),
    warmUpMinutes: Math.ceil(parseDuration(o.warmUp, "--warm-up") / 60_000),
    seed: o.seed,
    sample: whole(o.sample, "--sample", 1, 1_000_000),
    memoryRatio: number(o.memoryRatio, "--memory-ratio", 0.01, 100),
    loadShare: o.loadShare === undefined ? null : number(o.loadShare, "--load-share", 0, 10),
    memoryMb: number(o.memory, "--memory", 0.001, 1e9),
    startSeconds: parseDuration(o.startTime, "--start-time") / 1000,
    artifactMb: number(o.artifact, "--artifact", 0, 1e9),
    durationsFile: o.durations ?? null,
    memoryFile: o.memoryFile ?? null,
    workloads: o.workloads ? await declared(o.workloads) : [],
  };
}

function policiesOf(list: string | undefined, known: readonly string[]): string[] {
  if (list === undefined) return [...known];
  const names = list.split(",").map((name) => name.trim());
  const numbered = /^(fixed:\d{1,5}|prestage:[1-9]\d{0,5})$/;
  for (const name of names)
    if (!numbered.test(name) && (!known.includes(name) || name.includes(":")))
      throw new PrestageError(
        "USAGE",
        `--policies ${name}: one of ${known.filter((k) => !k.includes(":")).join(", ")}, ` +
          "prestage:N, fixed:MINUTES",
      );
  return [...new Set(names)];
}

async function declared(file: string): Promise<Workload[]> {
  const text = await readFile(file, "utf8").catch((cause: unknown) => {
    throw new PrestageError("USAGE", `cannot read ${file}`, { cause });
  });
  return readYaml(text, file, WorkloadsFile).workloads;
}

async function write(file: string, text: string): Promise<void> {
  await writeFile(file, text).catch((cause: unknown) => {
    throw new PrestageError("USAGE", `cannot write ${file}`, { cause });
  });
}

function number(text: string, option: string, low: number, high: number): number {
  const value = Number(text);
  if (text.trim() === "" || !(value >= low && value <= high))
    throw new PrestageError("USAGE", `${option} ${text}: a number from ${low} to ${high}`);
  return value;
}

function whole(text: string, option: string, low: number, high: number): number {
  const value = number(text, option, low, high);
  if (!Number.isInteger(value)) throw new PrestageError("USAGE", `${option}: a whole number`);
  return value;
}
