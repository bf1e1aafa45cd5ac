/**
 * Trees of git repositories, by the `git` program. A version's origin names the commit, so it can
 * never give other bytes. Files that git does not hold itself (LFS, submodules, links) are refused.
 */
import { hash } from "node:crypto";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { PrestageError } from "../../shared/errors.ts";
import { MANIFEST_FILES_MAX } from "../../shared/manifest.ts";
import { FileCache } from "./cache.ts";
import { refusedAccess } from "./credentials.ts";
import { type GitAccess, type GitEntry, GitRepository } from "./git-repository.ts";
import { parseGitUrl, pinnedGitUrl } from "./git-url.ts";
import type { RangeRequest, Snapshot, Source, SourceDeps, SourceFile } from "./source.ts";

type Reading = { signal: AbortSignal };

const LFS_POINTER = "version https://git-lfs.github.com/spec/v1\n";
const EXECUTABLE = "100755";

export class GitSource implements Source {
  readonly #deps: SourceDeps;
  readonly #cache: FileCache;
  readonly #repositories = new Map<string, GitRepository>();

  constructor(deps: SourceDeps) {
    this.#deps = deps;
    this.#cache = new FileCache({
      dir: join(deps.cacheDir, "files"),
      bytesMax: Math.floor(deps.limits.cacheBytes / 2),
    });
  }

  async fetchRange(range: RangeRequest, { signal }: Reading): Promise<Uint8Array> {
    const url = new URL(range.originUrl);
    const { remote, ref: commit, path } = parseGitUrl(url);
    const whole = path === "" ? range.path : `${path}/${range.path}`;
    return this.#cache.range(`${remote} ${commit} ${whole}`, range, async (file) => {
      const access = await this.#access(url);
      const repository = this.#repository(remote);
      await repository.fetch(commit, { path: whole, blobs: false }, access, { signal });
      const [entry] = await repository.list(commit, whole, access, { signal });
      if (!entry || entry.path !== whole)
        throw new PrestageError("NOT_FOUND", `the commit has no file ${whole}`);
      await repository.save(entry.oid, file, access, { signal });
    });
  }

  async snapshot(url: URL, { signal }: Reading): Promise<Snapshot> {
    const place = parseGitUrl(url);
    const access = await this.#access(url);
    const repository = this.#repository(place.remote);
    const commit = await repository.resolve(place.ref, access, { signal });
    await repository.fetch(commit, { path: place.path, blobs: true }, access, { signal });
    const listed = await repository.list(commit, place.path, access, { signal });
    const single = listed.length === 1 && listed[0]?.path === place.path;
    const base = single
      ? place.path.slice(0, Math.max(0, place.path.lastIndexOf("/")))
      : place.path;
    const entries = listed.map((e) => ({ ...e, shown: single ? nameOf(e.path) : e.path }));
    for (const entry of listed) check(entry);
    if (entries.length > MANIFEST_FILES_MAX)
      throw new PrestageError("TOO_LARGE", `over ${MANIFEST_FILES_MAX} files in the tree`);
    return {
      revision: commit,
      originUrl: pinnedGitUrl(url, commit, base),
      pinned: true,
      files: readFiles(repository, access, entries, signal),
    };
  }

  async revision(url: URL, { signal }: Reading): Promise<string> {
    const { remote, ref } = parseGitUrl(url);
    return this.#repository(remote).resolve(ref, await this.#access(url), { signal });
  }

  async close(): Promise<void> {}

  #repository(remote: string): GitRepository {
    let known = this.#repositories.get(remote);
    if (!known) {
      const { programs, cacheDir, limits } = this.#deps;
      known = new GitRepository(programs, {
        dir: join(cacheDir, "repositories", hash("sha256", remote, "hex").slice(0, 32)),
        remote,
        bytesMax: Math.floor(limits.cacheBytes / 2),
        stallMs: limits.stallMs,
      });
      this.#repositories.set(remote, known);
    }
    return known;
  }

  async #access(url: URL): Promise<GitAccess> {
    const { credentials, limits } = this.#deps;
    const settings = credentials.settings(url);
    if (url.protocol === "git+file:" && !settings)
      throw new PrestageError("FORBIDDEN", `agent.yaml lets nobody read ${url.pathname}`, {
        remedy: "Name it or a folder above it under `sources:` in agent.yaml.",
      });
    const config: [string, string][] = [
      ["protocol.file.allow", "always"],
      ["safe.directory", "*"],
      ["http.lowSpeedLimit", "1"],
      ["http.lowSpeedTime", String(Math.max(1, Math.round(limits.stallMs / 1000)))],
    ];
    const authorization = await credentials.authorization(url);
    // The header would go wherever a redirect leads.
    if (authorization !== null)
      config.push(
        ["http.extraHeader", `Authorization: ${authorization}`],
        ["http.followRedirects", "false"],
      );
    if (settings?.caFile) config.push(["http.sslCAInfo", settings.caFile]);
    const key = settings?.auth?.scheme === "ssh" ? settings.auth.file : undefined;
    return {
      env: { ...baseEnv(key), ...configEnv(config) },
      refused: () => refusedAccess(url, authorization !== null || key !== undefined),
    };
  }
}

