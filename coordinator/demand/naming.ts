/** Which (workload, category) a logged request counts for. */
import { type Matcher, pathSegments, type RequestLine } from "../../shared/match.ts";
import type { LoggedLine } from "./access-log.ts";
import { categoryName, workloadName } from "./names.ts";
import { ownText } from "./remembered.ts";

export type Named = { readonly workload: string; readonly category: string };

/** Of a request whose workload is known, or not. Null: no rule is for such a request. */
export type Naming = (line: LoggedLine, workload: string | null) => Named | null;

/** Results are kept for that many different hosts and targets. */
const KNOWN_MAX = 50_000;
/** Longer targets are not kept. */
const KNOWN_CHARS_MAX = 300;

/** As the routers would: by what the declared workloads say of requests. */
export function namedByRules(matcher: Matcher): Naming {
  const naming: Naming = (line, workload) => {
    const request: RequestLine = {
      url: line.url ?? "",
      host: line.host ?? "",
      header: (name) => (name === "host" ? (line.host ?? undefined) : line.header(name)),
    };
    if (workload !== null) {
      const match = matcher.within(workload, request);
      return { workload, category: match?.category ?? "default" };
    }
    const match = line.url === null ? null : matcher.match(request);
    return match && { workload: match.workload.name, category: match.category };
  };
  const { headers, query, segments } = matcher.reads;
  if (headers) return (line, workload) => owned(naming(line, workload));
  return remembering(naming, { query, segments });
}

/**
 * Without rules: the workload is the host that was asked for, else the first segment of the path,
 * else `fallback`; the category is the segment after.
 */
export function namedByPath(fallback: string): Naming {
  const naming: Naming = ({ host, url }, workload) => {
    const [first, second] = pathSegments(url ?? "");
    const owner = workload ?? host;
    if (owner !== null)
      return { workload: workloadName(owner), category: categoryName(first ?? "") };
    const name = url === null ? fallback : (first ?? "root");
    return { workload: workloadName(name), category: categoryName(second ?? "") };
  };
  return remembering(naming, { query: false, segments: 2 });
}

/** Fixed names and those in the recording go before what the naming finds. */
export function withNames(
  naming: Naming,
  fixed: { workload?: string | undefined; category?: string | undefined },
): (line: LoggedLine) => Named | null {
  return (line) => {
    const workload =
      fixed.workload ?? (line.workload === null ? null : workloadName(line.workload));
    const category =
      fixed.category ?? (line.category === null ? null : categoryName(line.category));
    if (workload !== null && category !== null) return { workload, category };
    const named = naming(line, workload);
    return named && category !== null ? { workload: named.workload, category } : named;
  };
}

/** The same part that counts gives the same names; see `remembered` for why they are copied. */
function remembering(naming: Naming, counts: { query: boolean; segments: number }): Naming {
  const known = new Map<string, Named | null>();
  return (line, workload) => {
    const key = `${workload ?? ""} ${line.host ?? ""} ${line.url === null ? "" : partOf(line.url, counts)}`;
    if (key.length > KNOWN_CHARS_MAX) return owned(naming(line, workload));
    const before = known.get(key);
    if (before !== undefined) return before;
    const named = owned(naming(line, workload));
    if (known.size >= KNOWN_MAX) known.clear();
    known.set(key, named);
    return named;
  };
}

function owned(named: Named | null): Named | null {
  return named && { workload: ownText(named.workload), category: ownText(named.category) };
}

/** So many segments of the path, with the slash that ends the last; and the query, or not. */
function partOf(url: string, { query, segments }: { query: boolean; segments: number }): string {
  const mark = url.indexOf("?");
  const path = mark === -1 ? url : url.slice(0, mark);
  let end = path.includes("//") ? -1 : 0;
  for (let i = 0; i < segments && end !== -1; i++) end = path.indexOf("/", end + 1);
  const part = end === -1 ? path : path.slice(0, end + 1);
  return query && mark !== -1 ? part + url.slice(mark) : part;
}
