/** The demand history as the forecaster reads it. */
export type DemandSource = {
  readonly binMs: number;
  keys(): { workload: string; category: string }[];
  /** Counts per bin, gap-free, of one host or (`null`) all; whole bins in `[fromMs, toMs)`. */
  series(
    workload: string,
    category: string,
    host: string | null,
    range?: { fromMs?: number; toMs?: number },
  ): { startMs: number; binMs: number; counts: Float64Array };
  /** Start of the last bin with a request; null when there was none. */
  lastArrivalMs(workload: string, category: string): number | null;
  hostShare(workload: string, category: string): Map<string, number>;
};
