/** What environments of recorded categories cost: by declaration, by the Azure files, by default. */
import { readFile } from "node:fs/promises";
import { PrestageError } from "../shared/errors.ts";
import type { Workload } from "../shared/workload.ts";
import type { Costs } from "./backtest/recorded.ts";
import type { BacktestArguments } from "./cli/backtest.ts";
import { FunctionNames } from "./demand/names.ts";

const MIB = 2 ** 20;
const GIB = 2 ** 30;
const MEMORY_MB_MIN = 1;

export async function costsOf(
  args: BacktestArguments,
): Promise<(workload: string, category: string) => Costs> {
  const { memoryMb, startSeconds, artifactMb } = args;
  const declared = new Map(args.workloads.map((workload) => [workload.name, workload]));
  const memory = await column(args.memoryFile, ["AverageAllocatedMb_pct50", "AverageAllocatedMb"]);
  const durations = await column(args.durationsFile, ["percentile_Average_50", "Average"]);
  return (workload) => {
    const own: Workload | undefined = declared.get(workload);
    const mb = own?.environment.resources.memoryMb ?? memory.get(workload) ?? memoryMb;
    return {
      memoryGb: (Math.max(MEMORY_MB_MIN, mb) * MIB) / GIB,
      startSeconds: own?.missCostSeconds ?? startSeconds,
      artifactBytes: artifactMb * 1e6,
      runSeconds: (durations.get(workload) ?? 0) / 1000,
    };
  };
}

/** A column of one of the Azure files, by the name the trace reader gives the function. */
async function column(
  file: string | null,
  wanted: readonly string[],
): Promise<Map<string, number>> {
  if (file === null) return new Map();
  const text = await readFile(file, "utf8").catch((cause: unknown) => {
    throw new PrestageError("USAGE", `cannot read ${file}`, { cause });
  });
  const [head = "", ...lines] = text.trim().split(/\r?\n/);
  const names = head.split(",");
  const functionAt = names.indexOf("HashFunction");
  const at = wanted.map((name) => names.indexOf(name)).find((index) => index >= 0);
  if (functionAt < 0 || at === undefined)
    throw new PrestageError(
      "CONFIG_INVALID",
      `${file}: no column HashFunction, or none of ${wanted.join(", ")}`,
    );
  const functions = new FunctionNames();
  return new Map(
    lines.flatMap((line) => {
      const cells = line.split(",");
      const value = Number(cells[at]);
      const name = functions.nameOf(cells[functionAt] ?? "");
      return Number.isFinite(value) && value > 0 ? [[name, value] as const] : [];
    }),
  );
}
