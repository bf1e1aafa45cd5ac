/** What the coordinator forecasts of a workload, as text. */
import type { ForecastView, ForecastWatch } from "../../shared/api.ts";
import { duration, percent, table, time } from "../../shared/cli/text.ts";
import { QUANTILE_LEVELS } from "../../shared/domain.ts";
import { bars, fan, mixText, shortNumber } from "./fan.ts";

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
