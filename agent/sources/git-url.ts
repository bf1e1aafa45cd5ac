/** `git+https://HOST/REPO.git?ref=REF&path=DIR`: a repository, what of it, and as of when. */
import { PrestageError } from "../../shared/errors.ts";

export type GitPlace = {
  /** As git takes it. */
  remote: string;
  /** A branch, a tag, a whole `refs/…`, a commit, or HEAD. */
  ref: string;
  /** Below the root of the tree, without slashes at its ends; empty: all. */
  path: string;
};

const COMMIT = /^[0-9a-f]{40}([0-9a-f]{24})?$/;

export function parseGitUrl(url: URL): GitPlace {
  const remote = new URL(url);
  remote.search = "";
  remote.hash = "";
  const ref = url.searchParams.get("ref") ?? "HEAD";
  const path = (url.searchParams.get("path") ?? "").replace(/^\/+|\/+$/g, "");
  // git takes what begins with a dash for an option.
  if (!/^[\w][\w./+@-]*$/.test(ref) || ref.includes(".."))
    throw new PrestageError("USAGE", `ref=${ref} is no branch, tag or commit`);
  if (path.split("/").includes("..")) throw new PrestageError("USAGE", "path= leaves the tree");
  return { remote: remote.href.replace(/^git\+/, ""), ref, path };
}

/** The same tree for ever: the commit in place of the reference. */
export function pinnedGitUrl(url: URL, commit: string, path: string): string {
  const pinned = new URL(url);
  pinned.hash = "";
  pinned.search = new URLSearchParams(
    path === "" ? { ref: commit } : { ref: commit, path },
  ).toString();
  return pinned.href;
}

export const isCommit = (ref: string) => COMMIT.test(ref);
