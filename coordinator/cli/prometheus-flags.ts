/** What `prestage import --prometheus` asks for, checked. */
import { readFile } from "node:fs/promises";
import type { Command } from "commander";
import { parseDuration } from "../../shared/cli/duration.ts";
import { PrestageError } from "../../shared/errors.ts";

export type PrometheusFlags = {
  prometheus?: string;
  query?: string;
  start: string;
  end: string;
  step: string;
  kind: string;
  labelWorkload?: string;
  labelCategory?: string;
  labelHost?: string;
  tokenFile?: string;
  user?: string;
  passwordFile?: string;
  ca?: string;
  timeout: string;
};
type Names = { workload?: string; category?: string; host?: string; source?: string };

const MINUTE_MS = 60_000;
const KINDS = ["counter", "gauge", "rate"] as const;

export function prometheusOptions(command: Command): void {
  command
    .option("--prometheus <url>", "ask this Prometheus (or what speaks its API) instead of files")
    .option("--query <promql>", 'what to ask for, e.g. http_requests_total{job="web"}')
    .option("--start <time>", "from when: ISO time, epoch seconds, or how long ago (14d)", "14d")
    .option("--end <time>", "until when, in the same ways; now", "now")
    .option("--step <duration>", "minutes that one point tells of", "1m")
    .option(
      "--kind <kind>",
      "counter (requests so far; do not sum it in the query, resets would be lost), gauge " +
        "(requests within a step, as increase(x[1m]) gives), rate (requests per second)",
      "counter",
    )
    .option("--label-workload <label>", "label that names the workload (or --workload)")
    .option("--label-category <label>", "label that names the category (or --category)")
    .option("--label-host <label>", "label that names the host (or --host)")
    .option("--token-file <file>", "file with a bearer token for Prometheus")
    .option("--user <name>", "basic authentication, with --password-file")
    .option("--password-file <file>", "file with the password of --user")
    .option("--ca <file>", "certificate authority of Prometheus, PEM")
    .option("--timeout <duration>", "how long one answer may take", "60s");
}

export async function prometheusSettings(flags: PrometheusFlags & Names, nowMs: number) {
  const { query, prometheus = "", workload, category, host, source } = flags;
  const { labelWorkload, labelCategory, labelHost } = flags;
  if (!query) throw new PrestageError("USAGE", "--prometheus needs --query, a PromQL expression");
  if (workload === undefined && labelWorkload === undefined)
    throw new PrestageError(
      "USAGE",
      "say whose requests these are: --label-workload or --workload",
    );
  const kind = KINDS.find((known) => known === flags.kind);
  if (!kind) throw new PrestageError("USAGE", `--kind ${flags.kind}: one of ${KINDS.join(", ")}`);
  const stepMs = parseDuration(flags.step, "--step");
  if (stepMs < MINUTE_MS || stepMs % MINUTE_MS !== 0)
    throw new PrestageError(
      "USAGE",
      `--step ${flags.step}: whole minutes, demand is kept by minute`,
    );
  const align = (ms: number) => Math.floor(ms / stepMs) * stepMs;
  const range = {
    fromMs: align(timeOf(flags.start, "--start", nowMs)),
    toMs: align(timeOf(flags.end, "--end", nowMs)),
    stepMs,
  };
  if (range.fromMs >= range.toMs)
    throw new PrestageError("USAGE", `--start ${flags.start} is not before --end ${flags.end}`);
  return {
    url: addressOf(prometheus),
    query,
    ca: flags.ca === undefined ? undefined : await fileText(flags.ca),
    authorization: await authorizationOf(flags),
    timeoutMs: parseDuration(flags.timeout, "--timeout"),
    names: { workload, category, host, labelWorkload, labelCategory, labelHost },
    ...{ kind, range, source },
  };
}

function addressOf(text: string): string {
  const url = URL.parse(text);
  if (!url || !/^https?:$/.test(url.protocol))
    throw new PrestageError("USAGE", `--prometheus ${text}: an address like http://host:9090`);
  if (url.username !== "" || url.password !== "")
    throw new PrestageError("USAGE", "--prometheus: no secrets in the address, use --user");
  return `${url.origin}${url.pathname}`;
}

async function authorizationOf(flags: PrometheusFlags): Promise<string | undefined> {
  const { tokenFile, user, passwordFile } = flags;
  if (tokenFile !== undefined) return `Bearer ${(await fileText(tokenFile)).trim()}`;
  if (user === undefined && passwordFile === undefined) return undefined;
  if (user === undefined || passwordFile === undefined)
    throw new PrestageError("USAGE", "--user and --password-file go together");
  const password = (await fileText(passwordFile)).replace(/\r?\n$/, "");
  return `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
}

async function fileText(path: string): Promise<string> {
  return readFile(path, "utf8").catch((cause: unknown) => {
    throw new PrestageError("USAGE", `cannot read ${path}`, { cause });
  });
}

function timeOf(text: string, option: string, nowMs: number): number {
  if (text === "now") return nowMs;
  if (/^\d+(\.\d+)?(ms|s|m|h|d)$/.test(text)) return nowMs - parseDuration(text, option);
  const seconds = /^\d{9,10}(\.\d+)?$/.test(text) ? Number(text) * 1000 : Date.parse(zoned(text));
  if (!Number.isFinite(seconds))
    throw new PrestageError(
      "USAGE",
      `${option} ${text}: 2026-11-20T08:00:00Z, epoch seconds, or how long ago, such as 14d`,
    );
  return seconds;
}

/** Without a zone it is UTC, as everywhere here. */
function zoned(text: string): string {
  return /\d{2}:\d{2}/.test(text) && !/(z|[+-]\d{2}:?\d{2})$/i.test(text) ? `${text}Z` : text;
}
