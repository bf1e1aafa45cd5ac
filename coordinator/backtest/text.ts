/** A backtest's result for a terminal. */
import { bytes, type Column, duration, percent, table, time } from "../../shared/cli/text.ts";
import type { Point } from "./frontier.ts";
import type { BacktestResult, PolicyResult } from "./result.ts";

export function backtestText(result: BacktestResult): string {
  return [
    head(result),
    table(result.policies, COLUMNS),
    "",
    "relative to fixed:10 (arrival-minutes cold / loaded time without use / its memory / loads / memory-time)",
    table(result.policies, RELATIVE),
    frontierText(result),
    definitions(result),
    `${result.minutes} minutes of ${result.categories} categories in ` +
      `${duration(result.speed.seconds * 1000)}: ${times(result.speed.timesRealTime)} real time\n`,
  ].join("\n");
}

function head(r: BacktestResult): string {
  const left = r.categoriesInFile - r.categories;
  const lines = [
    `${r.file}: ${r.requests} requests of ${r.categories} categories in ${r.arrivalMinutes} ` +
      `arrival-minutes, ${duration(r.minutes * 60_000)} from ${time(r.startMs)} UTC`,
    `every policy learns from zero; ${
      r.warmUpMinutes > 0
        ? `the first ${duration(r.warmUpMinutes * 60_000)} are not counted`
        : "all of it counts"
    }; compulsory cold share ${percent2(r.compulsoryColdShare)}`,
  ];
  if (left > 0) lines.push(`${left} categories were left out, by chance (--sample, --seed)`);
  if (r.badLines > 0) lines.push(`${r.badLines} lines could not be read`);
  return `${lines.join("\n")}\n`;
}

const percent2 = (share: number) => `${(share * 100).toFixed(2)} %`;
const times = (ratio: number) => `${ratio >= 100 ? Math.round(ratio) : ratio.toFixed(2)}×`;
const right = true;

const COLUMNS: Column<PolicyResult>[] = [
  { title: "POLICY", value: (p) => p.name },
  { title: "COLD MIN", value: (p) => percent2(p.coldShareMinutes), right },
  { title: "COLD REQ", value: (p) => percent2(p.coldShareRequests), right },
  { title: "P50", value: (p) => percent(p.coldShareP50), right },
  { title: "P75", value: (p) => percent(p.coldShareP75), right },
  { title: "IDLE", value: (p) => duration(p.idleMinutes * 60_000), right },
  { title: "IDLE GB·H", value: (p) => p.idleGbHours.toFixed(1), right },
  { title: "LOADS", value: (p) => p.loads, right },
  { title: "FOR NOTHING", value: (p) => p.wastedLoads, right },
  { title: "MOVED", value: (p) => bytes(p.bytesMoved), right },
  { title: "WAIT MEAN", value: (p) => `${p.waitMsMean.toFixed(1)} ms`, right },
  { title: "WAIT P99", value: (p) => duration(p.waitMsP99), right },
];

const RELATIVE: Column<PolicyResult>[] = [
  { title: "POLICY", value: (p) => p.name },
  { title: "COLD", value: (p) => times(p.relative.cold), right },
  { title: "IDLE", value: (p) => times(p.relative.idle), right },
  { title: "IDLE GB·H", value: (p) => times(p.relative.idleMemory), right },
  { title: "LOADS", value: (p) => times(p.relative.loads), right },
  { title: "MEMORY", value: (p) => times(p.relative.memory), right },
];

const POINTS: Column<Point>[] = [
  { title: "SETTING", value: (p) => p.name },
  { title: "COLD", value: (p) => times(p.cold), right },
  { title: "IDLE", value: (p) => times(p.waste), right },
  { title: "LOADS", value: (p) => times(p.loads), right },
];

function frontierText({ frontiers, area, dominated }: BacktestResult): string {
  const lines = frontiers.map(
    ({ family, points }) => `frontier of ${family}, by idle time\n${table(points, POINTS)}`,
  );
  const areas = Object.entries(area.byFamily)
    .map(([family, value]) => `${family} ${value.toFixed(3)}`)
    .join(", ");
  lines.push(
    `area under the frontier, idle time from ${times(area.from)} to ${times(area.to)}: ${areas}\n` +
      `prestage ÷ best of the others (oracle apart): ${area.ratioToBestOther.toFixed(3)}; of what ` +
      `lies over the compulsory cold minutes: ${area.ratioBeyondCompulsory.toFixed(3)}\n`,
  );
  lines.push(
    dominated.length === 0
      ? "no standard policy is better than a setting of prestage's frontier in all three\n"
      : dominated.map(({ point, by }) => `${point.name} is dominated by ${by.name}\n`).join(""),
  );
  return lines.join("\n");
}

function definitions({ definitions: d }: BacktestResult): string {
  const lines = Object.entries(d).map(([name, text]) => `  ${name}: ${text}`);
  return `definitions\n${lines.join("\n")}\n`;
}
