/** `prestage demo`: its options, and how it is shown. */
import type { Command } from "commander";
import { z } from "zod";
import type { Enroll } from "../../agent/cli/join.ts";
import { addCommand, type Call, type Shell } from "../../shared/cli/command.ts";
import { PrestageError } from "../../shared/errors.ts";
import type { DemoSettings } from "./input.ts";

type Options = {
  hosts: string;
  seed: string;
  speed: string;
  duration: string;
  trace?: string;
  workloads?: string;
  uplink?: string;
  disk: string;
  keep?: boolean;
};

const GENERATED_WORKLOADS = 12;
const TRACE_WORKLOADS = 30;

export function addDemo(program: Command, shell: Shell, group: string): void {
  addCommand<Options>(program, shell, {
    usage: "demo",
    group,
    summary: "the same requests without and with Prestage, on this machine",
    description:
      "Starts an origin with a limited uplink, a coordinator and agents as processes of their " +
      "own, and plays the last hour of a workload at 60× with real requests: first as a reactive " +
      "system answers them (environments made on demand, kept 10 minutes), then with Prestage. " +
      "What was before that hour is imported as history. Requests over 100 a real second are left " +
      "out, of the busiest workloads first. Takes under four minutes; Ctrl-C leaves " +
      "no process and no file behind.",
    examples: [
      ["prestage demo", "12 generated workloads"],
      ["prestage demo --trace invocations.csv --seed 7", "30 functions of a recorded trace"],
      ["prestage demo --duration 15 --json", "a quarter of an hour, for a script"],
    ],
    setup: (command) => {
      command
        .option("--hosts <n>", "agents", "4")
        .option("--seed <text>", "of everything left to chance", "1")
        .option("--speed <n>", "demand seconds per real second", "60")
        .option("--duration <minutes>", "demand minutes played and measured", "60")
        .option(
          "--trace <file>",
          "recorded requests: CSV timestamp,workload,category,origin,count; wide Azure functions " +
            "format; combined access log; each also .gz or .zst",
        )
        .option(
          "--workloads <n>",
          `at most so many workloads (default: ${GENERATED_WORKLOADS}, of a trace ${TRACE_WORKLOADS})`,
        )
        .option(
          "--uplink <MB/s>",
          "megabytes a second the origin sends to all hosts together " +
            "(default: all artifacts once in 10 demand minutes)",
        )
        .option("--disk <percent>", "disk of a host, of all artifact bytes", "40")
        .option("--keep", "keep the folder with logs and data");
    },
    run: async (call) => {
      const { runDemo } = await import("./demo.ts");
      const { reportText } = await import("./report.ts");
      const report = await runDemo(settingsOf(call.options), demoDeps(call, shell), call);
      call.show(report, () => `\n${reportText(report)}`);
    },
  });
}

function demoDeps(call: Call<Options>, { terminal, clock }: Shell) {
  return {
    clock,
    nodePath: terminal.nodePath,
    env: terminal.env,
    openTrace: async (path: string, signal: AbortSignal) => {
      const { readTrace } = await import("../../coordinator/demand/import.ts");
      return readTrace(path, { signal });
    },
    enroll: async (options: Parameters<Enroll>[0]) => {
      const { enroll } = await import("../../agent/trust/enroll.ts");
      await enroll({ ...options, clock });
    },
    kill: terminal.kill,
    say: (line: string) => terminal.err(`${line}\n`),
    progress: call.progress,
  };
}

function settingsOf(options: Options): DemoSettings {
  const trace = options.trace ?? null;
  const workloads = options.workloads ?? String(trace ? TRACE_WORKLOADS : GENERATED_WORKLOADS);
  return {
    hosts: number("--hosts", options.hosts, z.number().int().min(1).max(16)),
    seed: options.seed,
    speed: number("--speed", options.speed, z.number().min(1).max(240)),
    playMinutes: number("--duration", options.duration, z.number().int().min(1).max(1_440)),
    trace,
    workloads: number("--workloads", workloads, z.number().int().min(1).max(200)),
    uplinkBytesPerSecond:
      options.uplink === undefined
        ? null
        : 1e6 * number("--uplink", options.uplink, z.number().min(0.1).max(10_000)),
    diskShare: number("--disk", options.disk, z.number().min(1).max(1_000)) / 100,
    keep: options.keep === true,
  };
}

function number(option: string, text: string, schema: z.ZodNumber): number {
  const parsed = schema.safeParse(text.trim() === "" ? Number.NaN : Number(text));
  if (parsed.success) return parsed.data;
  const problem = parsed.error.issues[0]?.message ?? "not a number";
  throw new PrestageError("USAGE", `${option} ${text}: ${problem}`);
}
