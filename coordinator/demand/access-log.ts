/** One line of an access log: common or combined format (a virtual host may lead), or JSON. */
import { categoryName, workloadName } from "./names.ts";
import { parseClf, parseTimestamp } from "./timestamp.ts";

export type LoggedRequest = {
  timestampMs: number;
  workload: string;
  category: string;
  origin: string;
  count: number;
};

/** What is wrong with the line instead of the request in it. */
export type BadLine = { problem: string };

/** Words before the time, the time, the request. */
const COMMON = /^([^["]{1,512})\[([^\]]{1,64})\] "((?:[^"\\]|\\.)*)"/;
const TIME_FIELDS = ["timestamp", "@timestamp", "time", "ts", "time_iso8601", "time_local", "msec"];
const HOST_FIELDS = ["workload", "vhost", "server_name", "http_host", "host"];
const PATH_FIELDS = ["path", "uri", "request_uri", "url", "request"];
const ORIGIN_FIELDS = ["origin", "remote_addr", "client_ip", "clientip", "remote_ip", "ip"];

export function looksLikeAccessLog(line: string): boolean {
  return line.startsWith("{") || COMMON.test(line);
}

/** `fallback` names the workload of a JSON line that tells neither host nor path. */
export function parseAccessLine(line: string, fallback: string): LoggedRequest | BadLine {
  return line.startsWith("{") ? parseJson(line, fallback) : parseCommon(line);
}

function parseCommon(line: string): LoggedRequest | BadLine {
  const match = COMMON.exec(line);
  if (!match) return { problem: "not in common or combined log format" };
  const [, words = "", time = "", request = ""] = match;
  const [first = "", second = "", ...rest] = words.trim().split(/\s+/);
  // `ADDRESS IDENT USER [`, or `HOST ADDRESS IDENT USER [`; nobody sends an ident these days.
  const virtual = rest.length >= 2 && second !== "-";
  const timestampMs = parseClf(time);
  if (timestampMs === null) return { problem: `not a time: ${time.slice(0, 40)}` };
  const target = pathOf(request);
  if (target === null) return { problem: `not a request: ${request.slice(0, 40)}` };
  const origin = virtual ? second : first;
  return { timestampMs, ...named(hostOf(virtual ? first : null), target), origin, count: 1 };
}

function parseJson(line: string, fallback: string): LoggedRequest | BadLine {
  let row: Record<string, unknown>;
  try {
    row = JSON.parse(line);
  } catch (cause) {
    return { problem: `not JSON: ${cause instanceof Error ? cause.message : cause}`.slice(0, 120) };
  }
  const time = field(row, TIME_FIELDS);
  const timestampMs = time === null ? null : parseTimestamp(time);
  if (timestampMs === null) return { problem: "no time in any known field" };
  const host = hostOf(field(row, HOST_FIELDS));
  const target = pathOf(field(row, PATH_FIELDS) ?? "");
  const count = Number(row.count ?? 1);
  if (!Number.isInteger(count) || count < 0) return { problem: "count is not a whole number" };
  const request = named(host, target ?? (host === null ? [fallback] : []));
  const category = field(row, ["category"]);
  return {
    timestampMs,
    workload: request.workload,
    category: category === null ? request.category : categoryName(category),
    origin: field(row, ORIGIN_FIELDS) ?? "",
    count,
  };
}

/** The workload is the virtual host, else the first segment; the category the segment after. */
function named(host: string | null, segments: string[]): { workload: string; category: string } {
  const [first, second] = segments;
  if (host !== null) return { workload: workloadName(host), category: categoryName(first ?? "") };
  return { workload: workloadName(first ?? "root"), category: categoryName(second ?? "") };
}

function hostOf(text: string | null | undefined): string | null {
  const host = (text ?? "").replace(/:\d+$/, "");
  return host === "" || host === "-" ? null : host;
}

/** Path segments of `GET /a/b?c HTTP/1.1`, a path or a URL; null when there is no path. */
function pathOf(request: string): string[] | null {
  const target = request.split(" ").find((part) => part.startsWith("/") || part.includes("://"));
  if (target === undefined) return null;
  const path = target.replace(/^[a-z]+:\/\/[^/]*/i, "").replace(/[?#].*$/s, "");
  return path.split("/").filter((segment) => segment !== "");
}

function field(row: Record<string, unknown>, names: readonly string[]): string | null {
  for (const name of names) {
    const value = row[name];
    if (typeof value === "string" || typeof value === "number") return String(value);
  }
  return null;
}
