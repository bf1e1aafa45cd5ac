/** What an import command sends: something that is read in parts, whatever it is. */
import type { HistoryRow } from "../../shared/api.ts";

export type Input = {
  /** As the person named it. */
  readonly label: string;
  /** In order; an empty part only says that reading goes on. Throws after what could be read. */
  parts(): AsyncIterable<HistoryRow[]>;
  /** The total is null while nobody knows it. */
  progress(): {
    done: number;
    total: number | null;
    lines: number;
    unit: "bytes" | "milliseconds";
  };
  /** Whose batches replace one another; known with the first part. */
  source(): string;
  /** Complete after the last part. */
  report(): InputReport;
};

export type InputReport = {
  format: string | null;
  lines: number;
  badLines: number;
  examples: { file: string; line: number; problem: string }[];
  /** Requests that no workload's rule is for. */
  unmatched: number;
  unmatchedExamples: string[];
  warnings: string[];
  requests: number;
  bins: number;
  span: { fromMs: number; toMs: number } | null;
  series: { workload: string; category: string; requests: number }[];
  /** Requests of series beyond those that are listed. */
  unlisted: number;
  /** As the API takes it. */
  covers: { fromMs: number; toMs: number } | null;
  cutEdges: boolean;
};
