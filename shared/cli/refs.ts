/** `NAME@VERSION`, `NAME:TAG` and host lists as people type them. */
import { type ArtifactRef, HostId, Name, Version } from "../domain.ts";
import { PrestageError } from "../errors.ts";

export type ArtifactWish =
  | { name: string; version: string; tag: null }
  | { name: string; version: null; tag: string };

export function parseVersion(text: string): ArtifactRef {
  const wish = parseWish(text);
  if (wish.version === null)
    throw new PrestageError("USAGE", `${text}: needs NAME@VERSION, a tag may move`);
  return { name: wish.name, version: wish.version };
}

/** A version or a tag. A bare name means its tag `latest`. */
export function parseWish(text: string): ArtifactWish {
  const at = text.indexOf("@");
  const colon = text.indexOf(":");
  const cut = at >= 0 ? at : colon;
  const name = check(Name, cut < 0 ? text : text.slice(0, cut), text);
  if (at >= 0) return { name, version: check(Version, text.slice(at + 1), text), tag: null };
  return { name, version: null, tag: cut < 0 ? "latest" : check(Name, text.slice(cut + 1), text) };
}

/** `all` is null; else the named hosts. */
export function parseHosts(text: string): string[] | null {
  if (text === "all") return null;
  const hosts = text.split(",").filter((part) => part !== "");
  if (hosts.length === 0) throw new PrestageError("USAGE", "--hosts: all, or names with commas");
  return [...new Set(hosts.map((host) => check(HostId, host, "--hosts")))];
}

export const refText = (ref: ArtifactRef) => `${ref.name}@${ref.version}`;

function check(schema: typeof Name | typeof Version, value: string, where: string): string {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const problem = result.error.issues[0]?.message ?? "not valid";
  throw new PrestageError("USAGE", `${where}: ${JSON.stringify(value)} should be ${problem}`);
}
