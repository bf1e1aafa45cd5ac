/** Rows of the two CSV formats: one request row per line, and the wide Azure functions trace. */
import type { BadLine, LoggedRequest } from "./access-log.ts";
import { categoryName, FunctionNames, workloadName } from "./names.ts";
import { parseTimestamp } from "./timestamp.ts";

/** The published traces have no date for their days; theirs began on a Monday in July 2019. */
export const AZURE_DAY_START_MS = Date.UTC(2019, 6, 15);
const MINUTE_MS = 60_000;

export type RowReader = {
  /** Whether the first record was a header rather than data. */
  header: boolean;
  read(record: readonly string[]): Iterable<LoggedRequest | BadLine>;
};

const COLUMNS = {
  timestamp: ["timestamp", "time", "ts", "date"],
  workload: ["workload", "service", "app"],
  category: ["category"],
  origin: ["origin", "host", "site"],
  count: ["count", "requests", "value"],
} as const;

export function readerFor(
  format: "csv" | "azure",
  first: readonly string[],
  { dayStartMs, workload }: { dayStartMs: number; workload: string },
): RowReader {
  return format === "azure" ? wideReader(first, dayStartMs) : longReader(first, workload);
}

/** `timestamp,workload,category,origin,count`, in that order when there is no header. */
function longReader(first: readonly string[], defaultWorkload: string): RowReader {
  const header = parseTimestamp(first[0] ?? "") === null;
  const names = first.map((name) => name.toLowerCase());
  const at = (column: keyof typeof COLUMNS): number =>
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
  return {
    header,
    *read(record) {
      const time = record[columns.timestamp] ?? "";
      const timestampMs = parseTimestamp(time);
      const count = record[columns.count] || "1";
      if (timestampMs === null) yield { problem: `not a time: ${time.slice(0, 40)}` };
      else if (!/^\d{1,12}(\.0*)?$/.test(count)) {
        yield { problem: `not a count: ${count.slice(0, 40)}` };
      } else {
        yield {
          timestampMs,
          workload: workloadName(record[columns.workload] || defaultWorkload),
          category: categoryName(record[columns.category] ?? ""),
          origin: record[columns.origin] ?? "",
          count: Number(count),
        };
      }
    },
  };
}

/** One line per function, one column per minute of the day: a row per minute with invocations. */
function wideReader(first: readonly string[], dayStartMs: number): RowReader {
  const functionAt = first.indexOf("HashFunction");
  const minutes = first.flatMap((name, at) =>
    /^\d{1,4}$/.test(name) ? [{ at, timestampMs: dayStartMs + Number(name) * MINUTE_MS }] : [],
  );
  const names = new FunctionNames();
  return {
    header: true,
    *read(record) {
      const hash = record[functionAt] ?? "";
      if (functionAt < 0 || hash === "") yield { problem: "no HashFunction" };
      else if (record.length < first.length) {
        yield { problem: `${record.length} columns instead of ${first.length}` };
      } else {
        const workload = names.nameOf(hash);
        for (const { at, timestampMs } of minutes) {
          const count = Number(record[at]);
          if (!Number.isInteger(count) || count < 0) {
            yield { problem: `not a count: ${record[at]?.slice(0, 40)}` };
          } else if (count > 0) {
            yield { timestampMs, workload, category: "default", origin: "", count };
          }
        }
      }
    },
  };
}
