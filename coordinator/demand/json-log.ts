/**
 * One line of a log of JSON objects: what nginx is configured to write, Caddy, Traefik, Envoy,
 * cloud load balancers; also an access log line wrapped by a container runtime.
 */
import type { BadLine, CommonLog, LoggedLine } from "./access-log.ts";
import { hostOf, targetOf } from "./access-log.ts";
import { parseTimestamp, type WallClock } from "./timestamp.ts";

type Json = Record<string, unknown>;

const TIME_FIELDS = [
  ...["timestamp", "@timestamp", "time", "ts", "time_iso8601", "time_local", "msec"],
  ...["StartUTC", "StartLocal", "start_time", "date", "datetime"],
];
const HOST_FIELDS = [
  ...["vhost", "server_name", "http_host", "host", "RequestHost", "RequestAddr"],
  ...["authority", ":authority", "domain"],
];
const URL_FIELDS = [
  ...["request_uri", "uri", "RequestPath", "url", "path", ":path", "requestUrl", "request"],
  ...["original_path", "http_path"],
];
const QUERY_FIELDS = ["args", "query", "query_string"];
const ORIGIN_FIELDS = [
  ...["origin", "remote_addr", "client_ip", "clientip", "remote_ip", "ip", "ClientHost"],
  ...["ClientAddr", "client", "remoteIp", "downstream_remote_address"],
];
/** Objects in which servers put what is about the request. */
const NESTED_FIELDS = ["request", "httpRequest", "http"];
/** What a container runtime or shipper wraps a line in. */
const WRAPPER_FIELDS = ["log", "message", "msg"];

export function parseJsonLine(
  line: string,
  common: CommonLog,
  unzoned: WallClock,
): LoggedLine | BadLine {
  let row: Json;
  try {
    row = JSON.parse(line);
  } catch (cause) {
    return { problem: `not JSON: ${cause instanceof Error ? cause.message : cause}`.slice(0, 120) };
  }
  if (typeof row !== "object" || row === null || Array.isArray(row))
    return { problem: "not a JSON object" };
  const places = [row, ...NESTED_FIELDS.map((name) => row[name]).filter(isObject)];
  const url = textIn(places, URL_FIELDS);
  const workload = text(row, ["workload"]);
  if (url === null && workload === null) {
    const wrapped = text(row, WRAPPER_FIELDS)?.trim();
    if (wrapped?.startsWith("{")) return parseJsonLine(wrapped, common, unzoned);
    const inner = wrapped === undefined ? null : common.parse(wrapped);
    if (inner && !("problem" in inner)) return inner;
  }
  const timestampMs = timeOf(row, unzoned);
  if (timestampMs === null) return { problem: "no time in any known field" };
  const count = Number(row.count ?? 1);
  if (!Number.isInteger(count) || count < 0) return { problem: "count is not a whole number" };
  const target = targetOf(url ?? "");
  return {
    timestampMs,
    count,
    origin: textIn(places, ORIGIN_FIELDS)?.replace(/^(\d+\.\d+\.\d+\.\d+):\d+$/, "$1") ?? "",
    host: target?.host ?? hostOf(textIn(places, HOST_FIELDS)),
    url: target && withQuery(target.url, row),
    workload,
    category: text(row, ["category"]),
    header: (name) => headerIn(places, name),
  };
}

function timeOf(row: Json, unzoned: WallClock): number | null {
  for (const name of TIME_FIELDS) {
    const value = row[name];
    if (typeof value !== "string" && typeof value !== "number") continue;
    const time = parseTimestamp(String(value), unzoned);
    if (time !== null) return time;
  }
  return null;
}

function withQuery(url: string, row: Json): string {
  if (url.includes("?")) return url;
  const query = text(row, QUERY_FIELDS);
  return query === null || query === "-" ? url : `${url}?${query.replace(/^\?/, "")}`;
}

/** As `headers: {Name: value}`, nginx's `http_name`, Traefik's `request_Name`. */
function headerIn(places: readonly Json[], name: string): string | undefined {
  const flat = `http_${name.replaceAll("-", "_")}`;
  const traefik = `request_${name}`;
  for (const place of places) {
    const headers = place.headers;
    for (const [key, value] of Object.entries(isObject(headers) ? headers : {}))
      if (key.toLowerCase() === name) return String(Array.isArray(value) ? value[0] : value);
    for (const [key, value] of Object.entries(place)) {
      const lower = key.toLowerCase();
      if ((lower === flat || lower === traefik) && typeof value === "string") return value;
    }
  }
  return undefined;
}

function textIn(places: readonly Json[], names: readonly string[]): string | null {
  for (const place of places) {
    const found = text(place, names);
    if (found !== null) return found;
  }
  return null;
}

function text(row: Json, names: readonly string[]): string | null {
  for (const name of names) {
    const value = row[name];
    if (typeof value === "string" || typeof value === "number") return String(value);
  }
  return null;
}

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
