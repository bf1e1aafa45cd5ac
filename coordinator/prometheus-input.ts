/** What a Prometheus remembers of requests, as an import. */
import { createHash } from "node:crypto";
import type { HistoryRow } from "../shared/api.ts";
import { PrestageError } from "../shared/errors.ts";
import type { Input, InputReport } from "./cli/import-input.ts";
import { Aggregate } from "./demand/aggregate.ts";
import {
  type PromAccess,
  type PromDeps,
  PrometheusReader,
  type PromRange,
} from "./demand/prometheus.ts";
import { type PromNames, PromRows } from "./demand/prometheus-rows.ts";
import type { PromKind } from "./demand/prometheus-series.ts";

export type PrometheusOptions = PromAccess & {
  names: PromNames;
  kind: PromKind;
  range: PromRange;
  source?: string | undefined;
};

const SERIES_MAX = 200_000;

export function openPrometheus(options: PrometheusOptions, deps: PromDeps): Input {
  return new PrometheusInput(options, deps);
}

class PrometheusInput implements Input {
  readonly label: string;
  readonly #options: PrometheusOptions;
  readonly #reader: PrometheusReader;
  readonly #rows: PromRows;
  readonly #aggregate = new Aggregate(null);
  #doneMs = 0;

  constructor(options: PrometheusOptions, deps: PromDeps) {
    this.#options = options;
    this.label = new URL(options.url).host;
    this.#reader = new PrometheusReader(options, deps);
    this.#rows = new PromRows(options.names, options.kind, options.range);
  }

  async *parts(): AsyncGenerator<HistoryRow[]> {
    const { range } = this.#options;
    for await (const chunk of this.#reader.chunks(range)) {
      for (const rows of this.#rows.rows(chunk, range.fromMs)) yield* this.#aggregate.add(rows);
      if (this.#rows.seriesSeen > SERIES_MAX)
        throw new PrestageError(
          "TOO_LARGE",
          `over ${SERIES_MAX} series: sum in the query, by the labels that count`,
        );
      this.#doneMs = chunk.toMs - range.fromMs;
      yield [];
    }
    yield* this.#aggregate.end();
  }

  progress() {
    const { fromMs, toMs } = this.#options.range;
    const lines = this.#rows.points;
    return { done: this.#doneMs, total: toMs - fromMs, lines, unit: "milliseconds" as const };
  }

  /** The query, not how its labels are read: read otherwise, it replaces what it gave before. */
  source(): string {
    const { url, query, source } = this.#options;
    if (source !== undefined) return `named:${source}`;
    const hash = createHash("sha256")
      .update(`${url.replace(/\/+$/, "")}\n${query}`)
      .digest("hex");
    return `prometheus:${this.label.slice(0, 100)}:${hash.slice(0, 32)}`;
  }

  report(): InputReport {
    const { bad, points, unnamed, unnamedExamples, covers } = this.#rows;
    const problem = `${bad} points that are no count (NaN, negative, infinite)`;
    return {
      ...this.#aggregate.summary(),
      format: "prometheus",
      lines: points,
      badLines: bad,
      examples: bad > 0 ? [{ file: this.label, line: 0, problem }] : [],
      unmatched: unnamed,
      unmatchedExamples: unnamedExamples,
      warnings: [...this.#reader.warnings].slice(0, 10),
      covers,
      cutEdges: false,
    };
  }
}
