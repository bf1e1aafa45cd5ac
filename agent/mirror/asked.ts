/**
 * What a request to the mirror is about. Which registry is meant is said in one of three ways:
 * containerd adds `?ns=REGISTRY`; podman and skopeo can put it before the repository,
 * `/v2/REGISTRY/REPOSITORY/…` (a port after `_`, as their names allow no colon there); Docker says
 * nothing, as it only knows mirrors of its own registry.
 */
import { isDigest, isRepository, registryName, repositoryIn } from "../../shared/image.ts";
import { Refusal } from "./answers.ts";

export type Asked =
  | { kind: "ping" }
  | { kind: "manifest"; registry: string; repository: string; reference: string }
  | { kind: "blob"; registry: string; repository: string; digest: string }
  | { kind: "tags"; registry: string; repository: string; count: number | null; after: string };

const PATH = /^\/v2\/(.+?)\/(manifests|blobs|tags|referrers)\/([^/]+)\/?$/;
const TAGS_MAX = 10_000;

/** Throws a `Refusal` for what is not of the pull side. */
export function readAsked(method: string, target: string, defaultRegistry: string): Asked {
  const url = new URL(target.replace(/^\/+/, "/"), "http://mirror");
  const path = url.pathname;
  const pull = method === "GET" || method === "HEAD";
  if (pull && /^\/v2\/?$/.test(path)) return { kind: "ping" };
  if (!pull) throw new Refusal("UNSUPPORTED", `a mirror is read only: no ${method}`, ALLOWED);
  const [, name, what, last] = PATH.exec(path) ?? [];
  if (name === undefined || last === undefined || what === undefined || what === "referrers")
    throw new Refusal("UNSUPPORTED", `${path} is not of the pull side`, { status: 404 });
  const image = repositoryOf(name, url.searchParams.get("ns"), defaultRegistry);
  const text = decoded(last);
  if (what === "tags") {
    if (text !== "list") throw new Refusal("UNSUPPORTED", "only tags/list", { status: 404 });
    const after = url.searchParams.get("last") ?? "";
    return { kind: "tags", ...image, count: countOf(url.searchParams.get("n")), after };
  }
  if (what === "manifests" && !text.includes(":"))
    return { kind: "manifest", ...image, reference: text };
  if (!isDigest(text))
    throw new Refusal("DIGEST_INVALID", `${text}: sha256: and 64 hex digits are known here`);
  return what === "blobs"
    ? { kind: "blob", ...image, digest: text }
    : { kind: "manifest", ...image, reference: text };
}

const ALLOWED = { headers: { allow: "GET, HEAD" } };

function repositoryOf(name: string, ns: string | null, defaultRegistry: string) {
  const path = decoded(name);
  const slash = path.indexOf("/");
  const first = slash < 0 ? "" : path.slice(0, slash);
  const inPath = ns === null && (/[.:]/.test(first) || /^localhost(_\d+)?$/.test(first));
  const named = inPath ? first.replace(/_(?=\d+$)/, ":") : (ns ?? defaultRegistry);
  const registry = registryName(named);
  const repository = inPath ? path.slice(slash + 1) : path;
  if (registry === null) throw new Refusal("NAME_INVALID", `${named} is no registry`);
  if (!isRepository(repository))
    throw new Refusal("NAME_INVALID", `${repository} is no repository`);
  return { registry, repository: repositoryIn(registry, repository) };
}

function countOf(text: string | null): number | null {
  return text !== null && /^\d{1,6}$/.test(text) ? Math.min(Number(text), TAGS_MAX) : null;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new Refusal("NAME_INVALID", "the path is not encoded as a URL is");
  }
}
