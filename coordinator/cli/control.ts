/** `prestage pause`, `resume`, `import`: stop and restart all pre-work; give it history to learn from. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import type { Command } from "commander";
import type { HistoryRow, Imported, Paused } from "../../shared/api.ts";
import type { Shell } from "../../shared/cli/command.ts";
import { PrestageError } from "../../shared/errors.ts";
import { type Api, addApiCommand } from "./session.ts";

const FORMATS = ["auto", "csv", "azure", "log"] as const;
type TraceFormat = (typeof FORMATS)[number];

/** Reads recorded requests of a file; `report` is complete when the rows have been read. */
export type OpenTrace = (
  path: string,
  format: TraceFormat,
  signal: AbortSignal,
) => Promise<
  AsyncIterable<HistoryRow> & {
    readonly report: {
      format: string | null;
      lines: number;
      badLines: number;
      examples: { line: number; problem: string }[];
    };
  }
>;

export function addControl(
  program: Command,
  shell: Shell,
  group: string,
  deps: { openTrace: OpenTrace },
): void {
  addApiCommand(program, shell, {
    usage: "pause",
    group,
    summary: "stop all pre-work of the fleet, within 2 s",
    description:
      "Stops all pre-work of the fleet within 2 s: nothing more is staged or warmed ahead. " +
      "Requests are served as before; what is warm stays warm while it is used.",
    run: async (call, api) => {
      const paused = await api.post<Paused>("pause", {});
      call.show(paused, () => "pre-work is paused: `prestage resume` starts it again\n");
    },
  });
  addApiCommand(program, shell, {
    usage: "resume",
    group,
    summary: "start pre-work again",
    run: async (call, api) => {
      const paused = await api.post<Paused>("resume", {});
      call.show(paused, () => "pre-work is on\n");
    },
  });
  addImport(program, shell, group, deps.openTrace);
}

type ImportOptions = { format: string };

function addImport(program: Command, shell: Shell, group: string, openTrace: OpenTrace): void {
  addApiCommand<ImportOptions>(program, shell, {
    usage: "import <file>",
    group,
    summary: "recorded requests as demand history",
    description:
      "Reads recorded requests as demand history: CSV timestamp,workload,category,origin,count; " +
      "the wide Azure functions format; combined access logs; each also as .gz and .zst. The " +
      "same file is taken once, however often it is imported.",
    examples: [["prestage import access.log.gz", "forecasts start from this history"]],
    setup: (command) => {
      command.option("--format <name>", "csv, azure or log; auto looks at the first line", "auto");
    },
    run: async (call, api) => {
      const path = call.arg(0);
      const format = FORMATS.find((known) => known === call.options.format);
      if (!format) throw new PrestageError("USAGE", `--format: one of ${FORMATS.join(", ")}`);
      const size = await stat(path).catch((cause: unknown) => {
        throw new PrestageError("USAGE", `cannot read ${path}`, { cause });
      });
      const source = await fileHash(path);
      const trace = await openTrace(path, format, call.signal);
      const bar = call.progress(`importing ${path}`);
      let rows = 0;
      try {
        const counted = counting(trace, (row) => {
          rows += 1;
          bar.update(
            trace.report.lines,
            Math.max(trace.report.lines, size.size / 100),
            `${row} rows`,
          );
        });
        const imported = await importRows(api, source, counted);
        const { lines, badLines, examples } = trace.report;
        const result = {
          ...imported,
          source,
          format: trace.report.format,
          lines,
          badLines,
          examples,
        };
        call.show(result, () => importText(path, result));
      } finally {
        bar.end();
      }
      if (rows === 0)
        throw new PrestageError("CONFIG_INVALID", `${path}: no line could be read as a request`, {
          details: { examples: trace.report.examples },
        });
    },
  });
}

async function* counting(
  rows: AsyncIterable<HistoryRow>,
  seen: (count: number) => void,
): AsyncGenerator<HistoryRow> {
  let count = 0;
  for await (const row of rows) {
    seen(++count);
    yield row;
  }
}

/** Rows of one request; the API takes at most this many at once. */
const PART_ROWS = 20_000;

/** Sends rows in parts; a part that was taken before (the same source) adds nothing. */
export async function importRows(
  api: Pick<Api, "postLines">,
  source: string,
  rows: AsyncIterable<HistoryRow>,
): Promise<{ rows: number; duplicate: boolean }> {
  const total = { rows: 0, duplicate: true };
  let part: HistoryRow[] = [];
  let index = 0;
  const send = async () => {
    if (part.length === 0) return;
    const lines = ndjson(part);
    const answer = await api.postLines<Imported>("history", { source, part: index++ }, lines);
    total.rows += answer.rows;
    total.duplicate &&= answer.duplicate;
    part = [];
  };
  for await (const { timestampMs, workload, category, origin, count } of rows) {
    part.push({ timestampMs, workload, category, origin, count });
    if (part.length >= PART_ROWS) await send();
  }
  await send();
  return { rows: total.rows, duplicate: total.duplicate && index > 0 };
}

async function* ndjson(rows: readonly HistoryRow[]): AsyncGenerator<string> {
  for (let from = 0; from < rows.length; from += 500)
    yield rows
      .slice(from, from + 500)
      .map((row) => `${JSON.stringify(row)}\n`)
      .join("");
}

async function fileHash(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const part of createReadStream(path)) hash.update(part);
  return `sha256:${hash.digest("hex")}`;
}

function importText(
  path: string,
  result: { rows: number; duplicate: boolean; lines: number; badLines: number } & {
    examples: { line: number; problem: string }[];
  },
): string {
  if (result.duplicate) return `${path}: imported before, nothing added\n`;
  const head = `${path}: ${result.rows} rows of ${result.lines} lines imported\n`;
  if (result.badLines === 0) return head;
  const examples = result.examples.map((e) => `  line ${e.line}: ${e.problem}\n`).join("");
  return `${head}${result.badLines} lines could not be read, for example\n${examples}`;
}
