/** Forecasts of recorded series: as CSV for scorers, as a fan for people. */
import { duration, table, time } from "../../shared/cli/text.ts";
import { fan, mixText, shortNumber } from "./fan.ts";

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

const CSV_DIGITS = 7;

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

/** Of the last origin: each bin's quantiles in figures and as a fan. */
export function seriesText(one: FileForecast, levels: readonly number[]): string {
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
