/**
 * The prewarm policy on the recorded functions, on halves of them, on other hours, and on generated
 * demand: what a sweep of its prices reaches, each as shares of a fixed 10-minute keep-alive.
 *
 *   node test/bench/backtest.ts [--seed 1] [--only all,half 1]
 *
 * `area`: under its frontier ÷ under the best of the standard policies'. `lean`: the least cold
 * setting with no more idle time and no more loads; `eager`: with at most 1.35× the idle time;
 * `compulsory`: the cold minutes that nobody can foresee.
 */
import { parseArgs } from "node:util";
import type { Point } from "../../coordinator/backtest/frontier.ts";
import type { Row } from "../../coordinator/backtest/recorded.ts";
import type { BacktestResult } from "../../coordinator/backtest/result.ts";
import { backtest } from "../../coordinator/backtesting.ts";
import { readTrace } from "../../coordinator/demand/import.ts";
import { systemClock } from "../../shared/runtime/clock.ts";
import { type Random, seededRandom } from "../../shared/runtime/random.ts";

const FILE = new URL(
  "../../../shared/traces/functions-azure-2019/invocations.csv",
  import.meta.url,
);
const MINUTE_MS = 60_000;
const COSTS = { memoryGb: 0.125, startSeconds: 5, artifactBytes: 64e6, runSeconds: 0 };
const GENERATED = { categories: 150, minutes: 600 };

const { values: options } = parseArgs({
  options: { seed: { type: "string", default: "1" }, only: { type: "string", default: "" } },
});
const random = seededRandom(options.seed);
const rows: Row[] = [];
for await (const row of readTrace(FILE.pathname)) rows.push(row);
const startMs = rows.reduce((first, row) => Math.min(first, row.timestampMs), Infinity);
const half = new Map<string, number>();
for (const { workload } of rows)
  if (!half.has(workload)) half.set(workload, random.next() < 0.5 ? 1 : 2);
const numbers = new Map([...half.keys()].map((workload, i) => [workload, i]));
const hours = (from: number, to: number) =>
  rows.filter(({ timestampMs }) => {
    const hour = (timestampMs - startMs) / (60 * MINUTE_MS);
    return hour >= from && hour < to;
  });
const sets: [string, Row[]][] = [
  ["all", rows],
  ["half 1", rows.filter(({ workload }) => half.get(workload) === 1)],
  ["half 2", rows.filter(({ workload }) => half.get(workload) === 2)],
  ["hours 0-4", hours(0, 4)],
  ["hours 4-8", hours(4, 8)],
  ["hours 2-8", hours(2, 8)],
  ["hours 1-3", hours(1, 3)],
  ["hours 3-6", hours(3, 6)],
  ["odd ones", rows.filter(({ workload }) => (numbers.get(workload) ?? 0) % 2 === 1)],
  ["100 first", rows.filter(({ workload }) => (numbers.get(workload) ?? 0) < 100)],
  ["generated", generated(random)],
];
const only = options.only === "" ? null : options.only.split(",");
for (const [name, set] of sets) if (!only || only.includes(name)) await score(name, set);

async function score(name: string, set: readonly Row[]): Promise<void> {
  const request = {
    file: name,
    rows: each(set),
    report: { format: "csv", badLines: 0 },
    costs: () => COSTS,
    policies: ["prestage", "fixed:10"],
    ...{ warmUpMinutes: 0, seed: "1", sample: 2_000, memoryRatio: 0.95, loadShare: null },
    settings: {},
  };
  const { signal } = new AbortController();
  const result = await backtest(request, { clock: systemClock, signal, progress: () => {} });
  const points = result.frontiers.find(({ family }) => family === "prestage")?.points ?? [];
  const lean = least(points.filter((p) => p.waste <= 1 && p.loads <= 1));
  const eager = least(points.filter((p) => p.waste <= 1.35));
  const speed = Math.round(result.speed.timesRealTime);
  process.stdout.write(
    `${name.padEnd(10)} area ${result.area.ratioToBestOther.toFixed(3)}, dominated ` +
      `${result.dominated.length}; compulsory ${compulsoryOf(result).toFixed(2)}; lean ${shown(lean)}; eager ${shown(eager)}; ${speed}× real time\n`,
  );
}

/** Cold minutes that nobody can foresee, relative to those of `fixed:10`. */
function compulsoryOf({ compulsoryColdShare, policies }: BacktestResult): number {
  const fixed = policies.find(({ name }) => name === "fixed:10")?.coldShareMinutes ?? 1;
  return compulsoryColdShare / fixed;
}

async function* each(set: readonly Row[]): AsyncGenerator<Row> {
  yield* set;
}

function least(points: readonly Point[]): Point | undefined {
  return points.toSorted((a, b) => a.cold - b.cold)[0];
}

function shown(point: Point | undefined): string {
  if (!point) return "none";
  const [cold, idle, loads] = [point.cold, point.waste, point.loads].map((x) => x.toFixed(2));
  return `${point.name} cold ${cold} idle ${idle} loads ${loads}`;
}

/** Timers, chance, timers with skips and strays, busy times, two timers in one. */
function generated(from: Random): Row[] {
  const made: Row[] = [];
  for (let i = 0; i < GENERATED.categories; i++) {
    const period = 2 + from.int(90);
    const active = [
      (m: number) => m % period === 0,
      () => from.next() < 1 / period,
      (m: number) => (m % period === 0 ? from.next() < 0.9 : from.next() < 0.01),
      (m: number) => Math.floor(m / period) % 3 === 0 && from.next() < 0.3,
      (m: number) => m % period < 2 || m % 37 === 5,
    ][i % 5];
    for (let m = 0; m < GENERATED.minutes; m++)
      if (active?.(m))
        made.push({
          timestampMs: startMs + m * MINUTE_MS,
          workload: `w${i}`,
          category: "c",
          count: 1,
        });
  }
  return made;
}
