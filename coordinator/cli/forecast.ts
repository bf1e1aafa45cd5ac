/**
 * `prestage forecast`: what is to come and how sure that is, of a workload as the coordinator sees
 * it, or of recorded series. The work on files is handed in.
 */
import type { Command } from "commander";
import type { ForecastView, ForecastWatch } from "../../shared/api.ts";
import type { Call, Shell } from "../../shared/cli/command.ts";
import { duration, percent, table, time } from "../../shared/cli/text.ts";
import { QUANTILE_LEVELS } from "../../shared/domain.ts";
import { PrestageError } from "../../shared/errors.ts";
import { type Api, addApiCommand } from "./session.ts";

export type FileForecast = {
  series: string;
  binMs: number;
  bins: number;
  /** Counts of the last bins; NaN where not measured. */
  recent: number[];
  /** In bins. */
  seasons: number[];
  /** Share of each expert at the last origin. */
  mix: Record<string, number>;
  /** When the series was seen to have left its level. */
  driftsMs: number[];
  /** By origin: `quantiles[step][level]`. */
  forecasts: { origin: number; startMs: number; quantiles: number[][] }[];
};

export type FileForecasts = { levels: readonly number[]; horizon: number; series: FileForecast[] };

type ForecastFiles = (
  files: readonly string[],
  horizon: number,
  origins: number | null,
) => Promise<FileForecasts>;

type Options = {
  category?: string;
  host?: string;
  horizon: string;
  origins?: string;
  csv?: boolean;
};

const CSV_DIGITS = 7;

export function addForecast(
  program: Command,
  shell: Shell,
  group: string,
  load: () => Promise<ForecastFiles>,
): void {
  addApiCommand<Options>(program, shell, {
    usage: "forecast <what...>",
    group,
    summary: "expected requests with their uncertainty, of a workload or of recorded series",
    description:
      "Quantiles of the requests per future bin, drawn as a fan, and which models made them; of a " +
      "workload also the recent past and how its forecasts have done. WHAT is a workload, " +
      "or files SERIES.csv with the columns timestamp (ISO-8601 or Unix seconds at the start of " +
      "each bin) and value; seasons are found in the data. Files need no coordinator.",
    examples: [
      ["prestage forecast maps --category eu", "the next bins of one category"],
      ["prestage forecast requests.csv --horizon 24", "what follows a recorded series"],
      ["prestage forecast *.csv --horizon 12 --origins 12 --csv", "to be scored beside others"],
    ],
    setup: (command) => {
      command
        .option("--category <name>", "of a workload: only this category")
        .option("--host <name>", "of a workload: what enters at this host, not at all of them")
        .option("--horizon <bins>", "of files: bins ahead", "12")
        .option("--origins <n>", "of files: so many from the last quarter (default: the end)")
        .option("--csv", "of files: every quantile as CSV");
    },
    run: async (call, api) => {
      const names = call.args(0);
      if (names.some((name) => /\.csv$/i.test(name))) await showFiles(call, names, await load());
      else await showWorkload(call, api, names);
    },
  });
}

async function showFiles(
  call: Call<Options>,
  files: readonly string[],
  forecast: ForecastFiles,
): Promise<void> {
  const { horizon, origins, csv } = call.options;
  const count = origins === undefined ? null : whole(origins, "--origins", 10_000);
  const startMs = call.clock.monotonic();
  const made = await forecast(files, whole(horizon, "--horizon", 1000), count);
  const forecasts = made.series.reduce((sum, { forecasts }) => sum + forecasts.length, 0);
  const eachMs = (call.clock.monotonic() - startMs) / forecasts;
  if (csv && !call.json) {
    call.terminal.out(csvText(made));
    call.terminal.err(`${forecasts} forecasts, ${eachMs.toFixed(1)} ms each\n`);
  } else call.show(made, () => made.series.map((one) => seriesText(one, made.levels)).join("\n"));
}

async function showWorkload(
  call: Call<Options>,
  api: Api,
  names: readonly string[],
): Promise<void> {
  if (names.length !== 1)
    throw new PrestageError("USAGE", "forecast takes one workload, or files that end in .csv");
  const { category, host } = call.options;
  const view = await api.get<ForecastView>("forecast", { workload: names[0], category, host });
  call.show(view, () => forecastText(view));
}

function whole(text: string, option: string, max: number): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > max)
    throw new PrestageError("USAGE", `${option}: a whole number from 1 to ${max}`);
  return value;
}

export function csvText({ levels, series }: FileForecasts): string {
  const lines = [`series,origin,step,${levels.map((level) => `q${level}`).join(",")}`];
  for (const one of series) {
    for (const { origin, quantiles } of one.forecasts) {
      for (const [i, row] of quantiles.entries()) {
        const values = row.map((value) => Number(value.toPrecision(CSV_DIGITS)));
        lines.push(`${one.series},${origin},${i + 1},${values.join(",")}`);
      }
    }
  }
  return `${lines.join("\n")}\n`;
}

const FAN_WIDTH = 48;

