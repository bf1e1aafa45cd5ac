/** Series of a Prometheus to rows of demand: labels name workload, category and host. */
import { DEMAND_BIN_MS } from "../../shared/domain.ts";
import type { TraceRow } from "./csv-rows.ts";
import { categoryName, workloadName } from "./names.ts";
import type { PromChunk, PromRange } from "./prometheus.ts";
import {
  keyOf,
  type Labels,
  PromCounts,
  type PromKind,
  type PromSeries,
} from "./prometheus-series.ts";

export type PromNames = {
  /** Fixed names go before labels. */
  workload?: string | undefined;
  category?: string | undefined;
  host?: string | undefined;
  labelWorkload?: string | undefined;
  labelCategory?: string | undefined;
  labelHost?: string | undefined;
};

type Named = { workload: string; category: string; origin: string };

const EXAMPLES_MAX = 5;

export class PromRows {
  readonly #names: PromNames;
  readonly #kind: PromKind;
  readonly #counts: PromCounts;
  readonly #named = new Map<string, Named | null>();
  #fromMs = Number.POSITIVE_INFINITY;
  #toMs = Number.NEGATIVE_INFINITY;
  /** Series without the workload's label. */
  unnamed = 0;
  readonly unnamedExamples: string[] = [];

  constructor(names: PromNames, kind: PromKind, { stepMs }: Pick<PromRange, "stepMs">) {
    this.#names = names;
    this.#kind = kind;
    this.#counts = new PromCounts(kind, stepMs);
  }

  get points(): number {
    return this.#counts.points;
  }
  get bad(): number {
    return this.#counts.bad;
  }
  get seriesSeen(): number {
    return this.#named.size;
  }

  /**
   * What there were points of, in whole minutes: beyond, the server may keep no more and tells
   * nothing, which is not that there was nothing.
   */
  get covers(): { fromMs: number; toMs: number } | null {
    return this.#fromMs < this.#toMs ? { fromMs: this.#fromMs, toMs: this.#toMs } : null;
  }

  *rows({ series, stepMs }: PromChunk, rangeFromMs: number): Generator<TraceRow[]> {
    this.#counts.seen(series);
    for (const one of series) {
      this.#cover(one, this.#kind === "counter" ? 0 : stepMs, rangeFromMs);
      const named = this.#nameOf(one.metric);
      if (named === null) continue;
      const rows: TraceRow[] = [];
      for (const { startMs, count } of this.#counts.count(one))
        if (startMs >= rangeFromMs) rows.push({ ...named, timestampMs: startMs, count });
      yield rows;
    }
  }

  /** `tellsMs`: how long before itself the first point tells of. */
  #cover({ values }: PromSeries, tellsMs: number, rangeFromMs: number): void {
    const first = values[0]?.[0];
    const last = values.at(-1)?.[0];
    if (first === undefined || last === undefined) return;
    const floor = (ms: number) => Math.floor(ms / DEMAND_BIN_MS) * DEMAND_BIN_MS;
    this.#fromMs = Math.min(this.#fromMs, Math.max(rangeFromMs, floor(first * 1000 - tellsMs)));
    this.#toMs = Math.max(this.#toMs, floor(last * 1000));
  }

  #nameOf(metric: Labels): Named | null {
    const key = keyOf(metric);
    const known = this.#named.get(key);
    if (known !== undefined) return known;
    const named = this.#read(metric);
    this.#named.set(key, named);
    if (named === null) {
      this.unnamed++;
      if (this.unnamedExamples.length < EXAMPLES_MAX) this.unnamedExamples.push(textOf(metric));
    }
    return named;
  }

  #read(metric: Labels): Named | null {
    const { workload, category, host, labelWorkload, labelCategory, labelHost } = this.#names;
    const own = workload ?? (labelWorkload === undefined ? undefined : metric[labelWorkload]);
    if (own === undefined || own === "") return null;
    const label = (name: string | undefined) => (name === undefined ? "" : (metric[name] ?? ""));
    return {
      workload: workload ?? workloadName(own),
      category: category ?? categoryName(label(labelCategory)),
      // An instance is an address with the exporter's port.
      origin: host ?? label(labelHost).replace(/:\d+$/, ""),
    };
  }
}

function textOf({ __name__: name = "", ...labels }: Labels): string {
  const pairs = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
  return `${name}{${pairs.join(", ")}}`.slice(0, 200);
}
