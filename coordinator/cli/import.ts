/** `prestage import`: recorded demand to learn from, out of logs, CSV files or a Prometheus. */
import { readFile } from "node:fs/promises";
import type { Command } from "commander";
import type { Imported, WorkloadList } from "../../shared/api.ts";
import type { Call, Shell } from "../../shared/cli/command.ts";
import { PrestageError } from "../../shared/errors.ts";
import type { Workload } from "../../shared/workload.ts";
import type { Input, InputReport } from "./import-input.ts";
import { importText } from "./import-text.ts";
import { type PrometheusFlags, prometheusOptions, prometheusSettings } from "./prometheus-flags.ts";
import { type Api, addApiCommand } from "./session.ts";
import { Upload } from "./upload.ts";

const FORMATS = ["auto", "csv", "azure", "log"] as const;
type Format = (typeof FORMATS)[number];

export type OpenFiles = {
  files: string[];
  format: Format;
  workloads: readonly Workload[] | null;
  workload?: string | undefined;
  category?: string | undefined;
  host?: string | undefined;
  source?: string | undefined;
  timeZone?: string | undefined;
};

/** What the conductor opens for the command. */
export type Recordings = {
  /** Paths of patterns; throws USAGE for none. */
  find(patterns: readonly string[]): Promise<string[]>;
  files(options: OpenFiles, call: Call<object>): Promise<Input[]>;
  prometheus(
    settings: Awaited<ReturnType<typeof prometheusSettings>>,
    call: Call<object>,
  ): Promise<Input>;
};

type Options = PrometheusFlags & {
  format: string;
  by: string;
  workloads?: string;
  workload?: string;
  category?: string;
  host?: string;
  source?: string;
  timeZone?: string;
  dryRun?: boolean;
};

export type ImportResult = Omit<InputReport, "covers" | "cutEdges"> & {
  input: string;
  source: string;
  dryRun: boolean;
  /** Null for a dry run. */
  imported: Imported | null;
  /** Where it broke off; what was read before is imported. */
  failure: { code: string; message: string; byte: number | null } | null;
};

export function addImport(
  program: Command,
  shell: Shell,
  group: string,
  recordings: Recordings,
): void {
  addApiCommand<Options>(program, shell, {
    usage: "import [files...]",
    group,
    summary: "recorded requests as demand history: access logs, CSV, Prometheus",
    description: DESCRIPTION,
    examples: EXAMPLES,
    setup: (command) => {
      command
        .option("--format <name>", "csv, azure or log; auto looks at the first lines", "auto")
        .option(
          "--by <how>",
          "how log lines are named: rules (of the declared workloads, as routers do) or path " +
            "(host, else first segment; then the segment after); auto: rules where there are any",
          "auto",
        )
        .option("-f, --workloads <file>", "rules from this workloads.yaml, not the coordinator's")
        .option("--workload <name>", "all is this workload's")
        .option("--category <name>", "all is of this category")
        .option(
          "--host <name>",
          "all entered at this host (default: CSV's origin column, else none)",
        )
        .option("--source <name>", "all files tell parts of this one recording (see above)")
        .option("--time-zone <name>", "of times that name no zone, e.g. Europe/Berlin", "UTC")
        .option("--dry-run", "read and show what would be imported; send nothing");
      prometheusOptions(command);
    },
    run: async (call, api) => {
      const inputs = await open(call, api, recordings);
      const results: ImportResult[] = [];
      for (const input of inputs) {
        const result = await importOne(call, api, input, results);
        results.push(result);
        if (!call.json) call.terminal.out(importText(result));
      }
      fail(results);
      if (call.json) call.show(results.length === 1 ? results[0] : { inputs: results }, () => "");
    },
  });
}

const DESCRIPTION =
  "Reads recorded requests as demand history, plain or packed (gz, zst), from files, patterns or " +
  "stdin (-): access logs in common or combined format or as JSON lines (nginx, Caddy, Traefik, " +
  "Envoy …), CSV timestamp,workload,category,origin,count, the wide Azure functions format; or " +
  "counters of a Prometheus. Lines that cannot be read are counted and the first shown.\n\n" +
  "Importing again changes nothing, and one that was interrupted is simply run again: an import " +
  "counts only as a whole, in place of what the same recording gave before. A file is known by " +
  "its first 16 lines, so that it may have grown, been renamed or packed since. With --source, " +
  "files are parts of one recording, and what it told before about the time from the first to " +
  "the last of these requests is replaced. A Prometheus query replaces what it gave before for " +
  "the time it is asked about.";

const EXAMPLES: [string, string][] = [
  [
    "prestage import --dry-run /var/log/nginx/access.log*",
    "what would be imported: series, span, bad lines",
  ],
  ["prestage import access.log.gz", "forecasts start from this history"],
  [
    "kubectl logs deploy/web --since 24h | prestage import --source web -",
    "run daily; overlaps do no harm",
  ],
  [
    "prestage import requests.csv --workload shop --time-zone Europe/Berlin",
    "one workload's counts, in local time",
  ],
  [
    "prestage import --prometheus http://prometheus:9090 --query 'http_requests_total' \\\n" +
      "      --start 14d --label-workload service --label-category route --label-host instance",
    "two weeks of a counter, one category for each route",
  ],
];

