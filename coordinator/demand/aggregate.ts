/**
 * Rows to counts per minute and series, in parts of bounded size: what is sent and kept is as much
 * as the demand has minutes, not as the log has lines. A key may come again in a later part; its
 * counts then add up.
 */
import { DEMAND_BIN_MS } from "../../shared/domain.ts";
import type { TraceRow } from "./csv-rows.ts";
import { ownText } from "./remembered.ts";

/** One request of the API takes well more. */
const PART_BINS = 20_000;
const SERIES_MAX = 50_000;
/** As the API takes it. */
const ORIGIN_CHARS_MAX = 128;

export type SeriesTotal = { workload: string; category: string; requests: number };

export type Summary = {
  requests: number;
  bins: number;
  /** First and last minute, the end exclusive; null without requests. */
  span: { fromMs: number; toMs: number } | null;
  /** By requests, the most first. */
  series: SeriesTotal[];
  /** Requests of series beyond those that are listed. */
  unlisted: number;
};

export class Aggregate {
  readonly #host: string | null;
  readonly #keepOrigin: boolean;
  #bins = new Map<string, TraceRow>();
  readonly #series = new Map<string, SeriesTotal>();
  #requests = 0;
  #sent = 0;
  #unlisted = 0;
  #fromMs = Number.POSITIVE_INFINITY;
  #toMs = Number.NEGATIVE_INFINITY;

  /** `host` stands for all origins; null keeps them. */
  constructor(host: string | null) {
    this.#host = host;
    this.#keepOrigin = host === null;
  }

  /** Parts that got full, in order; the same rows give the same parts however they are grouped. */
  *add(rows: readonly TraceRow[]): Generator<TraceRow[]> {
    for (const row of rows) {
      this.#add(row);
      if (this.#bins.size >= PART_BINS) yield this.#take();
    }
  }

  *end(): Generator<TraceRow[]> {
    if (this.#bins.size > 0) yield this.#take();
  }

  summary(): Summary {
    return {
      requests: this.#requests,
      bins: this.#sent + this.#bins.size,
      span: this.#requests > 0 ? { fromMs: this.#fromMs, toMs: this.#toMs + DEMAND_BIN_MS } : null,
      series: [...this.#series.values()].sort((a, b) => b.requests - a.requests),
      unlisted: this.#unlisted,
    };
  }

  #add({ timestampMs, workload, category, origin, count }: TraceRow): void {
    const startMs = timestampMs - (timestampMs % DEMAND_BIN_MS);
    const series = `${workload}/${category}`;
    const key = this.#keepOrigin ? `${series}/${startMs}/${origin}` : `${series}/${startMs}`;
    this.#requests += count;
    const bin = this.#bins.get(key);
    if (bin) {
      bin.count += count;
      return;
    }
    if (startMs < this.#fromMs) this.#fromMs = startMs;
    if (startMs > this.#toMs) this.#toMs = startMs;
    const host = this.#host ?? ownText(origin.slice(0, ORIGIN_CHARS_MAX));
    this.#bins.set(key, { timestampMs: startMs, workload, category, origin: host, count });
  }

  #take(): TraceRow[] {
    const bins = [...this.#bins.values()];
    this.#bins = new Map();
    this.#sent += bins.length;
    for (const { workload, category, count } of bins) {
      const key = `${workload}/${category}`;
      const known = this.#series.get(key);
      if (known) known.requests += count;
      else if (this.#series.size < SERIES_MAX)
        this.#series.set(key, { workload, category, requests: count });
      else this.#unlisted += count;
    }
    return bins;
  }
}
