/**
 * Recorded requests from files, as a stream of rows: CSV, the wide format of the Azure functions
 * traces, access logs; plain, gz or zst. A file is never in memory as a whole; a bad line is
 * counted, not fatal.
 */
import { createHash, type Hash } from "node:crypto";
import { basename } from "node:path";
import type { Readable } from "node:stream";
import { PrestageError } from "../../shared/errors.ts";
import { CommonLog, type LoggedLine, looksLikeAccessLog } from "./access-log.ts";
import { azureDayStartMs, type RowReader, readerFor, type TraceRow } from "./csv-rows.ts";
import { parseJsonLine } from "./json-log.ts";
import { LINE_CHARS_MAX, LineSplitter } from "./lines.ts";
import { workloadName } from "./names.ts";
import { type Naming, namedByPath, withNames } from "./naming.ts";
import { remembered } from "./remembered.ts";
import { parseTimestamp, UTC, type WallClock } from "./timestamp.ts";
import { openBytes } from "./unpack.ts";

export type { TraceRow } from "./csv-rows.ts";
export type TraceFormat = "csv" | "azure" | "log";

export type Example = { line: number; problem: string };

export type TraceReport = {
  /** Null until the first line was seen. */
  format: TraceFormat | null;
  lines: number;
  rows: number;
  badLines: number;
  /** The first few bad lines. */
  examples: Example[];
  /** Requests that no rule is for, and the first few of them. */
  unmatched: number;
  unmatchedExamples: string[];
  /** Of the file as it lies there; the total is null for a stream. */
  bytesRead: number;
  bytesTotal: number | null;
  /**
   * What the recording begins with, by which it is known again when it has grown, moved or been
   * packed: SHA-256 over its first lines, and its name where that names the workload. Complete after those, or at the end of a shorter one.
   */
  fingerprint: string;
};

/** Can be iterated once, by rows or by batches; `report` is complete when the iteration is. */
export type TraceReader = AsyncIterable<TraceRow> & {
  readonly report: TraceReport;
  /** The same rows, many at a time: an iteration step costs more than a row. */
  batches(): AsyncIterable<readonly TraceRow[]>;
};

export type TraceOptions = {
  format?: TraceFormat | "auto" | undefined;
  /** What minute column 0 of the wide format means; default: by the file's name. */
  dayStartMs?: number;
  /** Default: by host and path. */
  naming?: Naming | undefined;
  workload?: string | undefined;
  category?: string | undefined;
  /** False: origins of log lines are left out. */
  origins?: boolean | undefined;
  /** Of times without a zone. */
  unzoned?: WallClock | undefined;
  /** Lines of another time are bad. */
  bounds?: { fromMs: number; toMs: number };
  signal?: AbortSignal;
};

const EXAMPLES_MAX = 5;
const FINGERPRINT_LINES = 16;
/** A recording may begin in the middle of a line, or with words about it. */
const STRANGE_LINES_MAX = 20;

/**
 * Reads a path or a stream. After the rows that could be read it throws CORRUPT (`details.byte`)
 * when a packed file is cut or damaged; NOT_FOUND for no file, USAGE for an unknown format.
 */
export function readTrace(source: string | Readable, options: TraceOptions = {}): TraceReader {
  const report: TraceReport = {
    format: null,
    lines: 0,
    rows: 0,
    badLines: 0,
    examples: [],
    unmatched: 0,
    unmatchedExamples: [],
    bytesRead: 0,
    bytesTotal: null,
    fingerprint: "",
  };
  async function* batches(): AsyncGenerator<readonly TraceRow[]> {
    const file = typeof source === "string" ? basename(source) : "stdin";
    const lines = new TraceLines(file, options, report);
    const splitter = new LineSplitter();
    try {
      const bytes = openBytes(source, options.signal);
      report.bytesTotal = bytes.bytesTotal;
      for await (const chunk of bytes.chunks) {
        report.bytesRead = bytes.bytesRead;
        yield lines.take(splitter.push(chunk));
      }
      yield lines.take(splitter.end());
      lines.checkFormat();
      lines.end();
    } catch (cause) {
      lines.end();
      throw explain(cause, typeof source === "string" ? source : "stdin");
    }
  }
  return {
    report,
    batches,
    async *[Symbol.asyncIterator]() {
      for await (const batch of batches()) yield* batch;
    },
  };
}

type ReadLine = (line: string, into: TraceRow[]) => string | null;

/** Lines of one recording to rows: the first decides how the rest is read. */
class TraceLines {
  readonly #file: string;
  readonly #options: TraceOptions;
  readonly #report: TraceReport;
  readonly #fingerprint: Hash = createHash("sha256");
  #fingerprinted = 0;
  #read: ReadLine | null = null;
  #strange: string[] = [];

  constructor(file: string, options: TraceOptions, report: TraceReport) {
    this.#file = file;
    this.#options = options;
    this.#report = report;
  }

