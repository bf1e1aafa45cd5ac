/**
 * The same time of an hour, a day or a week before, moved to today's level. Which of them the
 * series follows is decided by how well each repeats itself.
 */
import { countQuantiles } from "./counts.ts";
import type { Fitted, Model, Past } from "./model.ts";

const HOUR_MS = 3_600_000;
const SEASONS_MS = [HOUR_MS, 24 * HOUR_MS, 168 * HOUR_MS];
const CYCLES_MIN = 2;
/** What an older cycle counts for against the next one. */
const CYCLE_KEEP = 0.7;
/** A phase borrows from so many neighbours on each side: a part of the season. */
const SMOOTH_SHARE = 1 / 96;
/** The level of today is taken from the last part of a season, and pulled to 1 by so much. */
const LEVEL_SHARE = 1 / 12;
const LEVEL_PRIOR = 5;

export const seasonModel: Model = { name: "season", fit: fitSeason };

function fitSeason(past: Past): Fitted | null {
  const periods = SEASONS_MS.map((seasonMs) => Math.round(seasonMs / past.binMs)).filter(
    (period) => period >= 2 && past.counts.length >= CYCLES_MIN * period,
  );
  const longest = periods.at(-1);
  if (longest === undefined) return null;
  // All are compared on the same bins.
  const losses = periods.map((period) => repeatLoss(past.counts, period, longest));
  const period = periods[losses.indexOf(Math.min(...losses))] ?? longest;
  const { counts } = past;
  const means = profile(counts, counts.length, period);
  const level = levelOf(counts, counts.length, means, period);
  const dispersion = dispersionOf(counts, period);
  return {
    predict: (ahead) => {
      const mean = (means[(counts.length + ahead) % period] ?? 0) * level;
      return countQuantiles(mean, mean * dispersion);
    },
  };
}

/**
 * How far each of the last `bins` was from one that lies whole periods, and at least half of
 * `bins`, before: a curve is always like the hour before, what counts is whether it comes back.
 */
function repeatLoss(counts: Float64Array, period: number, bins: number): number {
  const lag = period * Math.ceil(bins / 2 / period);
  let loss = 0;
  for (let t = counts.length - bins; t < counts.length; t++) {
    loss += ((counts[t] ?? 0) - (counts[t - lag] ?? 0)) ** 2;
  }
  return loss;
}

/** Variance per mean, of the last cycle about what the ones before had foretold. */
function dispersionOf(counts: Float64Array, period: number): number {
  const end = counts.length - period;
  const means = profile(counts, end, period);
  const level = levelOf(counts, end, means, period);
  let squares = 1;
  let sum = 1;
  for (let t = end; t < counts.length; t++) {
    const mean = (means[t % period] ?? 0) * level;
    squares += ((counts[t] ?? 0) - mean) ** 2;
    sum += mean;
  }
  return Math.max(1, squares / sum);
}

/** Mean count by phase (bin number modulo period) of the cycles before `end`, newer ones more. */
function profile(counts: Float64Array, end: number, period: number): Float64Array {
  const sums = new Float64Array(period);
  const weights = new Float64Array(period);
  let weight = 1;
  for (let cycleEnd = end; cycleEnd > 0; cycleEnd -= period) {
    for (let t = Math.max(0, cycleEnd - period); t < cycleEnd; t++) {
      const phase = t % period;
      sums[phase] = (sums[phase] ?? 0) + weight * (counts[t] ?? 0);
      weights[phase] = (weights[phase] ?? 0) + weight;
    }
    weight *= CYCLE_KEEP;
  }
  const raw = sums.map((sum, phase) => sum / Math.max(weights[phase] ?? 0, 1e-9));
  const reach = Math.floor(period * SMOOTH_SHARE);
  return reach === 0 ? raw : smoothed(raw, reach);
}

function smoothed(values: Float64Array, reach: number): Float64Array {
  const size = values.length;
  let sum = 0;
  for (let i = -reach; i <= reach; i++) sum += values[(i + size) % size] ?? 0;
  return values.map((_, phase) => {
    const mean = sum / (2 * reach + 1);
    sum += (values[(phase + reach + 1) % size] ?? 0) - (values[(phase - reach + size) % size] ?? 0);
    return Math.max(0, mean);
  });
}

function levelOf(counts: Float64Array, end: number, means: Float64Array, period: number): number {
  const span = Math.max(1, Math.round(period * LEVEL_SHARE));
  let actual = LEVEL_PRIOR;
  let expected = LEVEL_PRIOR;
  for (let t = Math.max(0, end - span); t < end; t++) {
    actual += counts[t] ?? 0;
    expected += means[t % period] ?? 0;
  }
  return actual / expected;
}