async function open(call: Call<Options>, api: Api, recordings: Recordings): Promise<Input[]> {
  const { options } = call;
  const patterns = call.args(0);
  if (options.prometheus !== undefined) {
    if (patterns.length > 0)
      throw new PrestageError("USAGE", "either files or --prometheus, not both at once");
    return [await recordings.prometheus(await prometheusSettings(options, call.clock.now()), call)];
  }
  if (patterns.length === 0)
    throw new PrestageError("USAGE", "name files, - for stdin, or --prometheus with --query");
  const format = oneOf("--format", options.format, FORMATS);
  const by = oneOf("--by", options.by, ["auto", "rules", "path"] as const);
  const files = await recordings.find(patterns);
  const { workload, category, host, source, timeZone } = options;
  const named = workload !== undefined && category !== undefined;
  const csv = format === "csv" || format === "azure" || files.every((f) => /\.csv(\.|$)/i.test(f));
  const workloads = by === "path" || named || csv ? null : await rules(call, api);
  if (by === "rules" && workloads?.length === 0)
    throw new PrestageError(
      "USAGE",
      "no workloads are declared: declare them with `prestage apply`, name a file with -f, or use --by path",
    );
  if (workloads?.length === 0)
    call.terminal.err("no workloads are declared: requests are named by host and path\n");
  return recordings.files(
    {
      ...{ files, format, workload, category, host, source, timeZone },
      workloads: workloads?.length === 0 ? null : workloads,
    },
    call,
  );
}

function oneOf<T extends string>(option: string, value: string, known: readonly T[]): T {
  const found = known.find((one) => one === value);
  if (found === undefined)
    throw new PrestageError("USAGE", `${option} ${value}: one of ${known.join(", ")}`);
  return found;
}

async function rules({ options }: Call<Options>, api: Api): Promise<readonly Workload[]> {
  if (options.workloads !== undefined) {
    const file = options.workloads;
    const text = await readFile(file, "utf8").catch((cause: unknown) => {
      throw new PrestageError("USAGE", `cannot read ${file}`, { cause });
    });
    const { readYaml } = await import("../../shared/config.ts");
    const { WorkloadsFile } = await import("../../shared/workload.ts");
    return readYaml(text, file, WorkloadsFile).workloads;
  }
  return (await api.get<WorkloadList>("workloads")).workloads;
}

async function importOne(
  call: Call<Options>,
  api: Api,
  input: Input,
  before: readonly ImportResult[],
): Promise<ImportResult> {
  const dryRun = call.options.dryRun === true;
  const upload = new Upload(api);
  const bar = call.progress(`importing ${input.label}`);
  const startedMs = call.clock.monotonic();
  let failure: ImportResult["failure"] = null;
  try {
    for await (const part of input.parts()) {
      if (part.length > 0 && !dryRun) {
        refuseTwice(input, before);
        await upload.part(input.source(), part);
      }
      showProgress(bar, input, call.clock.monotonic() - startedMs);
    }
  } catch (cause) {
    if (!(cause instanceof PrestageError) || cause.code !== "CORRUPT") throw cause;
    const { code, message, details } = cause;
    failure = { code, message, byte: typeof details.byte === "number" ? details.byte : null };
  } finally {
    bar.end();
  }
  const { covers, cutEdges, ...report } = input.report();
  if (report.requests > 0) refuseTwice(input, before);
  const imported =
    dryRun || report.requests === 0 ? null : await upload.commit({ covers, cutEdges });
  return { input: input.label, source: input.source(), dryRun, ...report, imported, failure };
}

/** Two files that begin alike are the same recording: the second would replace the first. */
function refuseTwice(input: Input, before: readonly ImportResult[]): void {
  const same = before.find(({ source }) => source === input.source());
  if (same)
    throw new PrestageError(
      "CONFLICT",
      `${input.label} begins as ${same.input} does: the same recording twice? If not, import ` +
        "each with a --source of its own",
      { remedy: "Nothing of it was imported." },
    );
}

function showProgress(
  bar: ReturnType<Call<Options>["progress"]>,
  input: Input,
  elapsedMs: number,
): void {
  const { done, total, lines, unit } = input.progress();
  const seconds = Math.max(0.001, elapsedMs / 1000);
  const perSecond = Math.round(lines / seconds).toLocaleString("en-US");
  const rate = `${perSecond} ${unit === "bytes" ? "lines" : "points"}/s`;
  const left =
    total === null || done === 0 ? "" : `, ${eta(((total - done) / done) * seconds)} left`;
  const size =
    unit === "bytes" ? `${(done / 1e6).toFixed(0)} MB` : `${(done / 3_600_000).toFixed(0)} h`;
  bar.update(done, total ?? done * 2, `${size}, ${rate}${left}`);
}

function eta(seconds: number): string {
  return seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.ceil(seconds / 60)} min`;
}

/** The exit code of a file that was cut, or of which nothing could be read. */
function fail(results: readonly ImportResult[]): void {
  const details = { inputs: results };
  const broken = results.find(({ failure }) => failure !== null);
  if (broken?.failure) {
    const { failure, requests, dryRun } = broken;
    const what = `${requests} requests before it ${dryRun ? "would be" : "were"} imported`;
    throw new PrestageError("CORRUPT", `${failure.message}; ${what}`, {
      details,
      remedy: "Import the whole file when you have it: it then takes the place of this part.",
    });
  }
  const empty = results.find(({ requests }) => requests === 0);
  if (!empty) return;
  const { input, format, unmatched, unmatchedExamples } = empty;
  const remedy =
    format === "prometheus"
      ? "Try the query in Prometheus, for the same time."
      : unmatched > 0
        ? "Declare a workload for them with `prestage apply`, or import with --by path."
        : "See --format, and what was read of it with --dry-run.";
  const why =
    unmatched > 0 && format === "prometheus"
      ? `no series has the workload's label, for example ${unmatchedExamples[0]}`
      : unmatched > 0
        ? `none of its requests is a declared workload's, for example ${unmatchedExamples[0]}`
        : format === "prometheus"
          ? "the query gave no requests in that time"
          : "no line could be read as a request";
  throw new PrestageError("CONFIG_INVALID", `${input}: ${why}; nothing was changed`, {
    details,
    remedy,
  });
}
