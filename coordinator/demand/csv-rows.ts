/**
 * Lines of the two CSV formats: one request row per line, and the wide Azure functions trace. A
 * record is one line: no column of theirs can hold a line end, and a stray quote then costs one
 * line and not the rest of the file. The only importer of csv-parse.
 */
import { parse } from "csv-parse/sync";
import { categoryName, FunctionNames, workloadName } from "./names.ts";
import { remembered } from "./remembered.ts";
import { parseTimestamp, UTC, type WallClock } from "./timestamp.ts";

/** `count` requests of one category at a time. */
export type TraceRow = {
  timestampMs: number;
  workload: string;
  category: string;
  origin: string;
  count: number;
};

/** The published traces have no date for their days; theirs began on a Monday in July 2019. */
export const AZURE_DAY_START_MS = Date.UTC(2019, 6, 15);
const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

export type RowReader = {
  /** Whether the first line was a header rather than data. */
  header: boolean;
  /** Lines do not say whose requests they are, the file's name does. */
  namedByFile: boolean;
  /** Adds the line's rows to `into`; what is wrong with it, else null: then nothing was added. */
  read(line: string, into: TraceRow[]): string | null;
};

export type CsvOptions = {
  /** What minute column 0 of the wide format means. */
  dayStartMs: number;
  /** Of lines that name none. */
  workload: string;
  unzoned?: WallClock;
};

const COLUMNS = {
  timestamp: ["timestamp", "time", "ts", "date"],
  workload: ["workload", "service", "app"],
  category: ["category"],
  origin: ["origin", "host", "site"],
  count: ["count", "requests", "value"],
} as const;
type Column = keyof typeof COLUMNS;

export function readerFor(format: "csv" | "azure", first: string, options: CsvOptions): RowReader {
  const fields = fieldsOf(first);
  if (fields === null) return longReader([], options);
  return format === "azure" ? wideReader(fields, options.dayStartMs) : longReader(fields, options);
}

/** The day that a file of the published trace is of, by its name; day 1 for others. */
export function azureDayStartMs(fileName: string): number {
  const day = Number(/\.d(\d{2})\b/.exec(fileName)?.[1] ?? 1);
  return AZURE_DAY_START_MS + (Math.max(1, day) - 1) * DAY_MS;
}

/** Null for what is no CSV record. */
function fieldsOf(line: string): string[] | null {
  if (!line.includes('"')) return line.split(",").map((field) => field.trim());
  try {
    const [record] = parse(line, { relax_column_count: true, trim: true });
    return record ?? null;
  } catch {
    return null;
  }
}

/** `timestamp,workload,category,origin,count`, in that order when there is no header. */
function longReader(first: readonly string[], options: CsvOptions): RowReader {
  const { workload: defaultWorkload, unzoned = UTC } = options;
  const header = first.length > 0 && parseTimestamp(first[0] ?? "") === null;
  const names = first.map((name) => name.toLowerCase());
  const at = (column: Column): number =>
    header
      ? names.findIndex((name) => (COLUMNS[column] as readonly string[]).includes(name))
      : Object.keys(COLUMNS).indexOf(column);
  const columns = {
    timestamp: at("timestamp"),
    workload: at("workload"),
    category: at("category"),
    origin: at("origin"),
    count: at("count"),
  };
  const workloads = remembered(workloadName);
  const categories = remembered(categoryName);
  const origins = remembered((text) => text);
  return {
    header,
    namedByFile: columns.workload < 0,
    read(line, into) {
      const record = fieldsOf(line);
      if (record === null) return "not CSV: quotes that do not pair";
      const time = record[columns.timestamp] ?? "";
      const timestampMs = parseTimestamp(time, unzoned);
      if (timestampMs === null) return `not a time: ${time.slice(0, 40)}`;
      const count = record[columns.count] || "1";
      if (!/^\d{1,12}(\.0*)?$/.test(count)) return `not a count: ${count.slice(0, 40)}`;
      if (Number(count) === 0) return null;
      into.push({
        timestampMs,
        workload: workloads(record[columns.workload] || defaultWorkload),
        category: categories(record[columns.category] ?? ""),
        origin: origins(record[columns.origin] ?? ""),
        count: Number(count),
      });
      return null;
    },
  };
}

/** One line per function, one column per minute of the day: a row per minute with invocations. */
function wideReader(first: readonly string[], dayStartMs: number): RowReader {
  const functionAt = first.indexOf("HashFunction");
  const minutes = first.flatMap((name, at) =>
    /^\d{1,5}$/.test(name) ? [{ at, timestampMs: dayStartMs + Number(name) * MINUTE_MS }] : [],
  );
  const names = new FunctionNames();
  return {
    header: true,
    namedByFile: false,
    read(line, into) {
      const record = fieldsOf(line);
      if (record === null) return "not CSV: quotes that do not pair";
      const hash = record[functionAt] ?? "";
      if (functionAt < 0 || hash === "") return "no HashFunction";
      if (record.length < first.length)
        return `${record.length} columns instead of ${first.length}`;
      const bad = minutes.find(({ at }) => !/^\d{1,12}$/.test(record[at] ?? ""));
      if (bad) return `not a count: ${record[bad.at]?.slice(0, 40)}`;
      const workload = names.nameOf(hash);
      for (const { at, timestampMs } of minutes) {
        const count = Number(record[at]);
        if (count > 0) into.push({ timestampMs, workload, category: "default", origin: "", count });
      }
      return null;
    },
  };
}
