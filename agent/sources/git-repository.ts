/**
 * One remote repository as this host knows it: a bare partial clone that holds the commits that
 * were asked for, without history, and the blobs that were read. Dropped whole when it outgrows
 * its limit.
 */
import { open, readdir, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { PrestageError } from "../../shared/errors.ts";
import { isCommit } from "./git-url.ts";
import type { Ended, Programs } from "./program.ts";

export type GitEntry = { mode: string; kind: string; oid: string; path: string };
export type GitAccess = {
  /** Environment that carries credentials and settings; never arguments, others can see them. */
  env: Record<string, string>;
  /** What `refused` says when the remote wants others. */
  refused: () => PrestageError;
};
type Reading = { signal: AbortSignal };

const REFUSED =
  /authentication failed|could not read username|permission denied|returned error: 40[13]/i;
const MISSING =
  /not found|does not (exist|appear)|couldn't find remote ref|no such file|not exported/i;

export class GitRepository {
  readonly #programs: Programs;
  readonly #options: { dir: string; remote: string; bytesMax: number; stallMs: number };
  /** One command that writes at a time. */
  #writing: Promise<unknown> = Promise.resolve();

  constructor(
    programs: Programs,
    options: { dir: string; remote: string; bytesMax: number; stallMs: number },
  ) {
    this.#programs = programs;
    this.#options = options;
  }

  /** The commit that a reference points to now. Throws NOT_FOUND. */
  async resolve(ref: string, access: GitAccess, { signal }: Reading): Promise<string> {
    if (isCommit(ref)) return ref;
    const names =
      ref === "HEAD" || ref.startsWith("refs/")
        ? [`${ref}^{}`, ref]
        : [`refs/tags/${ref}^{}`, `refs/tags/${ref}`, `refs/heads/${ref}`];
    const args = ["ls-remote", "--", this.#options.remote, ...names];
    const text = (await this.#git(args, access, { signal })).toString("utf8");
    const found = new Map(
      text.split("\n").map((line) => [line.split("\t")[1] ?? "", line.split("\t")[0] ?? ""]),
    );
    const commit = names.map((name) => found.get(name)).find((oid) => oid !== undefined);
    if (commit) return commit;
    throw new PrestageError("NOT_FOUND", `the repository has no branch or tag ${ref}`);
  }

  /** Brings the commit and its trees here, and the blobs below `path` with `blobs`. */
  fetch(
    commit: string,
    { path, blobs }: { path: string; blobs: boolean },
    access: GitAccess,
    { signal }: Reading,
  ): Promise<void> {
    const result = this.#writing
      .catch(() => null) // whose turn was before has that error
      .then(async () => {
        await this.#prepare(access, signal);
        // Left by a git that was killed: nobody else writes here.
        await rm(join(this.#options.dir, "shallow.lock"), { force: true });
        if (!(await this.#has(commit, signal)))
          await this.#git(fetchArgs("--depth=1", "origin", commit), access, { signal });
        if (blobs) await this.#fetchBlobs(commit, path, access, signal);
      });
    this.#writing = result;
    return result;
  }

  /** What lies at or below the path; of a file its own entry. Throws NOT_FOUND. */
  async list(
    commit: string,
    path: string,
    access: GitAccess,
    reading: Reading,
  ): Promise<GitEntry[]> {
    if (path !== "") {
      const args = ["ls-tree", "-z", "--full-tree", commit, "--", path];
      const [entry] = entries(await this.#git(args, access, reading));
      if (!entry) throw new PrestageError("NOT_FOUND", `the commit has no ${path}`);
      if (entry.kind !== "tree") return [entry];
    }
    const tree = ["ls-tree", "-r", "-z", "--full-tree", `${commit}:${path}`];
    return entries(await this.#git(tree, access, reading));
  }

  /** Writes a blob to a file, fetched if need be. */
  async save(oid: string, file: string, access: GitAccess, { signal }: Reading): Promise<void> {
    const handle = await open(file, "w");
    try {
      await this.#git(["cat-file", "blob", oid], access, { signal, outputFd: handle.fd });
    } finally {
      await handle.close();
    }
  }

  /** A conversation with `cat-file --batch`. */
  readBlobs(access: GitAccess, { signal }: Reading) {
    return this.#programs.talk({
      name: "git",
      args: ["-C", this.#options.dir, "cat-file", "--batch"],
      env: access.env,
      signal,
    });
  }

  async #prepare(access: GitAccess, signal: AbortSignal): Promise<void> {
    const { dir, remote, bytesMax } = this.#options;
    const bytes = await sizeOf(dir);
    if (bytes !== null && bytes > bytesMax) await rm(dir, { recursive: true });
    if (bytes !== null && bytes <= bytesMax) return;
    const { stallMs } = this.#options;
    const args = ["init", "--quiet", "--bare", dir];
    try {
      await this.#programs.run({ name: "git", args, env: access.env, stallMs, signal });
      await writeFile(join(dir, "config"), partialClone(remote));
    } catch (cause) {
      await rm(dir, { recursive: true, force: true });
      throw cause;
    }
  }

  async #has(commit: string, signal: AbortSignal): Promise<boolean> {
    const { dir, stallMs } = this.#options;
    // Without a remote nothing can be fetched on the way.
    const args = [
      "-C",
      dir,
      "-c",
      "remote.origin.promisor=false",
      "cat-file",
      "-e",
      `${commit}^{tree}`,
    ];
    const { code } = await this.#programs.run({ name: "git", args, env: {}, stallMs, signal });
    return code === 0;
  }

  /** All blobs at or below the path that are not here yet, in one request. */
  async #fetchBlobs(
    commit: string,
    path: string,
    access: GitAccess,
    signal: AbortSignal,
  ): Promise<void> {
    const below = path === "" ? [] : ["--", path];
    const args = [
      "rev-list",
      "--objects",
      "--no-object-names",
      "--missing=print",
      commit,
      ...below,
    ];
    const text = (await this.#git(args, access, { signal })).toString("utf8");
    const missing = [...text.matchAll(/^\?([0-9a-f]+)$/gm)].map(([, oid]) => oid);
    if (missing.length === 0) return;
    const input = `${missing.join("\n")}\n`;
    await this.#git(fetchArgs("origin", "--stdin"), access, { signal, input });
  }

  async #git(
    args: readonly string[],
    access: GitAccess,
    run: { signal: AbortSignal; input?: string; outputFd?: number },
  ): Promise<Buffer> {
    const { dir, stallMs } = this.#options;
    const place = args[0] === "ls-remote" ? [] : ["-C", dir];
    const ended = await this.#programs.run({
      name: "git",
      args: [...place, ...args],
      env: access.env,
      stallMs: Math.max(stallMs, 60_000),
      ...run,
    });
    if (ended.code === 0) return ended.output;
    throw this.#failure(ended, access);
  }

  #failure({ said, code }: Ended, access: GitAccess): PrestageError {
    if (REFUSED.test(said)) return access.refused();
    const reason = said.split("\n").find((line) => /^(fatal|error):/.test(line)) ?? `exit ${code}`;
    return new PrestageError(MISSING.test(said) ? "NOT_FOUND" : "UNREACHABLE", `git: ${reason}`);
  }
}

function partialClone(remote: string): string {
  return `[core]
	repositoryformatversion = 1
	bare = true
[extensions]
	partialClone = origin
[remote "origin"]
	url = ${JSON.stringify(remote)}
	promisor = true
	partialclonefilter = blob:none
`;
}

function fetchArgs(...rest: string[]): string[] {
  return [
    "-c",
    "fetch.negotiationAlgorithm=noop",
    "fetch",
    "--progress",
    "--no-tags",
    "--no-write-fetch-head",
    "--no-auto-gc",
    "--recurse-submodules=no",
    "--filter=blob:none",
    ...rest,
  ];
}

/** Of `ls-tree -z`: `MODE SP KIND SP OID TAB PATH NUL`. */
function entries(output: Buffer): GitEntry[] {
  return output
    .toString("utf8")
    .split("\0")
    .flatMap((row) => {
      const [, mode, kind, oid, path] = /^(\d+) (\w+) ([0-9a-f]+)\t(.+)$/s.exec(row) ?? [];
      return mode && kind && oid && path ? [{ mode, kind, oid, path }] : [];
    });
}

/** Bytes of all files below; null when there is no such folder. */
async function sizeOf(dir: string): Promise<number | null> {
  const found = await readdir(dir, { recursive: true, withFileTypes: true }).catch(() => null);
  if (found === null) return null;
  let bytes = 0;
  for (const entry of found)
    if (entry.isFile()) bytes += (await stat(join(entry.parentPath, entry.name))).size;
  return bytes;
}
