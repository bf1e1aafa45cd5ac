/** The seam of every quantile model: `fit` on the past, `predict` the bins after it. */
import type { Quantiles } from "./counts.ts";

/** Counts of the past, oldest first, no gaps. */
export type Past = { startMs: number; binMs: number; counts: Float64Array };

export type Fitted = {
  /** Quantiles of the count of the bin `ahead` bins after the past (0 = the next one). */
  predict(ahead: number): Quantiles;
};

export type Model = {
  readonly name: string;
  /** Null when the past has nothing this model could go by. */
  fit(past: Past): Fitted | null;
};
