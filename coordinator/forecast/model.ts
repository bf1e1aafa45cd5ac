/** The seam of every quantile model: what it is given and what it answers. */
import type { Quantiles } from "./counts.ts";

/** Counts of the past, oldest first, no gaps. */
export type Past = { startMs: number; binMs: number; counts: Float64Array };

export type Fitted = {
  /** Of an expert from elsewhere, how many bins ahead it can speak of. */
  reach?: number;
  /** Quantiles of the count of the bin `ahead` bins after the past (0 = the next one). */
  predict(ahead: number): Quantiles;
};

/**
 * Experts that are not fitted here: by name, rows of `LEVELS` for the bins after the past, as many
 * as they can speak of.
 */
export type Outlook = (key: string, past: Past) => ReadonlyMap<string, Float64Array>;