  take(lines: readonly string[]): TraceRow[] {
    const rows: TraceRow[] = [];
    const report = this.#report;
    for (const line of lines) {
      report.lines++;
      if (line === "" || line.trim() === "") continue;
      if (this.#fingerprinted < FINGERPRINT_LINES) this.#recognise(line);
      const problem = line.length > LINE_CHARS_MAX ? TOO_LONG : this.#take(line, rows);
      if (problem !== null) bad(report, problem);
    }
    report.rows += rows.length;
    return rows;
  }

  /** Call it after the last line, also when the recording broke off. */
  end(): void {
    if (this.#report.fingerprint === "") this.#report.fingerprint = this.#fingerprint.digest("hex");
  }

  /** Throws USAGE when there were lines, and none that tells the format. */
  checkFormat(): void {
    const [first] = this.#strange;
    if (this.#read === null && first !== undefined) throw unknownFormat(first);
  }

  #recognise(line: string): void {
    this.#fingerprint.update(line).update("\n");
    if (++this.#fingerprinted === FINGERPRINT_LINES) this.end();
  }

  #take(line: string, rows: TraceRow[]): string | null {
    if (this.#read) {
      const before = rows.length;
      const problem = this.#read(line, rows);
      return problem ?? this.#outOfBounds(rows, before);
    }
    const { format: wanted } = this.#options;
    const format = wanted === "auto" || !wanted ? detect(line) : wanted;
    if (format === null) {
      this.#strange.push(line.slice(0, 200));
      if (this.#strange.length > STRANGE_LINES_MAX) this.checkFormat();
      return `in no known format: ${line.slice(0, 40)}`;
    }
    this.#report.format = format;
    if (format === "log") this.#read = this.#logReader();
    else {
      const reader = this.#csvReader(format, line);
      if (reader.namedByFile) this.#fingerprint.update(`${this.#fallback()}\n`);
      this.#read = (text, into) => reader.read(text, into);
      if (reader.header) return null;
    }
    return this.#take(line, rows);
  }

  #csvReader(format: "csv" | "azure", line: string): RowReader {
    const { dayStartMs, unzoned, workload, category } = this.#options;
    const reader = readerFor(format, line, {
      dayStartMs: dayStartMs ?? azureDayStartMs(this.#file),
      workload: this.#fallback(),
      ...(unzoned && { unzoned }),
    });
    if (workload === undefined && category === undefined) return reader;
    return {
      header: reader.header,
      namedByFile: reader.namedByFile && workload === undefined,
      read: (text, into) => {
        const before = into.length;
        const problem = reader.read(text, into);
        for (const row of into.slice(before)) {
          row.workload = workload ?? row.workload;
          row.category = category ?? row.category;
        }
        return problem;
      },
    };
  }

  #logReader(): ReadLine {
    const { naming = namedByPath(this.#fallback()), unzoned = UTC } = this.#options;
    const nameOf = withNames(naming, this.#options);
    const common = new CommonLog();
    const originOf = this.#options.origins === false ? () => "" : remembered((text) => text);
    return (line, rows) => {
      const logged = line.startsWith("{")
        ? parseJsonLine(line, common, unzoned)
        : common.parse(line);
      if ("problem" in logged) return logged.problem;
      const { timestampMs, count, origin } = logged;
      if (count === 0) return null;
      const named = nameOf(logged);
      if (named === null) this.#unmatched(logged);
      else {
        const { workload, category } = named;
        rows.push({ timestampMs, workload, category, origin: originOf(origin), count });
      }
      return null;
    };
  }

  #unmatched({ host, url, count }: LoggedLine): void {
    const report = this.#report;
    report.unmatched += count;
    if (report.unmatchedExamples.length >= EXAMPLES_MAX) return;
    const example = `${host ?? ""}${url ?? ""}`.slice(0, 120);
    if (!report.unmatchedExamples.includes(example)) report.unmatchedExamples.push(example);
  }

  /** Takes rows of nonsense times back out; a line is then bad as a whole. */
  #outOfBounds(rows: TraceRow[], from: number): string | null {
    const { bounds } = this.#options;
    if (!bounds) return null;
    for (let i = from; i < rows.length; i++) {
      const timestampMs = rows[i]?.timestampMs ?? 0;
      if (timestampMs >= bounds.fromMs && timestampMs < bounds.toMs) continue;
      rows.length = from;
      const when = timestampMs < 8.64e15 ? new Date(timestampMs).toISOString() : timestampMs;
      return timestampMs < bounds.fromMs ? `no plausible time: ${when}` : `a time to come: ${when}`;
    }
    return null;
  }

  #fallback(): string {
    return workloadName(this.#file.replace(/\..*$/, ""));
  }
}

const TOO_LONG = `longer than ${LINE_CHARS_MAX} characters`;

function detect(line: string): TraceFormat | null {
  if (/(^|,)"?HashFunction"?(,|$)/.test(line)) return "azure";
  if (looksLikeAccessLog(line)) return "log";
  if (/^"?(timestamp|time|ts|date)"?\s*(,|$)/i.test(line)) return "csv";
  if (/,\s*"?(timestamp|time|ts)"?\s*(,|$)/i.test(line)) return "csv";
  const [first = ""] = line.split(",");
  return line.includes(",") && parseTimestamp(first.replaceAll('"', "")) !== null ? "csv" : null;
}

function bad(report: TraceReport, problem: string): void {
  report.badLines++;
  if (report.examples.length < EXAMPLES_MAX) report.examples.push({ line: report.lines, problem });
}

function unknownFormat(line: string): PrestageError {
  return new PrestageError(
    "USAGE",
    "cannot tell the format: neither CSV with a timestamp, Azure functions trace nor access log " +
      "(--format csv, azure or log reads it as one)",
    { details: { firstLine: line } },
  );
}

function explain(cause: unknown, file: string): unknown {
  if (cause instanceof PrestageError && cause.code === "CORRUPT")
    return new PrestageError("CORRUPT", `${file} ${cause.message}`, {
      cause,
      details: cause.details,
    });
  if (cause instanceof PrestageError || !(cause instanceof Error) || !("code" in cause))
    return cause;
  if (cause.code === "ENOENT") return new PrestageError("NOT_FOUND", `no such file: ${file}`);
  return new PrestageError("CORRUPT", `cannot read ${file}: ${cause.message}`, { cause });
}
