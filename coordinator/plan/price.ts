/**
 * What a GB·hour of warm memory must cost so that, on the recorded demand, the planner's own
 * decisions take about as much memory-time as the keep-alive they replace. Operators know the
 * memory they spend today and not what a second of waiting is worth, so the price is derived.
 * Prequential: each decision sees the curve of its own prefix. Refused: a price in the config;
 * every new mix of workloads would need another one.
 */
import { seededRandom } from "../../shared/runtime/random.ts";
import {
  addResult,
  type CurveSource,
  emptyResult,
  fixedKeepAlive,
  hazardPolicy,
  type MinuteSeries,
  type RecordedCurves,
  type ReplayResult,
  recordCurves,
  replay,
} from "./replay.ts";

export type PriceOptions = {
  /** Memory-time wanted, as a share of what a fixed keep-alive takes; raised: more memory, fewer misses. */
  memoryRatio: number;
  keepAliveMinutes: number;
  /** Minutes of history used to learn only; at most half of it. */
  warmupMinutes: number;
  /** Bound on the curves computed (and on memory: 0.5 kB each); more series than fit are sampled. */
  curvesMax: number;
};
export const DEFAULT_PRICE_OPTIONS: PriceOptions = {
  memoryRatio: 0.95,
  keepAliveMinutes: 10,
  warmupMinutes: 60,
  curvesMax: 40_000,
};

export type PriceResult = {
  memoryGbHour: number;
  /** Memory-time reached ÷ that of the fixed keep-alive. */
  ratio: number;
  fixed: ReplayResult;
  policy: ReplayResult;
  seriesUsed: number;
};

const ROUNDS = 14;
const LOG_PRICE_MIN = Math.log(1e-4);
const LOG_PRICE_MAX = Math.log(1e6);

/** Null: the history has no arrivals to calibrate on. */
export function priceFromHistory(
  series: readonly MinuteSeries[],
  curves: CurveSource,
  options: PriceOptions = DEFAULT_PRICE_OPTIONS,
): PriceResult | null {
  const chosen = sample(series, options.curvesMax);
  const recorded = recordCurves(chosen, curves);
  const used = chosen.flatMap((s, i) => {
    const own = recorded[i];
    const from = Math.min(options.warmupMinutes, Math.floor(s.counts.length / 2));
    return own ? [{ series: s, curves: own, from }] : [];
  });
  const keepAlive = fixedKeepAlive(options.keepAliveMinutes);
  const fixed = used
    .map((u) => replay(u.series, keepAlive, u.from))
    .reduce(addResult, emptyResult());
  if (fixed.arrivalMinutes === 0) return null;
  const wanted = fixed.loadedGbMinutes * options.memoryRatio;
  let low = LOG_PRICE_MIN;
  let high = LOG_PRICE_MAX;
  let best = { price: Math.exp(high), result: replayAll(used, Math.exp(high)) };
  for (let round = 0; round < ROUNDS; round++) {
    const price = Math.exp((low + high) / 2);
    const result = replayAll(used, price);
    if (result.loadedGbMinutes > wanted) low = Math.log(price);
    else {
      high = Math.log(price);
      best = { price, result };
    }
  }
  return {
    memoryGbHour: best.price,
    ratio: best.result.loadedGbMinutes / fixed.loadedGbMinutes,
    fixed,
    policy: best.result,
    seriesUsed: used.length,
  };
}

type Used = { series: MinuteSeries; curves: RecordedCurves; from: number };

function replayAll(used: readonly Used[], price: number): ReplayResult {
  return used
    .map((u) => replay(u.series, hazardPolicy(u.series, u.curves, price), u.from))
    .reduce(addResult, emptyResult());
}

/** As many whole series as the bound allows, by a fixed shuffle: same history, same sample. */
function sample(series: readonly MinuteSeries[], curvesMax: number): MinuteSeries[] {
  const total = series.reduce((sum, s) => sum + s.counts.length, 0);
  if (total <= curvesMax) return [...series];
  const random = seededRandom("price");
  const shuffled = series
    .map((s) => ({ s, at: random.next() }))
    .sort((a, b) => a.at - b.at)
    .map(({ s }) => s);
  const taken: MinuteSeries[] = [];
  let left = curvesMax;
  for (const s of shuffled) {
    if (s.counts.length > left && taken.length > 0) continue;
    taken.push(cut(s, left));
    left -= s.counts.length;
    if (left <= 0) break;
  }
  return taken;
}

/** The newest `max` minutes. */
function cut(series: MinuteSeries, max: number): MinuteSeries {
  const skip = Math.max(0, series.counts.length - max);
  if (skip === 0) return series;
  const counts = Array.from(series.counts).slice(skip);
  return { ...series, counts, startMinute: series.startMinute + skip };
}
