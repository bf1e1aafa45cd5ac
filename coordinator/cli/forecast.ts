/**
 * `prestage forecast`: what is to come and how sure that is, of a workload as the coordinator sees
 * it, or of recorded series. The work on files is handed in.
 */
import type { Command } from "commander";
import type { ForecastView } from "../../shared/api.ts";
import type { Call, Shell } from "../../shared/cli/command.ts";
import { PrestageError } from "../../shared/errors.ts";
import { csvText, type FileForecasts, seriesText } from "./series-forecast.ts";
import { type Api, addApiCommand } from "./session.ts";

type ForecastFiles = (
  files: readonly string[],
  horizon: number,
  origins: number | null,
  place: { timeZone: string; country?: string | undefined },
) => Promise<FileForecasts>;

type Options = {
  category?: string;
  host?: string;
  horizon: string;
  origins?: string;
  timeZone: string;
  country?: string;
  csv?: boolean;
};

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
      "each bin) and value; seasons are found in the data, and what days off change is learned " +
      "(Saturdays and Sundays; with a country its public holidays). Files need no coordinator.",
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
        .option("--time-zone <name>", "of files: whose clock people keep, Europe/Berlin", "UTC")
        .option("--country <code>", "of files: whose public holidays are days off, DE or DE-BY")
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
  const { horizon, origins, timeZone, country, csv } = call.options;
  const count = origins === undefined ? null : whole(origins, "--origins", 10_000);
  const startMs = call.clock.monotonic();
  const made = await forecast(files, whole(horizon, "--horizon", 1000), count, {
    timeZone,
    country,
  });
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
  const { forecastText } = await import("./workload-forecast.ts");
  call.show(view, () => forecastText(view));
}

function whole(text: string, option: string, max: number): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > max)
    throw new PrestageError("USAGE", `${option}: a whole number from 1 to ${max}`);
  return value;
}
