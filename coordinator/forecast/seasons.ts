/**
 * Which seasons a series has: lags at which it comes back, found in its own autocorrelation. Hour,
 * day and week are looked at first, as cause enough; any other has to stand out more.
 */
import { autocorrelation, autocorrelationAt } from "./fft.ts";
import { Scratch } from "./scratch.ts";

const HOUR_MS = 3_600_000;
const CALENDAR_MS = [HOUR_MS, 24 * HOUR_MS, 168 * HOUR_MS];
const CYCLES_MIN = 2;
export const SEASONS_MAX = 2;
/** Standard errors of white noise that the autocorrelation at a season has to exceed. */
const CALENDAR_ERRORS = 3;
const OTHER_ERRORS = 6;
const OTHER_CORRELATION_MIN = 0.25;
const REFINE_CYCLES = 4;
/** At a longer season the series is so much more alike than a shorter one before and after it. */
const LONGER_ERRORS = 2;
const FLAT = new Scratch();

/** Season lengths in bins, shortest first; `values` have no gaps. */
export function detectSeasons(values: Float64Array, binMs: number): number[] {
  const lagMax = Math.floor(values.length / CYCLES_MIN);
  if (lagMax < 2) return [];
  const flat = detrended(values);
  const lagEnd = Math.min(values.length - 1, Math.ceil(lagMax * 1.2));
  // The few lags of the calendar are cheaper one by one than all of them at once.
  const at = (lag: number) => unbiased(autocorrelationAt(flat, lag), flat.length, lag);
  const error = (lag: number) => 1 / Math.sqrt(Math.max(1, flat.length - lag));
  const found: number[] = [];
  for (const seasonMs of CALENDAR_MS) {
    const lag = seasonMs / binMs;
    if (!Number.isInteger(lag) || lag < 4 || lag > lagMax) continue;
    const shorter = found.at(-1);
    const here = at(lag);
    if (here <= CALENDAR_ERRORS * error(lag)) continue;
    const beside =
      shorter === undefined ? besidePeak(at, lag) : besideMultiple(at, lag, shorter, lagEnd);
    const more = shorter === undefined ? 0.02 : LONGER_ERRORS * error(lag);
    if (here > beside + more) found.push(lag);
  }
  if (found.length === 0) {
    const all = autocorrelation(flat, lagEnd);
    const allAt = (lag: number) => unbiased(all[lag] ?? 0, flat.length, lag);
    const other = strongestPeak(allAt, lagMax);
    if (
      other !== null &&
      allAt(other) > Math.max(OTHER_CORRELATION_MIN, OTHER_ERRORS * error(other))
    )
      found.push(other);
  }
  return found.slice(-SEASONS_MAX);
}

/** Fewer products make up the correlation at a longer lag. */
function unbiased(correlation: number, bins: number, lag: number): number {
  return (correlation * bins) / Math.max(1, bins - lag);
}

/** A season is a peak: a part of it away the series is less alike. */
function besidePeak(at: (lag: number) => number, lag: number): number {
  return (at(Math.round(lag * 0.6)) + at(Math.round(lag * 0.75))) / 2;
}

/** What the multiples of the shorter season before and after lead to expect. */
function besideMultiple(
  at: (lag: number) => number,
  lag: number,
  shorter: number,
  lagEnd: number,
): number {
  const before = at(lag - shorter);
  return lag + shorter <= lagEnd ? (before + at(lag + shorter)) / 2 : before;
}

function strongestPeak(at: (lag: number) => number, lagMax: number): number | null {
  let lag = 1;
  while (lag < lagMax && at(lag) > 0) lag++;
  let best: number | null = null;
  for (; lag < lagMax; lag++) {
    const peak = at(lag) >= at(lag - 1) && at(lag) >= at(lag + 1);
    // Multiples of a season correlate as much: the first is the season.
    if (peak && (best === null || at(lag) > at(best) * 1.1)) best = lag;
  }
  return best === null ? null : refined(at, best, lagMax);
}

/** The peaks at multiples of a season tell its length more exactly. */
function refined(at: (lag: number) => number, season: number, lagMax: number): number {
  let length = season;
  for (let cycles = 2; cycles <= REFINE_CYCLES && cycles * length + cycles < lagMax; cycles++) {
    const reach = Math.min(cycles, Math.floor((length - 1) / 2));
    let peak = cycles * length;
    for (let lag = peak - reach; lag <= cycles * length + reach; lag++) {
      if (at(lag) > at(peak)) peak = lag;
    }
    length = Math.round(peak / cycles);
  }
  return length;
}

/** Without the straight line through it, outliers cut. */
function detrended(values: Float64Array): Float64Array {
  const n = values.length;
  let mean = 0;
  for (let i = 0; i < n; i++) mean += (values[i] ?? 0) / n;
  let cross = 0;
  let square = 0;
  for (let i = 0; i < n; i++) {
    const t = i - (n - 1) / 2;
    cross += t * ((values[i] ?? 0) - mean);
    square += t * t;
  }
  const slope = square > 0 ? cross / square : 0;
  const flat = FLAT.take(n);
  let spread = 0;
  for (let i = 0; i < n; i++) {
    const left = (values[i] ?? 0) - mean - slope * (i - (n - 1) / 2);
    flat[i] = left;
    spread += (left * left) / n;
  }
  const cut = 3 * Math.sqrt(spread);
  for (let i = 0; i < n; i++) flat[i] = Math.max(-cut, Math.min(cut, flat[i] ?? 0));
  return flat;
}
