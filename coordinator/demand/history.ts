/**
 * Recent demand in memory: what forecasts and plans look at. The store keeps the durable copy;
 * after a restart the conductor adds its bins here again.
 */
import type { DemandBin } from "../../shared/domain.ts";

/** Counts per bin from `startMs` on, gap-free; `counts[i]` is the bin `startMs + i·binMs`. */
export type Series = { startMs: number; binMs: number; counts: Float64Array };

export type CategoryOf = { workload: string; category: string };

export class DemandHistory {
  readonly binMs: number;

  constructor(options: { binMs?: number } = {}) {
    this.binMs = options.binMs ?? 60_000;
  }

  /** Adds the bin's count to what is there already: bins are increments. */
  add(_bin: DemandBin): void {}

  /** One host's series or, for `null`, that of all hosts; whole bins in `[fromMs, toMs)`. */
  series(
    _workload: string,
    _category: string,
    _host: string | null,
    _range: { fromMs?: number; toMs?: number } = {},
  ): Series {
    return { startMs: 0, binMs: this.binMs, counts: new Float64Array(0) };
  }

  /** Every (workload, category) that has demand. */
  keys(): CategoryOf[] {
    return [];
  }

  /** Start of the last bin with a request; null when there was none. */
  lastArrivalMs(_workload: string, _category: string): number | null {
    return null;
  }

  /** Share of recent requests by host where they entered; sums to 1, empty without demand. */
  hostShare(_workload: string, _category: string): Map<string, number> {
    return new Map();
  }

  /** Forgets what ended before `beforeMs`. */
  prune(_beforeMs: number): void {}
}
