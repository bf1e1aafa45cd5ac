/**
 * One line of a log of JSON objects: what nginx is configured to write, Caddy, Traefik, Envoy,
 * cloud load balancers; also an access log line wrapped by a container runtime.
 */
import type { BadLine, CommonLog, LoggedLine } from "./access-log.ts";
import { hostOf, targetOf } from "./access-log.ts";
import { parseTimestamp, type WallClock } from "./timestamp.ts";

type Json = Record<string, unknown>;

/** Of several names that a line has, the first in these lists counts. */
const FIELDS = {
  time: [
    ...["timestamp", "@timestamp", "time", "ts", "time_iso8601", "time_local", "msec"],
    ...["StartUTC", "StartLocal", "start_time", "date", "datetime"],
  ],
  host: [
    ...["vhost", "server_name", "http_host", "host", "RequestHost", "RequestAddr"],
    ...["authority", ":authority", "domain"],
  ],
  url: [
    ...["request_uri", "uri", "RequestPath", "url", "path", ":path", "requestUrl", "request"],
    ...["original_path", "http_path"],
  ],
  query: ["args", "query", "query_string"],
  origin: [
    ...["origin", "remote_addr", "client_ip", "clientip", "remote_ip", "ip", "ClientHost"],
    ...["ClientAddr", "client", "remoteIp", "downstream_remote_address"],
  ],
  workload: ["workload"],
  category: ["category"],
  /** What a container runtime or shipper wraps a line in. */
  wrapped: ["log", "message", "msg"],
} as const;
type Kind = keyof typeof FIELDS;
/** Only in the line's own object, not in one about the request. */
const OUTER: ReadonlySet<Kind> = new Set<Kind>(["time", "workload", "category", "wrapped"]);
/** Objects in which servers put what is about the request. */
const NESTED = ["request", "httpRequest", "http"];
/** Each known name's kind and place in its list. */
const KNOWN = new Map<string, { kind: Kind; rank: number }>(
  Object.entries(FIELDS).flatMap(([kind, names]) =>
    names.map((name, rank) => [name, { kind: kind as Kind, rank }] as const),
  ),
);

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
  if (!isObject(row)) return { problem: "not a JSON object" };
  const found = fieldsOf(row);
  const { url, workload = null } = found;
  if (url === undefined && workload === null) {
    const wrapped = found.wrapped?.trim();
    if (wrapped?.startsWith("{")) return parseJsonLine(wrapped, common, unzoned);
    const inner = wrapped ? common.parse(wrapped) : null;
    if (inner && !("problem" in inner)) return inner;
  }
  const timestampMs = parseTimestamp(found.time ?? "", unzoned) ?? anyTime(row, unzoned);
  if (timestampMs === null) return { problem: "no time in any known field" };
  const count = Number(row.count ?? 1);
  if (!Number.isInteger(count) || count < 0) return { problem: "count is not a whole number" };
  const target = targetOf(url ?? "");
  return {
    timestampMs,
    count,
    origin: found.origin?.replace(/^(\d+\.\d+\.\d+\.\d+):\d+$/, "$1") ?? "",
    host: target?.host ?? hostOf(found.host),
    url: target && withQuery(target.url, found.query),
    workload,
    category: found.category ?? null,
    header: (name) => headerIn(row, name),
  };
}

/** The object's known fields, its own before those of the objects in it. */
function fieldsOf(row: Json): { [kind in Kind]?: string } {
  const found: { [kind in Kind]?: string } = {};
  take(row, found, true);
  for (const name of NESTED) {
    const inner = row[name];
    if (!isObject(inner)) continue;
    const own: { [kind in Kind]?: string } = {};
    take(inner, own, false);
    for (const kind of Object.keys(own) as Kind[]) found[kind] ??= own[kind];
  }
  return found;
}

/** By the object's keys and not by the names in the lists, which are many more. */
function take(row: Json, found: { [kind in Kind]?: string }, outer: boolean): void {
  const ranks: { [kind in Kind]?: number } = {};
  for (const key in row) {
    const known = KNOWN.get(key);
    if (known === undefined || (!outer && OUTER.has(known.kind))) continue;
    const { kind, rank } = known;
    if (rank >= (ranks[kind] ?? Number.POSITIVE_INFINITY)) continue;
    const value = row[key];
    if (typeof value !== "string" && typeof value !== "number") continue;
    ranks[kind] = rank;
    found[kind] = typeof value === "string" ? value : String(value);
  }
}

/** Where the first field of a time's name has none. */
function anyTime(row: Json, unzoned: WallClock): number | null {
  for (const name of FIELDS.time) {
    const value = row[name];
    if (typeof value !== "string" && typeof value !== "number") continue;
    const time = parseTimestamp(String(value), unzoned);
    if (time !== null) return time;
  }
  return null;
}

function withQuery(url: string, query: string | undefined): string {
  if (query === undefined || query === "-" || query === "" || url.includes("?")) return url;
  return `${url}?${query.replace(/^\?/, "")}`;
}

/** As `headers: {Name: value}`, nginx's `http_name`, Traefik's `request_Name`. */
function headerIn(row: Json, name: string): string | undefined {
  const flat = `http_${name.replaceAll("-", "_")}`;
  const traefik = `request_${name}`;
  for (const place of [row, ...NESTED.map((nested) => row[nested]).filter(isObject)]) {
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

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
