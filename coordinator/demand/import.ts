/**
 * Recorded requests from files, as a stream of rows: CSV, the wide format of the Azure functions
 * traces, access logs. A file is never in memory as a whole; a bad line is counted, not fatal.
 * The only importer of csv-parse.
 */
import { createReadStream } from "node:fs";
import { basename } from "node:path";
import { addAbortSignal, pipeline, Readable } from "node:stream";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { type CsvError, parse } from "csv-parse";
import { PrestageError } from "../../shared/errors.ts";
import { type LoggedRequest, looksLikeAccessLog, parseAccessLine } from "./access-log.ts";
import { AZURE_DAY_START_MS, type RowReader, readerFor } from "./csv-rows.ts";
import { workloadName } from "./names.ts";

export type TraceFormat = "csv" | "azure" | "log";

/** `count` requests of one category at a time; rows come in the order of the file. */
export type TraceRow = LoggedRequest;

export type TraceReport = {
  /** Null until the first line was seen. */
  format: TraceFormat | null;
  lines: number;
  rows: number;
  badLines: number;
  /** The first few bad lines. */
  examples: { line: number; problem: string }[];
};

/** Can be iterated once; `report` is complete when the iteration is. */
export type TraceReader = AsyncIterable<TraceRow> & { readonly report: TraceReport };

export type TraceOptions = {
  format?: TraceFormat | "auto";
  /** What minute column 0 of the Azure format means. */
  dayStartMs?: number;
  signal?: AbortSignal;
};

const EXAMPLES_MAX = 5;
const LINE_CHARS_MAX = 1 << 20;

/** Reads a path (`.gz` and `.zst` are unpacked) or a stream of plain text. */
export function readTrace(source: string | Readable, options: TraceOptions = {}): TraceReader {
  const report: TraceReport = { format: null, lines: 0, rows: 0, badLines: 0, examples: [] };
  return {
    report,
    async *[Symbol.asyncIterator]() {
      const name = typeof source === "string" ? basename(source).replace(/\..*$/, "") : "trace";
      const stream = open(source, options.signal);
      try {
        for await (const row of rows(stream, name, options, report)) {
          report.rows++;
          yield row;
        }
      } catch (cause) {
        throw explain(cause, source, options.signal);
      } finally {
        stream.destroy();
      }
    },
  };
}

async function* rows(
  stream: Readable,
  name: string,
  options: TraceOptions,
  report: TraceReport,
): AsyncGenerator<TraceRow> {
  const chunks = textOf(stream);
  let head = "";
  let line: string | undefined;
  while (line === undefined) {
    const { value, done } = await chunks.next();
    head += value ?? "";
    line = firstLine(head, done === true);
    if (done && line === undefined) return;
  }
  const format = options.format === "auto" || !options.format ? detect(line) : options.format;
  if (format === null) throw unknownFormat(line);
  report.format = format;
  const text = (async function* () {
    yield head;
    yield* chunks;
  })();
  if (format === "log") yield* logRows(text, name, report);
  else yield* csvRows(text, name, format, options.dayStartMs ?? AZURE_DAY_START_MS, report);
}

async function* logRows(
  text: AsyncIterable<string>,
  name: string,
  report: TraceReport,
): AsyncGenerator<TraceRow> {
  for await (const line of linesOf(text)) {
    report.lines++;
    if (line.trim() === "") continue;
    const row =
      line.length > LINE_CHARS_MAX ? { problem: "too long" } : parseAccessLine(line, name);
    if ("problem" in row) bad(report, report.lines, row.problem);
    else if (row.count > 0) yield row;
  }
}

