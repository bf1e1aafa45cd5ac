/**
 * Which workload and category a request belongs to: the first arrow of the way, pure. Routers ask
 * it of live requests, imports of logged ones, so that both count as the same demand.
 */
import { CategoryName } from "./domain.ts";
import type { CategoryRule, Workload } from "./workload.ts";

export type RequestLine = {
  /** Path and query as they came. */
  url: string;
  /** Without the port; empty when the request has none. */
  host: string;
  header(name: string): string | undefined;
};

export type Match = { workload: Workload; category: string };

/** Gives the workload whose rule fits most exactly: a host over none, then the longest prefix. */
export class Matcher {
  readonly #workloads: readonly Workload[];

  constructor(workloads: readonly Workload[]) {
    this.#workloads = [...workloads].sort(
      (a, b) =>
        Number(b.match.host !== undefined) - Number(a.match.host !== undefined) ||
        (b.match.pathPrefix?.length ?? 0) - (a.match.pathPrefix?.length ?? 0) ||
        (a.name < b.name ? -1 : 1),
    );
  }

  match(request: RequestLine): Match | null {
    const [path = "/", query = ""] = splitOnce(request.url, "?");
    const workload = this.#workloads.find((one) => fits(one, request.host, path));
    if (!workload) return null;
    return { workload, category: categoryOf(workload.category, path, query, request) };
  }

  /** The category of a request that is known to be the named workload's; null for no such one. */
  within(name: string, request: RequestLine): Match | null {
    const workload = this.#workloads.find((one) => one.name === name);
    if (!workload) return null;
    const [path = "/", query = ""] = splitOnce(request.url, "?");
    return { workload, category: categoryOf(workload.category, path, query, request) };
  }

  /** What of a request can make a difference, besides its host. */
  get reads(): { headers: boolean; query: boolean; segments: number } {
    const from = (source: CategoryRule["from"]) =>
      this.#workloads.some(({ category }) => category.from === source);
    const depths = this.#workloads.map(({ match, category }) =>
      Math.max(
        pathSegments(match.pathPrefix ?? "").length,
        category.from === "path" ? (category.segment ?? 0) + 1 : 0,
      ),
    );
    return {
      headers: from("header"),
      query: from("query"),
      segments: depths.reduce((most, depth) => Math.max(most, depth), 0),
    };
  }
}

/** What is between the slashes of a path, empty ones left out, as it was sent. */
export function pathSegments(url: string): string[] {
  const [path] = splitOnce(url, "?");
  return path.split("/").filter((segment) => segment !== "");
}

/** What stands before a request line's port. */
export function hostName(header: string | undefined): string {
  return (header ?? "").replace(/:\d+$/, "").toLowerCase();
}

function fits({ match }: Workload, host: string, path: string): boolean {
  if (match.host !== undefined && match.host.toLowerCase() !== host) return false;
  const prefix = match.pathPrefix;
  if (prefix === undefined) return match.host !== undefined;
  if (!path.startsWith(prefix)) return false;
  // `/shop` is for /shop and /shop/…, not for /shopping.
  return prefix.endsWith("/") || path.length === prefix.length || path[prefix.length] === "/";
}

function categoryOf(rule: CategoryRule, path: string, query: string, request: RequestLine): string {
  const found = rawCategory(rule, path, query, request);
  return found !== undefined && CategoryName.safeParse(found).success ? found : rule.default;
}

function rawCategory(
  rule: CategoryRule,
  path: string,
  query: string,
  request: RequestLine,
): string | undefined {
  switch (rule.from) {
    case "fixed":
      return undefined;
    case "path":
      return decoded(pathSegments(path)[rule.segment ?? 0]);
    case "header":
      return rule.name === undefined ? undefined : request.header(rule.name.toLowerCase());
    case "query":
      return rule.name === undefined
        ? undefined
        : (new URLSearchParams(query).get(rule.name) ?? undefined);
  }
}

/** Undefined for what is no valid percent-encoding. */
function decoded(segment: string | undefined): string | undefined {
  if (segment === undefined || !segment.includes("%")) return segment;
  try {
    return decodeURIComponent(segment);
  } catch (cause) {
    if (cause instanceof URIError) return undefined;
    throw cause;
  }
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return at === -1 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
}
