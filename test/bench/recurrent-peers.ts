/** What the recurrent network is measured against: seasonal naive and exponential smoothing. */
import { LEVELS } from "../../coordinator/forecast/levels.ts";

/** Quantiles of `LEVELS` by bins ahead, 1 being the next. */
export type Forecast = (ahead: number) => number[];

/** The same time yesterday, with the quantiles of its errors in the past week. */
export function naiveForecast(past: Float64Array, day: number, horizon: number): Forecast {
  const n = past.length;
  const lag = n > 2 * day ? day : 1;
  const errors: number[] = [];
  for (let i = Math.max(lag, n - 7 * day); i < n; i++)
    errors.push((past[i] ?? 0) - (past[i - lag] ?? 0));
  const spread = quantilesOf(errors);
  const rows = Array.from({ length: horizon }, (_, i) => {
    const base = past[n + i - lag * Math.ceil((i + 1) / lag)] ?? 0;
    return spread.map((q) => Math.max(0, base + q));
  });
  return (ahead) => rows[ahead - 1] ?? [];
}

const LEVEL_GAINS = [0.05, 0.2, 0.5, 0.9];
const SEASON_GAINS = [0, 0.1, 0.3];

/**
 * Additive exponential smoothing, ETS(A,N,N) or ETS(A,N,A), with the gains that do best on the
 * past; quantiles from its own errors at each distance.
 */
export function smoothedForecast(past: Float64Array, day: number, horizon: number): Forecast {
  const season = past.length >= 3 * day ? day : 0;
  const from = Math.max(0, past.length - 8 * day);
  const seen = past.subarray(from);
  const fits = LEVEL_GAINS.flatMap((level) =>
    (season ? SEASON_GAINS : [0]).map((gain) => smooth(seen, season, level, gain, horizon)),
  );
  const best = fits.reduce((a, b) => (b.loss < a.loss ? b : a));
  const rows = best.ahead.map((mean, i) =>
    quantilesOf(best.errors[i] ?? []).map((q) => Math.max(0, mean + q)),
  );
  return (ahead) => rows[ahead - 1] ?? [];
}

function smooth(
  past: Float64Array,
  season: number,
  gain: number,
  seasonGain: number,
  horizon: number,
) {
  const seasons = new Float64Array(Math.max(1, season));
  let level = past[0] ?? 0;
  if (season) {
    level = past.subarray(0, season).reduce((sum, v) => sum + v, 0) / season;
    for (let i = 0; i < season; i++) seasons[i] = (past[i] ?? 0) - level;
  }
  const at = (i: number) => (season ? (seasons[i % season] ?? 0) : 0);
  const start = season || 1;
  const errors = Array.from({ length: horizon }, (): number[] => []);
  let loss = 0;
  for (let i = start; i < past.length; i++) {
    const value = past[i] ?? 0;
    for (let h = 0; h < horizon && i + h < past.length && i > 2 * start; h++)
      errors[h]?.push((past[i + h] ?? 0) - level - at(i + h));
    const error = value - level - at(i);
    loss += Math.abs(error);
    level += gain * error;
    if (season) seasons[i % season] = at(i) + seasonGain * (1 - gain) * error;
  }
  const ahead = Array.from({ length: horizon }, (_, h) => level + at(past.length + h));
  return { loss, ahead, errors };
}

function quantilesOf(values: readonly number[]): number[] {
  const sorted = Float64Array.from(values).sort();
  return LEVELS.map((level) => {
    const at = level * Math.max(0, sorted.length - 1);
    const low = sorted[Math.floor(at)] ?? 0;
    return low + (at % 1) * ((sorted[Math.ceil(at)] ?? low) - low);
  });
}