async function* csvRows(
  text: AsyncIterable<string>,
  name: string,
  format: "csv" | "azure",
  dayStartMs: number,
  report: TraceReport,
): AsyncGenerator<TraceRow> {
  const parser = parse({
    bom: true,
    info: true,
    relax_column_count: true,
    skip_empty_lines: true,
    skip_records_with_error: true,
    trim: true,
    max_record_size: LINE_CHARS_MAX,
    on_skip: (error: CsvError | undefined) =>
      void bad(report, Number(error?.lines ?? report.lines + 1), error?.message ?? "not CSV"),
  });
  // Errors arrive at the loop below through the parser.
  pipeline(Readable.from(text), parser, () => undefined);
  let reader: RowReader | null = null;
  for await (const { record, info } of parser) {
    report.lines = info.lines;
    if (reader === null) {
      reader = readerFor(format, record, { dayStartMs, workload: workloadName(name) });
      if (reader.header) continue;
    }
    for (const row of reader.read(record)) {
      if ("problem" in row) bad(report, info.lines, row.problem);
      else if (row.count > 0) yield row;
    }
  }
}

function detect(line: string): TraceFormat | null {
  if (/(^|,)HashFunction(,|$)/.test(line)) return "azure";
  if (looksLikeAccessLog(line)) return "log";
  if (/^"?(timestamp|time|ts|date)"?(,|$)/i.test(line)) return "csv";
  if (/,"?(timestamp|time|ts)"?(,|$)/i.test(line)) return "csv";
  return /^"?\d[^,]*,/.test(line) ? "csv" : null;
}

function bad(report: TraceReport, line: number, problem: string): void {
  report.badLines++;
  // The CSV parser is ahead of us with those it skips.
  report.examples.push({ line, problem });
  report.examples.sort((a, b) => a.line - b.line);
  report.examples.length = Math.min(report.examples.length, EXAMPLES_MAX);
}

function open(source: string | Readable, signal: AbortSignal | undefined): Readable {
  const raw = typeof source === "string" ? createReadStream(source) : source;
  if (signal) addAbortSignal(signal, raw);
  if (typeof source !== "string") return raw;
  if (source.endsWith(".gz")) return pipeline(raw, createGunzip(), () => undefined);
  if (source.endsWith(".zst")) return pipeline(raw, createZstdDecompress(), () => undefined);
  return raw;
}

async function* textOf(stream: Readable): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  for await (const chunk of stream) {
    yield typeof chunk === "string" ? chunk : decoder.decode(chunk, { stream: true });
  }
  yield decoder.decode();
}

/** The lines of a text; of one that is far too long only the beginning. */
async function* linesOf(text: AsyncIterable<string>): AsyncGenerator<string> {
  let rest = "";
  for await (const chunk of text) {
    const lines = (rest + chunk).split("\n");
    rest = (lines.pop() ?? "").slice(0, LINE_CHARS_MAX + 1);
    for (const line of lines) yield line.endsWith("\r") ? line.slice(0, -1) : line;
  }
  if (rest !== "") yield rest;
}

/** The first line with something in it; undefined when more text is needed. */
function firstLine(text: string, ended: boolean): string | undefined {
  const lines = text.replace(/^\uFEFF/, "").split(/\r?\n/);
  if (!ended && text.length <= LINE_CHARS_MAX) lines.pop();
  return lines.find((line) => line.trim() !== "");
}

function unknownFormat(line: string): PrestageError {
  return new PrestageError(
    "USAGE",
    "cannot tell the format: neither CSV with a timestamp, Azure functions trace nor access log",
    { details: { firstLine: line.slice(0, 200) } },
  );
}

function explain(cause: unknown, source: string | Readable, signal?: AbortSignal): unknown {
  if (signal?.aborted) return signal.reason;
  if (!(cause instanceof Error) || !("code" in cause) || cause instanceof PrestageError) {
    return cause;
  }
  const file = typeof source === "string" ? source : "stream";
  if (cause.code === "ENOENT") return new PrestageError("NOT_FOUND", `no such file: ${file}`);
  return new PrestageError("CORRUPT", `cannot read ${file}: ${cause.message}`, { cause });
}