/** Of the last origin: each bin's quantiles in figures and as a fan. */
function seriesText(one: FileForecast, levels: readonly number[]): string {
  const last = one.forecasts.at(-1);
  if (!last) return "";
  const highest = Math.max(1e-300, ...last.quantiles.map((row) => row[levels.indexOf(0.95)] ?? 0));
  const seasons = one.seasons.map((bins) => duration(bins * one.binMs)).join(", ") || "none";
  const quantile = (level: number) => ({
    title: `P${level * 100}`,
    value: (bin: { row: number[] }) => shortNumber(bin.row[levels.indexOf(level)] ?? 0),
    right: true,
  });
  const bins = table(
    last.quantiles.map((row, i) => ({ row, i })),
    [
      { title: "FROM", value: ({ i }) => time(last.startMs + i * one.binMs) },
      ...([0.05, 0.25, 0.5, 0.75, 0.95] as const).map(quantile),
      { title: "0 … ".concat(shortNumber(highest)), value: ({ row }) => fan(row, levels, highest) },
    ],
  );
  const head = `${one.series}: ${one.bins} bins of ${duration(one.binMs)}, seasons: ${seasons}`;
  const drift = one.driftsMs.at(-1);
  const left = drift === undefined ? "" : `last left its level at ${time(drift)}\n`;
  return `${head}\n(${mixText(one.mix)})\n${left}${bins}`;
}

/** The 90 % interval as `-`, the middle half as `=`, the median as `|`. */
function fan(row: readonly number[], levels: readonly number[], highest: number): string {
  const at = (level: number) =>
    Math.round(((row[levels.indexOf(level)] ?? 0) / highest) * (FAN_WIDTH - 1));
  const cells = Array.from({ length: FAN_WIDTH }, (_, i) => {
    if (i === at(0.5)) return "|";
    if (i >= at(0.25) && i <= at(0.75)) return "=";
    return i >= at(0.05) && i <= at(0.95) ? "-" : " ";
  });
  return cells.join("").trimEnd();
}

const BARS = " ▁▂▃▄▅▆▇█";

/** One bar for so many bins, as high as their mean. */
export function bars(counts: readonly number[], binsEach: number): string {
  const means: number[] = [];
  for (let i = 0; i < counts.length; i += binsEach) {
    const part = counts.slice(i, i + binsEach);
    means.push(part.reduce((sum, count) => sum + count, 0) / part.length);
  }
  const highest = Math.max(...means, 0);
  if (highest === 0) return " ".repeat(means.length);
  // What is not nothing is seen.
  return means.map((mean) => BARS[Math.ceil((mean / highest) * (BARS.length - 1))] ?? " ").join("");
}

function shortNumber(value: number): string {
  return value >= 1000 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
}

function mixText(mix: Record<string, number>): string {
  return Object.entries(mix)
    .filter(([, share]) => share >= 0.005)
    .sort(([, a], [, b]) => b - a)
    .map(([name, share]) => `${name} ${percent(share)}`)
    .join(", ");
}

/** Bins shown of each forecast. */
const BINS_SHOWN = 15;

export function forecastText({ forecasts }: ForecastView): string {
  if (forecasts.length === 0) return "no forecast: nothing was requested yet\n";
  return forecasts.map(oneForecast).join("\n");
}

const LEVELS: readonly number[] = QUANTILE_LEVELS;
/** Minutes in one bar of the recent past. */
const BAR_BINS = 2;

function oneForecast(forecast: ForecastView["forecasts"][number]): string {
  const shown = forecast.quantiles.slice(0, BINS_SHOWN).map((quantiles, i) => ({ quantiles, i }));
  const highest = Math.max(1, ...shown.map(({ quantiles }) => quantiles.at(-1) ?? 0));
  const quantile = (level: number) => ({
    title: `P${level * 100}`,
    value: (bin: { quantiles: number[] }) => bin.quantiles[LEVELS.indexOf(level)]?.toFixed(1),
    right: true,
  });
  const bins = table(shown, [
    { title: "FROM", value: ({ i }) => time(forecast.startMs + i * forecast.binMs).slice(11) },
    {
      title: "ANY",
      value: ({ i }) => percent(forecast.arrivalProbability[i] ?? 0),
      right: true,
    },
    ...[0.05, 0.25, 0.5, 0.75, 0.95].map(quantile),
    {
      title: `0 … ${shortNumber(highest)}`,
      value: ({ quantiles }) => fan(quantiles, LEVELS, highest),
    },
  ]);
  const where = forecast.host ?? "all hosts";
  const { recent } = forecast;
  const past = `last ${duration(recent.length * forecast.binMs)} at all hosts, up to ${shortNumber(
    Math.max(0, ...recent),
  )} a bin\n|${bars(recent, BAR_BINS)}|`;
  const contributions = `made by ${mixText(forecast.mix) || "nobody"}`;
  const head = `${forecast.workload}/${forecast.category} at ${where}`;
  return `${head}\n${past}\n${contributions}\n${watchText(forecast.watch)}${bins}`;
}

function watchText({ scores, driftsMs, ensemble }: ForecastWatch): string {
  const within = mixText(ensemble);
  const lines = within ? [`ensemble: ${within}`] : [];
  if (scores) {
    const { relativeLoss, coverage90, bias } = scores;
    const loss =
      relativeLoss === null ? "" : `, loss ${relativeLoss.toFixed(2)}× that of the day before`;
    const off = `, bias ${bias < 0 ? "" : "+"}${percent(bias)}`;
    lines.push(`90 % interval held ${percent(coverage90)}${loss}${off}`);
  } else lines.push("no forecast was scored yet");
  const drift = driftsMs.at(-1);
  if (drift !== undefined) lines.push(`last left its level at ${time(drift)}`);
  return `${lines.join("\n")}\n`;
}
