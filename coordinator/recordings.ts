/**
 * What `prestage import` reads, as parts to send: files of recorded requests, or the answers of a
 * Prometheus. The conductor of the demand room on the command line's side.
 */
import { glob, stat } from "node:fs/promises";
import type { Readable } from "node:stream";
import type { HistoryRow } from "../shared/api.ts";
import { CategoryName, Name } from "../shared/domain.ts";
import { PrestageError } from "../shared/errors.ts";
import { Matcher } from "../shared/match.ts";
import type { Workload } from "../shared/workload.ts";
import type { Input, InputReport } from "./cli/import-input.ts";
import { Aggregate } from "./demand/aggregate.ts";
import { readTrace, type TraceFormat, type TraceReader } from "./demand/import.ts";
import { type Naming, namedByRules } from "./demand/naming.ts";
import { wallClock } from "./demand/timestamp.ts";

export type FileOptions = {
  files: readonly string[];
  stdin: Readable;
  format: TraceFormat | "auto";
  /** Rules by which requests are named; null: by host and path. */
  workloads: readonly Workload[] | null;
  workload?: string | undefined;
  category?: string | undefined;
  host?: string | undefined;
  source?: string | undefined;
  timeZone?: string | undefined;
  /** Later times are nonsense, plus a day for clocks and zones. */
  nowMs: number;
  signal: AbortSignal;
};

/** Earlier times are nonsense: clocks that were never set. */
const FROM_MS = Date.UTC(2000, 0, 1);
const DAY_MS = 86_400_000;
const EXAMPLES_MAX = 5;

/** The files that paths and patterns name, each once. Throws USAGE for none. */
export async function findFiles(patterns: readonly string[]): Promise<string[]> {
  const files = new Set<string>();
  for (const pattern of patterns) {
    if (pattern === "-" || !/[*?[{]/.test(pattern) || (await exists(pattern))) {
      if (pattern !== "-" && !(await exists(pattern)))
        throw new PrestageError("USAGE", `no such file: ${pattern}`);
      files.add(pattern);
      continue;
    }
    const found = (await Array.fromAsync(glob(pattern))).sort();
    if (found.length === 0) throw new PrestageError("USAGE", `no file matches ${pattern}`);
    for (const file of found) files.add(file);
  }
  return [...files];
}

/** Each file as an import of its own, or with a named source all as one. */
export function openFiles(options: FileOptions): Input[] {
  const { workload, category, host } = options;
  checkName("--workload", workload, Name);
  checkName("--category", category, CategoryName);
  checkName("--host", host, Name);
  const { workloads } = options;
  const naming = workloads === null ? undefined : namedByRules(new Matcher(workloads));
  const open = (files: readonly string[]) => new FileInput(files, options, naming);
  return options.source === undefined
    ? options.files.map((file) => open([file]))
    : [open(options.files)];
}

function checkName(option: string, value: string | undefined, schema: typeof Name): void {
  if (value === undefined) return;
  const result = schema.safeParse(value);
  if (!result.success)
    throw new PrestageError("USAGE", `${option} ${value}: ${result.error.issues[0]?.message}`);
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

class FileInput implements Input {
  readonly label: string;
  readonly #files: readonly string[];
  readonly #options: FileOptions;
  readonly #naming: Naming | undefined;
  readonly #aggregate: Aggregate;
  readonly #traces: TraceReader[] = [];
  #bytesTotal: number | null = 0;

  constructor(files: readonly string[], options: FileOptions, naming: Naming | undefined) {
    this.#files = files;
    this.#options = options;
    this.#naming = naming;
    this.label = files.length > 3 ? `${files[0]} … ${files.at(-1)}` : files.join(" ");
    const { host = null } = options;
    this.#aggregate = new Aggregate(host);
  }

  async *parts(): AsyncGenerator<HistoryRow[]> {
    await this.#measure();
    let broken: PrestageError | undefined;
    for (const file of this.#files) {
      const trace = this.#open(file);
      this.#traces.push(trace);
      try {
        for await (const rows of trace.batches()) {
          yield* this.#aggregate.add(rows);
          yield [];
        }
      } catch (cause) {
        // What came before the break is as good as any.
        if (!(cause instanceof PrestageError) || cause.code !== "CORRUPT") throw cause;
        broken ??= cause;
      }
    }
    yield* this.#aggregate.end();
    if (broken) throw broken;
  }

  progress() {
    const lines = this.#traces.reduce((sum, { report }) => sum + report.lines, 0);
    const done = this.#traces.reduce((sum, { report }) => sum + report.bytesRead, 0);
    return { done, total: this.#bytesTotal, lines, unit: "bytes" as const };
  }

  source(): string {
    const { source } = this.#options;
    if (source !== undefined) return `named:${source}`;
    return `log:${this.#traces[0]?.report.fingerprint ?? ""}`;
  }

  report(): InputReport {
    const reports = this.#traces.map(({ report }) => report);
    const sum = (of: (report: (typeof reports)[number]) => number) =>
      reports.reduce((total, report) => total + of(report), 0);
    const { span, ...summary } = this.#aggregate.summary();
    return {
      ...summary,
      span,
      format: reports[0]?.format ?? null,
      lines: sum((r) => r.lines),
      badLines: sum((r) => r.badLines),
      examples: this.#traces
        .flatMap(({ report }, i) =>
          report.examples.map((e) => ({ ...e, file: this.#files[i] ?? "" })),
        )
        .slice(0, EXAMPLES_MAX),
      unmatched: sum((r) => r.unmatched),
      unmatchedExamples: reports.flatMap((r) => r.unmatchedExamples).slice(0, EXAMPLES_MAX),
      warnings: [],
      covers: this.#options.source === undefined ? null : span,
      cutEdges: this.#options.source !== undefined,
    };
  }

  async #measure(): Promise<void> {
    for (const file of this.#files) {
      const size = file === "-" ? null : (await stat(file)).size;
      this.#bytesTotal =
        this.#bytesTotal === null || size === null ? null : this.#bytesTotal + size;
    }
  }

  #open(file: string): TraceReader {
    const { format, workload, category, timeZone, nowMs, signal, stdin } = this.#options;
    return readTrace(file === "-" ? stdin : file, {
      format,
      workload,
      category,
      naming: this.#naming,
      // Clients are no hosts of the fleet: who sends a request says not where it enters.
      origins: false,
      unzoned: timeZone === undefined ? undefined : wallClock(timeZone),
      bounds: { fromMs: FROM_MS, toMs: nowMs + DAY_MS },
      signal,
    });
  }
}
