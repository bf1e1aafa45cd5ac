/**
 * Recent demand in memory: what forecasts and plans look at. The store keeps the durable copy;
 * after a restart the conductor adds its bins here again.
 *
 * Minutes are kept for days, hours for a year, and per host only what placement needs; what is
 * older or over a limit is dropped and counted, so that memory is bounded whatever comes in.
 */
import { categoryKey, DEMAND_BIN_MS, type DemandBin } from "../../shared/domain.ts";
import { BinCounts } from "./bins.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** Less than this is what rounding leaves of nothing. */
const WEIGHT_MIN = 1e-6;
/** A request counts half in a host's share after that long. */
const SHARE_HALF_LIFE_MS = DAY_MS;

/** Counts per bin from `startMs` on, gap-free; `counts[i]` is the bin `startMs + i·binMs`. */
export type Series = { startMs: number; binMs: number; counts: Float64Array };
export type CategoryOf = { workload: string; category: string };
export type Range = { fromMs?: number; toMs?: number };

export type HistoryOptions = {
  binMs?: number;
  /** Bins of all hosts together are kept that long; longer costs 1.5–6 kB per category and day. */
  keepMs?: number;
  /** Bins by host; longer costs as much per category, host and day. */
  keepHostMs?: number;
  keepHoursMs?: number;
  categoriesMax?: number;
  /** Per category; more hosts count in the total only. */
  hostsMax?: number;
};

type HostDemand = { bins: BinCounts; weight: number; atMs: number };
type Demand = CategoryOf & {
  bins: BinCounts;
  hours: BinCounts;
  hosts: Map<string, HostDemand>;
  lastMs: number | null;
};

export class DemandHistory {
  readonly binMs: number;
  /** Bins not taken: too many categories, or older than what is kept. */
  dropped = 0;
  readonly #options: Required<HistoryOptions>;
  readonly #demand = new Map<string, Demand>();
  #newestMs = Number.NEGATIVE_INFINITY;

