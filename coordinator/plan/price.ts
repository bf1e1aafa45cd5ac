import type { CurveSource, MinuteSeries, ReplayResult } from "./replay.ts";

export type PriceOptions = {
  /** Memory-time wanted, as a share of what a fixed keep-alive takes. */
  memoryRatio: number;
  keepAliveMinutes: number;
  /** Minutes of history used to learn only. */
  warmupMinutes: number;
  /** Bound on the curves that are computed; more series than fit are sampled. */
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

/** Null: the history has no arrivals to calibrate on. */
export function priceFromHistory(
  _series: readonly MinuteSeries[],
  _curves: CurveSource,
  _options: PriceOptions = DEFAULT_PRICE_OPTIONS,
): PriceResult | null {
  return null;
}
