/** Recorded requests from files, as a stream of rows: CSV, the wide Azure format, access logs. */
import type { Readable } from "node:stream";

export type TraceFormat = "csv" | "azure" | "log";

/** `count` requests of one category at a time; rows come in the order of the file. */
export type TraceRow = {
  timestampMs: number;
  workload: string;
  category: string;
  /** Where the requests came from (host, site or client); empty when the file does not say. */
  origin: string;
  count: number;
};

export type TraceReport = {
  format: TraceFormat | null;
  lines: number;
  rows: number;
  badLines: number;
  /** The first few bad lines. */
  examples: { line: number; problem: string }[];
};

export type TraceReader = AsyncIterable<TraceRow> & { readonly report: TraceReport };

export type TraceOptions = {
  format?: TraceFormat | "auto";
  /** What minute column 0 of the Azure format means. */
  dayStartMs?: number;
  signal?: AbortSignal;
};

export const AZURE_DAY_START_MS = Date.UTC(2019, 6, 15);

/** Reads a path (`.gz` and `.zst` are unpacked) or a stream of plain text, one line at a time. */
export function readTrace(_source: string | Readable, _options: TraceOptions = {}): TraceReader {
  const report: TraceReport = { format: null, lines: 0, rows: 0, badLines: 0, examples: [] };
  return { report, async *[Symbol.asyncIterator]() {} };
}