  constructor(options: HistoryOptions = {}) {
    this.#options = {
      binMs: DEMAND_BIN_MS,
      keepMs: 15 * DAY_MS,
      keepHostMs: 2 * DAY_MS,
      keepHoursMs: 400 * DAY_MS,
      categoriesMax: 20_000,
      hostsMax: 1_000,
      ...options,
    };
    this.binMs = this.#options.binMs;
  }

  /** Adds the bin's count to what is there already: bins are increments. */
  add(bin: DemandBin): void {
    if (bin.count <= 0) return;
    const { keepMs, keepHostMs, keepHoursMs } = this.#options;
    if (bin.startMs < this.#newestMs - keepHoursMs) {
      this.dropped++;
      return;
    }
    const demand = this.#demandOf(bin);
    if (!demand) {
      this.dropped++;
      return;
    }
    this.#newestMs = Math.max(this.#newestMs, bin.startMs);
    const at = Math.floor(bin.startMs / this.binMs);
    demand.hours.add(Math.floor(bin.startMs / HOUR_MS), bin.count);
    if (bin.startMs >= this.#newestMs - keepMs) demand.bins.add(at, bin.count);
    demand.lastMs = Math.max(demand.lastMs ?? 0, at * this.binMs);
    const host = this.#hostOf(demand, bin.host);
    if (!host) return;
    if (bin.startMs >= this.#newestMs - keepHostMs) host.bins.add(at, bin.count);
    share(host, bin.startMs, bin.count);
  }

  /**
   * Takes back what an added bin had counted, e.g. of an import that another replaces; what is past
   * its keeping time is gone already. Call `forgetEmpty` after the last.
   */
  remove({ workload, category, host: name, startMs, count }: DemandBin): void {
    const demand = this.#demand.get(categoryKey(workload, category));
    if (!demand) return;
    const { keepMs, keepHostMs } = this.#options;
    const at = Math.floor(startMs / this.binMs);
    demand.hours.remove(Math.floor(startMs / HOUR_MS), count);
    if (startMs >= this.#newestMs - keepMs) demand.bins.remove(at, count);
    if (demand.lastMs === at * this.binMs) {
      const last = demand.bins.lastArrival();
      demand.lastMs = last === null ? null : last * this.binMs;
    }
    const host = demand.hosts.get(name);
    if (!host) return;
    if (startMs >= this.#newestMs - keepHostMs) host.bins.remove(at, count);
    share(host, startMs, -count);
  }

  /** Forgets categories and hosts all whose demand was removed. */
  forgetEmpty(): void {
    for (const [key, demand] of this.#demand) {
      if (demand.hours.lastArrival() === null) this.#demand.delete(key);
      for (const [name, host] of demand.hosts)
        if (host.weight < WEIGHT_MIN) demand.hosts.delete(name);
    }
  }

  /** One host's series or, for `null`, that of all hosts; whole bins in `[fromMs, toMs)`. */
  series(workload: string, category: string, host: string | null, range: Range = {}): Series {
    const demand = this.#demand.get(categoryKey(workload, category));
    const bins = host === null ? demand?.bins : demand?.hosts.get(host)?.bins;
    return read(bins, this.binMs, range);
  }

  /** All hosts together by the hour, further back than `series`. */
  hours(workload: string, category: string, range: Range = {}): Series {
    return read(this.#demand.get(categoryKey(workload, category))?.hours, HOUR_MS, range);
  }

  /** Every (workload, category) that has demand. */
  keys(): CategoryOf[] {
    return [...this.#demand.values()].map(({ workload, category }) => ({ workload, category }));
  }

  /** Start of the last bin with a request; null when there was none. */
  lastArrivalMs(workload: string, category: string): number | null {
    return this.#demand.get(categoryKey(workload, category))?.lastMs ?? null;
  }

  /** Share of recent requests by host where they entered; sums to 1, empty without demand. */
  hostShare(workload: string, category: string): Map<string, number> {
    const hosts = this.#demand.get(categoryKey(workload, category))?.hosts ?? new Map();
    const newestMs = Math.max(...[...hosts.values()].map((h: HostDemand) => h.atMs));
    const weights = new Map<string, number>();
    let sum = 0;
    for (const [host, { weight, atMs }] of hosts) {
      const now = weight * 0.5 ** ((newestMs - atMs) / SHARE_HALF_LIFE_MS);
      weights.set(host, now);
      sum += now;
    }
    for (const [host, weight] of weights) weights.set(host, weight / sum);
    return weights;
  }

  /** Forgets what ended before `beforeMs`, and of later demand what is past its keeping time. */
  prune(beforeMs: number): void {
    const { keepMs, keepHostMs, keepHoursMs } = this.#options;
    const binBefore = (keep: number) =>
      Math.floor(Math.max(beforeMs, this.#newestMs - keep) / this.binMs);
    const hourBefore = Math.floor(Math.max(beforeMs, this.#newestMs - keepHoursMs) / HOUR_MS);
    for (const [key, demand] of this.#demand) {
      demand.bins.prune(binBefore(keepMs));
      demand.hours.prune(hourBefore);
      for (const [name, host] of demand.hosts) {
        host.bins.prune(binBefore(keepHostMs));
        if (host.atMs < beforeMs) demand.hosts.delete(name);
      }
      if (demand.hours.last === null) this.#demand.delete(key);
    }
  }

  /** Memory held by counts. */
  get bytes(): number {
    let bytes = 0;
    for (const demand of this.#demand.values()) {
      bytes += demand.bins.bytes + demand.hours.bytes;
      for (const host of demand.hosts.values()) bytes += host.bins.bytes;
    }
    return bytes;
  }

  #demandOf({ workload, category }: CategoryOf): Demand | null {
    const key = categoryKey(workload, category);
    const known = this.#demand.get(key);
    if (known) return known;
    if (this.#demand.size >= this.#options.categoriesMax) return null;
    const demand: Demand = {
      workload,
      category,
      bins: new BinCounts(),
      hours: new BinCounts(),
      hosts: new Map(),
      lastMs: null,
    };
    this.#demand.set(key, demand);
    return demand;
  }

  #hostOf(demand: Demand, name: string): HostDemand | null {
    const known = demand.hosts.get(name);
    if (known) return known;
    if (demand.hosts.size >= this.#options.hostsMax) return null;
    const host = { bins: new BinCounts(), weight: 0, atMs: 0 };
    demand.hosts.set(name, host);
    return host;
  }
}

/** Adds requests to a decaying sum, also those of earlier than its last. */
function share(host: HostDemand, atMs: number, count: number): void {
  const newestMs = Math.max(host.atMs, atMs);
  const fade = (fromMs: number) => 0.5 ** ((newestMs - fromMs) / SHARE_HALF_LIFE_MS);
  host.weight = Math.max(0, host.weight * fade(host.atMs) + count * fade(atMs));
  host.atMs = newestMs;
}

function read(bins: BinCounts | undefined, binMs: number, { fromMs, toMs }: Range): Series {
  const first = bins?.first ?? null;
  const last = bins?.last ?? null;
  const from = fromMs === undefined ? (first ?? 0) : Math.floor(fromMs / binMs);
  const to = toMs === undefined ? (last === null ? from : last + 1) : Math.floor(toMs / binMs);
  const counts = bins ? bins.read(from, to) : new Float64Array(Math.max(0, to - from));
  return { startMs: from * binMs, binMs, counts };
}