/** Nothing of the user's own settings, and no question to a terminal. */
function baseEnv(sshKey: string | undefined): Record<string, string> {
  const identity = sshKey === undefined ? "" : ` -i ${quoted(sshKey)} -o IdentitiesOnly=yes`;
  return {
    GIT_CONFIG_NOSYSTEM: "1",
    GIT_CONFIG_GLOBAL: "/dev/null",
    GIT_TERMINAL_PROMPT: "0",
    GIT_LITERAL_PATHSPECS: "1",
    GIT_ASKPASS: "true",
    GIT_SSH_COMMAND: `ssh -o BatchMode=yes -o ConnectTimeout=10${identity}`,
    LC_ALL: "C",
  };
}

function configEnv(config: readonly [string, string][]): Record<string, string> {
  const env: Record<string, string> = { GIT_CONFIG_COUNT: String(config.length) };
  for (const [i, [key, value]] of config.entries()) {
    env[`GIT_CONFIG_KEY_${i}`] = key;
    env[`GIT_CONFIG_VALUE_${i}`] = value;
  }
  return env;
}

const quoted = (path: string) => `'${path.replaceAll("'", "'\\''")}'`;

const nameOf = (path: string) => path.slice(path.lastIndexOf("/") + 1);

function check({ mode, kind, path }: GitEntry): void {
  if (kind === "blob" && mode !== "120000") return;
  const what = kind === "commit" ? "a submodule" : "a symbolic link";
  throw new PrestageError("USAGE", `${path} is ${what}, which no version can hold`, {
    details: { path },
    remedy: "Name a part of the tree without it: ?path=DIR",
  });
}

async function* readFiles(
  repository: GitRepository,
  access: GitAccess,
  entries: readonly (GitEntry & { shown: string })[],
  signal: AbortSignal,
): AsyncGenerator<SourceFile> {
  const talk = repository.readBlobs(access, { signal });
  const replies = new Replies(talk.output);
  try {
    for (const { oid, mode, shown } of entries) {
      talk.input.write(`${oid}\n`);
      const header = await replies.line();
      const bytes = Number(/^[0-9a-f]+ blob (\d+)$/.exec(header)?.[1] ?? Number.NaN);
      if (Number.isNaN(bytes))
        throw new PrestageError("UNREACHABLE", `git has no content of ${shown}: ${header}`);
      const read = () => notPointer(replies.body(bytes), bytes, shown);
      yield { path: shown, bytes, executable: mode === EXECUTABLE, read };
    }
  } finally {
    await talk.stop().catch(() => null); // what ended it is thrown by the reader
  }
}

async function* notPointer(
  pieces: AsyncIterable<Buffer>,
  bytes: number,
  path: string,
): AsyncGenerator<Uint8Array> {
  for await (const piece of pieces) {
    if (bytes < 1024 && piece.subarray(0, LFS_POINTER.length).toString() === LFS_POINTER)
      throw new PrestageError("USAGE", `${path} is a pointer of Git LFS, not the file itself`, {
        details: { path },
        remedy: "Publish the file from where LFS keeps it, or a checkout as a directory.",
      });
    yield piece;
  }
}

/** Reads `cat-file --batch`: a line, so many bytes, a line break, and so on. */
class Replies {
  readonly #pieces: AsyncIterator<Buffer>;
  #rest: Buffer = Buffer.alloc(0);

  constructor(output: Readable) {
    this.#pieces = output[Symbol.asyncIterator]();
  }

  async line(): Promise<string> {
    for (;;) {
      const end = this.#rest.indexOf(10);
      if (end >= 0) {
        const text = this.#rest.subarray(0, end).toString("utf8");
        this.#rest = this.#rest.subarray(end + 1);
        return text;
      }
      await this.#more();
    }
  }

  async *body(bytes: number): AsyncGenerator<Buffer> {
    let left = bytes;
    while (left > 0) {
      if (this.#rest.length === 0) await this.#more();
      const piece = this.#rest.subarray(0, left);
      this.#rest = this.#rest.subarray(piece.length);
      left -= piece.length;
      yield piece;
    }
    await this.line();
  }

  async #more(): Promise<void> {
    const next = await this.#pieces.next();
    if (next.done) throw new PrestageError("UNREACHABLE", "git ended before it had said all");
    this.#rest = this.#rest.length === 0 ? next.value : Buffer.concat([this.#rest, next.value]);
  }
}
