/**
 * URLs that artifacts come from. They travel: into manifests, the API and logs. So none may carry
 * a secret, and what is refused is not repeated in the refusal.
 */
import { PrestageError } from "./errors.ts";

export const SOURCE_SCHEMES = [
  "http",
  "https",
  "s3",
  "git",
  "git+http",
  "git+https",
  "git+ssh",
  "git+file",
  "oci",
  "rsync",
  "file",
] as const;
export type SourceScheme = (typeof SOURCE_SCHEMES)[number];

/** Parameters by which signed and tokened links carry their secret. */
const SECRET_PARAMETER =
  /^(x-(amz|goog)-(signature|credential|security-token)|sig|signature|token|access_?token|auth|api_?key|key|secret|password|passwd|pwd|awsaccesskeyid)$/i;

const REMEDY =
  "Name the credentials in agent.yaml under `sources:` (docs/sources.md), and give the plain URL.";

/**
 * The URL, when it is one that an artifact can come from. Throws USAGE for another scheme, for
 * user names and passwords (git+ssh takes a user name) and for parameters that carry a secret.
 */
export function parseSourceUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (!url) throw new PrestageError("USAGE", "the source is no URL");
  if (!isSourceScheme(schemeOf(url)))
    throw new PrestageError("USAGE", `${url.protocol}// is no source of artifacts`, {
      remedy: `One of ${SOURCE_SCHEMES.map((s) => `${s}://`).join(" ")}`,
    });
  const problem = secretIn(url);
  if (problem)
    throw new PrestageError("USAGE", `the URL of ${url.host} carries ${problem}`, {
      remedy: REMEDY,
    });
  return url;
}

/** What of a URL is a secret, in words; null when nothing looks like one. */
export function secretIn(url: URL): string | null {
  if (url.password !== "") return "a password";
  if (url.username !== "" && url.protocol !== "git+ssh:") return "a user name";
  for (const name of url.searchParams.keys())
    if (SECRET_PARAMETER.test(name)) return `a secret (its parameter ${name})`;
  return null;
}

/** For people and logs: without user, query and fragment. */
export function shownUrl(url: URL): string {
  return `${url.protocol}//${url.host}${url.pathname}`;
}

/** A part of a URL's path as text. Throws USAGE when it is not percent-encoded. */
export function decodedPath(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    throw new PrestageError("USAGE", `${path}: a % in a URL is written %25`);
  }
}

export function schemeOf(url: URL): string {
  return url.protocol.slice(0, -1);
}

export function isSourceScheme(scheme: string): scheme is SourceScheme {
  return SOURCE_SCHEMES.some((known) => known === scheme);
}
