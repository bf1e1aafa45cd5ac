/** One line of an access log in common or combined format; a virtual host may lead. */
import { ClfTimes } from "./timestamp.ts";

/** A request as a line tells it; what the line does not tell is null. */
export type LoggedLine = {
  timestampMs: number;
  count: number;
  /** Where the request came from. */
  origin: string;
  /** Host and target that the client asked for, the target as path and query. */
  host: string | null;
  url: string | null;
  /** Names in the recording itself, which go before any rule. */
  workload: string | null;
  category: string | null;
  /** Names in lower case. */
  header(name: string): string | undefined;
};

/** What is wrong with the line instead of the request in it. */
export type BadLine = { problem: string };

const WORDS_CHARS_MAX = 512;
const TIME_CHARS_MAX = 64;

export function looksLikeAccessLog(line: string): boolean {
  return line.startsWith("{") || !("problem" in new CommonLog().parse(line, false));
}

export class CommonLog {
  readonly #times = new ClfTimes();

  /** `strict`: the request must be one. */
  parse(line: string, strict = true): LoggedLine | BadLine {
    const open = line.indexOf("[");
    const close = open < 1 ? -1 : line.indexOf("]", open);
    if (close < 0 || open > WORDS_CHARS_MAX || close - open > TIME_CHARS_MAX) return NOT_COMMON;
    if (!line.startsWith('] "', close)) return NOT_COMMON;
    const from = close + 3;
    const to = quoteEnd(line, from);
    if (to < 0) return NOT_COMMON;
    const time = line.slice(open + 1, close);
    const timestampMs = this.#times.parse(time);
    if (timestampMs === null) return { problem: `not a time: ${time.slice(0, 40)}` };
    const request = line.slice(from, to);
    const target = targetOf(request);
    if (target === null && strict) return { problem: `not a request: ${request.slice(0, 40)}` };
    const [first = "", second = "", third = "", fourth] = line.slice(0, open - 1).split(" ");
    // `ADDRESS IDENT USER [`, or `HOST ADDRESS IDENT USER [`; nobody sends an ident these days.
    const virtual = second !== "-" && third !== "" && fourth !== undefined;
    return {
      timestampMs,
      count: 1,
      origin: virtual ? second : first,
      host: target?.host ?? hostOf(virtual ? first : null),
      url: target?.url ?? null,
      workload: null,
      category: null,
      header: (name) => combinedHeader(line, to + 1, name),
    };
  }
}

const NOT_COMMON: BadLine = { problem: "not in common or combined log format" };

/** Where the quoted text that begins at `from` ends; -1 when it does not. */
function quoteEnd(line: string, from: number): number {
  for (let at = line.indexOf('"', from); at !== -1; at = line.indexOf('"', at + 1)) {
    let slashes = 0;
    while (line[at - 1 - slashes] === "\\" && at - 1 - slashes >= from) slashes++;
    if (slashes % 2 === 0) return at;
  }
  return -1;
}

/** Of the combined format's two. */
function combinedHeader(line: string, after: number, name: string): string | undefined {
  if (name !== "referer" && name !== "user-agent") return undefined;
  const [referer, agent] = [...line.slice(after).matchAll(/"((?:[^"\\]|\\.)*)"/g)];
  const value = (name === "referer" ? referer : agent)?.[1];
  return value === "-" ? undefined : value;
}

/** Without its port; null for none. */
export function hostOf(text: string | null | undefined): string | null {
  const host = (text ?? "").replace(/:\d+$/, "").toLowerCase();
  return host === "" || host === "-" || host === "_" ? null : host;
}

/** Of `GET /a/b?c HTTP/1.1`, a path or a URL; null when there is no path. */
export function targetOf(request: string): { url: string; host: string | null } | null {
  let target = request;
  if (!request.startsWith("/")) {
    const space = request.indexOf(" ");
    const end = request.indexOf(" ", space + 1);
    target = space === -1 ? request : request.slice(space + 1, end === -1 ? undefined : end);
  } else {
    const end = request.indexOf(" ");
    if (end !== -1) target = request.slice(0, end);
  }
  if (target.startsWith("/")) return { url: withoutFragment(target), host: null };
  const absolute = /^[a-z][a-z0-9+.-]*:\/\/([^/?#]*)(.*)$/is.exec(target);
  if (!absolute) return null;
  const path = withoutFragment(absolute[2] ?? "");
  const host = hostOf((absolute[1] ?? "").replace(/^.*@/, ""));
  return { url: path.startsWith("/") ? path : `/${path}`, host };
}

function withoutFragment(url: string): string {
  const at = url.indexOf("#");
  return at === -1 ? url : url.slice(0, at);
}
