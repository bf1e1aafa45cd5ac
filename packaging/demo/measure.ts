/** What one run gave, as figures: from the requests as the client saw them and the fleet's totals. */

export type Served = {
  measured: boolean;
  /** Header `prestage-outcome`; "failed" when there was no answer below 500. */
  outcome: "hit" | "late" | "miss" | "failed";
  firstByteMs: number;
  /** 0 when there was no answer. */
  status: number;
};

/** Totals at one moment; a run's figures are the difference of two. */
export type Totals = {
  originBytes: number;
  peerBytes: number;
  wastedBytes: number;
  memoryByteMs: number;
};

export type RunFigures = {
  requests: number;
  failed: number;
  hits: number;
  late: number;
  misses: number;
  /** (late + miss) / answered. */
  coldShare: number;
  p50Ms: number;
  p95Ms: number;
  p99Ms: number;
  originBytes: number;
  peerBytes: number;
  wastedBytes: number;
  /** Memory held by environments times demand time. */
  memoryGbHours: number;
};

const GB_HOUR = 1e9 * 3_600_000;

export function figures(served: readonly Served[], before: Totals, after: Totals): RunFigures {
  const measured = served.filter((s) => s.measured);
  const count = (outcome: Served["outcome"]) =>
    measured.filter((s) => s.outcome === outcome).length;
  const failed = count("failed");
  const late = count("late");
  const misses = count("miss");
  const answered = measured.filter((s) => s.outcome !== "failed").map((s) => s.firstByteMs);
  const sorted = Float64Array.from(answered).sort();
  return {
    requests: measured.length,
    failed,
    hits: count("hit"),
    late,
    misses,
    coldShare: sorted.length === 0 ? 0 : (late + misses) / sorted.length,
    p50Ms: quantile(sorted, 0.5),
    p95Ms: quantile(sorted, 0.95),
    p99Ms: quantile(sorted, 0.99),
    originBytes: after.originBytes - before.originBytes,
    peerBytes: after.peerBytes - before.peerBytes,
    wastedBytes: after.wastedBytes - before.wastedBytes,
    memoryGbHours: (after.memoryByteMs - before.memoryByteMs) / GB_HOUR,
  };
}

/** The smallest value that at least a share `q` of the sorted values does not exceed; 0 of none. */
export function quantile(sorted: ArrayLike<number>, q: number): number {
  if (sorted.length === 0) return 0;
  const index = Math.min(sorted.length - 1, Math.max(0, Math.ceil(q * sorted.length) - 1));
  return sorted[index] ?? 0;
}
