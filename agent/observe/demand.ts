/** Counts requests where they enter, in bins of the demand clock, until they are taken to report. */
import { DEMAND_BIN_MS, type DemandBin, type HostId } from "../../shared/domain.ts";

export class DemandCounter {
  readonly #host: HostId;
  readonly #rowsMax: number;
  #rows = new Map<string, DemandBin>();
  /** Requests ever counted, also those whose bin was dropped. */
  total = 0;
  /** Requests not in any bin because too many bins were waiting. */
  dropped = 0;

  constructor(host: HostId, { rowsMax = 50_000 }: { rowsMax?: number } = {}) {
    this.#host = host;
    this.#rowsMax = rowsMax;
  }

  count(workload: string, category: string, atMs: number): void {
    this.total++;
    const startMs = Math.floor(atMs / DEMAND_BIN_MS) * DEMAND_BIN_MS;
    const key = `${workload}/${category}@${startMs}`;
    const row = this.#rows.get(key);
    if (row) row.count++;
    else if (this.#rows.size >= this.#rowsMax) this.dropped++;
    else this.#rows.set(key, { workload, category, host: this.#host, startMs, count: 1 });
  }

  /** What was counted since the last call: increments, to be added where they arrive. */
  take(): DemandBin[] {
    const rows = [...this.#rows.values()];
    this.#rows = new Map();
    return rows;
  }
}
