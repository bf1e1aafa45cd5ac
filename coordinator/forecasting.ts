/**
 * `prestage forecast SERIES.csv...`: recorded series from rolling origins, each forecast made from
 * the bins before its origin only. Needs no coordinator that runs.
 */
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { PrestageError } from "../shared/errors.ts";
import type { FileForecast, FileForecasts } from "./cli/series-forecast.ts";
import { parseTimestamp } from "./demand/timestamp.ts";
import { type Calendar, calendarOf } from "./forecast/calendar.ts";
import { Ensemble, seasonsOf } from "./forecast/ensemble.ts";
import { LEVELS } from "./forecast/levels.ts";
import type { Past } from "./forecast/model.ts";
import { parseSeries } from "./forecast/series-file.ts";

/** Older bins are not learned from. */
const FIT_BINS_MAX = 20_000;
/** Seasons are looked for again when the past has grown by so much. */
const GROWTH = 1.15;

export type Place = { timeZone?: string | undefined; country?: string | undefined };

/** From the end of each series when `origins` is null, else from its last quarter. */
export async function forecastFiles(
  files: readonly string[],
  horizon: number,
  origins: number | null,
  place: Place = {},
): Promise<FileForecasts> {
  const calendar = await calendarAt(place);
  const series: FileForecast[] = [];
  for (const file of files) {
    const past = parseSeries(textOf(file), file, parseTimestamp);
    const name = basename(file).replace(/\.csv$/i, "");
    series.push({
      series: name,
      ...rolling(past, originsOf(past, horizon, origins, file), horizon, calendar),
    });
  }
  return { levels: LEVELS, horizon, series };
}

/** `country` may name a state too: `DE-BY`. */
async function calendarAt({ timeZone = "UTC", country }: Place): Promise<Calendar> {
  if (country === undefined) return calendarOf(timeZone);
  // Loads the holidays of all countries.
  const { holidayDays } = await import("./signals/holidays.ts");
  const [land = "", state] = country.split("-");
  try {
    return calendarOf(timeZone, holidayDays(land, state));
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new PrestageError("USAGE", `--country ${country}: ${why}`, { cause });
  }
}

/** At once: starting Node's threads for files would take longer than reading them. */
function textOf(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (cause) {
    throw new PrestageError("NOT_FOUND", `cannot read ${file}`, { cause });
  }
}

/** The first bin that is not seen, for each; evenly over the last quarter, as R's `seq` rounds. */
function originsOf(past: Past, horizon: number, count: number | null, file: string): number[] {
  const bins = past.counts.length;
  if (count === null) return [bins];
  const last = bins - horizon;
  const first = Math.min(bins * 0.75, last);
  if (last < 2)
    throw new PrestageError(
      "CONFIG_INVALID",
      `${file}, line ${bins + 1}: ${bins} bins are too few, ${horizon} ahead need ${horizon + 2}`,
    );
  const step = count > 1 ? (last - first) / (count - 1) : 0;
  return Array.from({ length: count }, (_, i) => halfEven(first + i * step));
}

function halfEven(x: number): number {
  const floor = Math.floor(x);
  if (x - floor === 0.5) return floor + (floor % 2);
  return Math.round(x);
}

function rolling(
  { startMs, binMs, counts }: Past,
  origins: readonly number[],
  horizon: number,
  calendar: Calendar,
): Omit<FileForecast, "series"> {
  let model: Ensemble | null = null;
  let seen = 0;
  let looked = 0;
  let fittedMs = startMs;
  const made = origins.map((origin) => {
    const from = Math.max(0, origin - FIT_BINS_MAX);
    const past = {
      startMs: startMs + from * binMs,
      binMs,
      counts: counts.subarray(from, origin),
    };
    let stale = model === null;
    if (model !== null && origin > looked * GROWTH) {
      stale = seasonsOf(past).join() !== model.signal.seasons.join();
      looked = origin;
    }
    if (model === null || stale) {
      model = Ensemble.fit(past, horizon, calendar);
      fittedMs = past.startMs;
      looked = origin;
    } else {
      for (; seen < origin; seen++) model.update(counts[seen] ?? Number.NaN);
    }
    seen = origin;
    const rows = model.predict(horizon);
    const quantiles = Array.from({ length: horizon }, (_, step) => [
      ...rows.subarray(step * LEVELS.length, (step + 1) * LEVELS.length),
    ]);
    return { origin, startMs: startMs + origin * binMs, quantiles };
  });
  const last: Ensemble | null = model;
  return {
    binMs,
    bins: counts.length,
    recent: [...counts.subarray(-3 * horizon)],
    seasons: [...((last as Ensemble | null)?.signal.seasons ?? [])],
    mix: (last as Ensemble | null)?.mix() ?? {},
    driftsMs: ((last as Ensemble | null)?.drifts() ?? []).map((t) => fittedMs + t * binMs),
    forecasts: made,
  };
}
