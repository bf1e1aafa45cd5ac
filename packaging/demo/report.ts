/** The two runs side by side. */
import { bytes, percent, table } from "../../shared/cli/text.ts";
import type { RunFigures } from "./measure.ts";

export type Calibration = { coverage90: number; samples: number } | null;

export type DemoReport = {
  seed: string;
  trace: string | null;
  hosts: number;
  speed: number;
  playedMinutes: number;
  runInMinutes: number;
  historyHours: number;
  workloads: number;
  categories: number;
  artifactBytes: number;
  diskBytesPerHost: number;
  originBytesPerSecond: number;
  /** Requests left out to stay under the rate; series of the trace that were not played. */
  thinned: number;
  left: { constant: number; silent: number; notChosen: number };
  reactive: RunFigures;
  prestage: RunFigures;
  /** Prestage divided by reactive. */
  ratios: { coldShare: number | null; p50: number | null; p95: number | null } & {
    p99: number | null;
    memory: number | null;
    origin: number | null;
  };
  calibration: Calibration;
  tookSeconds: number;
};

export function ratio(prestage: number, reactive: number): number | null {
  return reactive > 0 ? prestage / reactive : null;
}

export function ratiosOf(reactive: RunFigures, prestage: RunFigures): DemoReport["ratios"] {
  return {
    coldShare: ratio(prestage.coldShare, reactive.coldShare),
    p50: ratio(prestage.p50Ms, reactive.p50Ms),
    p95: ratio(prestage.p95Ms, reactive.p95Ms),
    p99: ratio(prestage.p99Ms, reactive.p99Ms),
    memory: ratio(prestage.memoryGbHours, reactive.memoryGbHours),
    origin: ratio(prestage.originBytes, reactive.originBytes),
  };
}

type Line = { what: string; reactive: string; prestage: string; ratio: number | null };

export function reportText(report: DemoReport): string {
  const { reactive, prestage } = report;
  const line = (
    what: string,
    show: (run: RunFigures) => string,
    of: number | null = null,
  ): Line => ({
    what,
    reactive: show(reactive),
    prestage: show(prestage),
    ratio: of,
  });
  const { ratios } = report;
  const lines = [
    line("requests", (run) => `${run.requests}`),
    line("failed", (run) => `${run.failed}`),
    line("cold (late or miss)", (run) => `${run.late + run.misses}`),
    line("cold share", (run) => percent(run.coldShare), ratios.coldShare),
    line("time to first byte p50", (run) => milliseconds(run.p50Ms), ratios.p50),
    line("time to first byte p95", (run) => milliseconds(run.p95Ms), ratios.p95),
    line("time to first byte p99", (run) => milliseconds(run.p99Ms), ratios.p99),
    line(
      "memory held by environments",
      (run) => `${run.memoryGbHours.toFixed(2)} GB·h`,
      ratios.memory,
    ),
    line("bytes from origin", (run) => bytes(run.originBytes), ratios.origin),
    line("bytes from peers", (run) => bytes(run.peerBytes)),
    line("wasted bytes", (run) => bytes(run.wastedBytes)),
  ];
  return `${table(lines, [
    { title: "", value: (l) => l.what },
    { title: "REACTIVE", value: (l) => l.reactive, right: true },
    { title: "PRESTAGE", value: (l) => l.prestage, right: true },
    {
      title: "RATIO",
      value: (l) => (l.ratio === null ? " " : `${l.ratio.toFixed(2)}×`),
      right: true,
    },
  ])}\n${footText(report)}`;
}

/** Never rounded to look like nothing: one decimal under 100 ms. */
const milliseconds = (ms: number) => `${ms < 100 ? ms.toFixed(1) : Math.round(ms)} ms`;

function footText(report: DemoReport): string {
  const { calibration, left, thinned } = report;
  const lines = [
    calibration && calibration.samples > 0
      ? `forecasts: 90 % intervals held ${percent(calibration.coverage90)} of ${calibration.samples} bins`
      : "forecasts: not scored",
    `both runs: the same requests, cold start with empty disks, ${report.runInMinutes} minutes of ` +
      "run-in that are played but not measured, the same disk, memory and uplink limits",
    thinned > 0 ? `${thinned} requests of the busiest were left out to spare this machine` : "",
    left.constant + left.silent + left.notChosen > 0
      ? `series of the trace not played: ${left.notChosen} not chosen by the seed, ` +
        `${left.constant} constant, ${left.silent} silent`
      : "",
    `took ${Math.round(report.tookSeconds)} s`,
  ];
  return lines
    .filter((text) => text !== "")
    .map((text) => `${text}\n`)
    .join("");
}

/** What is going to be played, before it is. */
export function introText(
  report: Omit<DemoReport, "reactive" | "prestage" | "ratios" | "calibration" | "tookSeconds">,
): string {
  const source = report.trace ?? "built-in generator";
  const gap =
    report.playedMinutes === 60 ? "the last hour" : `the last ${report.playedMinutes} minutes`;
  return [
    `${source}, seed ${report.seed}: ${report.workloads} workloads, ${report.categories} categories, ` +
      `${report.historyHours.toFixed(1)} h of history, ${gap} played at ${report.speed}×`,
    `${report.hosts} hosts with ${bytes(report.diskBytesPerHost)} of disk each for ` +
      `${bytes(report.artifactBytes)} of artifacts; origin uplink ` +
      `${bytes(report.originBytesPerSecond)}/s, shared by all`,
    "",
  ].join("\n");
}
