/** Requests counted per minute, as the agent's demand counter does. */
import { categoryKey, DEMAND_BIN_MS, type DemandBin, type HostId } from "../../shared/domain.ts";

export class DemandBins {
  readonly #host: HostId;
  #bins = new Map<string, DemandBin>();

  constructor(host: HostId) {
    this.#host = host;
  }

  add(workload: string, category: string, nowMs: number): void {
    const startMs = Math.floor(nowMs / DEMAND_BIN_MS) * DEMAND_BIN_MS;
    const key = `${categoryKey(workload, category)}/${startMs}`;
    const bin = this.#bins.get(key);
    if (bin) bin.count++;
    else this.#bins.set(key, { workload, category, host: this.#host, startMs, count: 1 });
  }

  /** Requests not taken yet. */
  count(): number {
    let sum = 0;
    for (const bin of this.#bins.values()) sum += bin.count;
    return sum;
  }

  take(): DemandBin[] {
    const bins = [...this.#bins.values()];
    this.#bins.clear();
    return bins;
  }
}
