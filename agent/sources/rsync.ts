/**
 * Trees of an rsync daemon (`rsync://HOST/MODULE/DIR/`), by the `rsync` program. It gives no
 * ranges: files are fetched whole, for publishing some at a time, for ranges into a cache.
 */
import { hash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { PrestageError } from "../../shared/errors.ts";
import { checkPath, MANIFEST_FILES_MAX } from "../../shared/manifest.ts";
import { decodedPath, shownUrl } from "../../shared/source-url.ts";
import { FileCache } from "./cache.ts";
import { refusedAccess } from "./credentials.ts";
import type {
  Fetching,
  RangeRequest,
  ReadingPace,
  Snapshot,
  Source,
  SourceDeps,
  SourceFile,
} from "./source.ts";

type Reading = { signal: AbortSignal };
type Found = { path: string; bytes: number; executable: boolean; line: string };

/** Fetched at once; more takes more disk while a version is published. */
const BATCH_BYTES = 256 << 20;
const BATCH = "batch-";
const CONNECT_SECONDS = 10;
/** Exit codes of rsync by which the network, not what was asked for, failed. */
const NETWORK_CODES = new Set([10, 12, 30, 35]);
const VANISHED = 24;
const AUTH = /auth failed|@ERROR: access denied/;

export class RsyncSource implements Source {
  readonly #deps: SourceDeps;
  readonly #cache: FileCache;
  #cleaned: Promise<void> | undefined;

  constructor(deps: SourceDeps) {
    this.#deps = deps;
    this.#cache = new FileCache({
      dir: join(deps.cacheDir, "files"),
      bytesMax: deps.limits.cacheBytes,
    });
  }

  fetchRange(range: RangeRequest, { signal, pace }: Fetching): Promise<Uint8Array> {
    const origin = new URL(range.originUrl);
    checkPath(range.path);
    const key = `${origin.href} ${range.path}`;
    return this.#cache.range(key, range, async (path) => {
      const limit = [`--max-size=${this.#deps.limits.cacheBytes}`, ...bandwidth(pace)];
      await this.#rsync(origin, [...limit, `${sourceOf(origin)}${range.path}`, path], signal);
    });
  }

  async snapshot(url: URL, { signal }: Reading): Promise<Snapshot> {
    const { folder, files } = await this.#find(url, signal);
    return {
      revision: revisionOf(files),
      originUrl: folder.href,
      pinned: false,
      files: this.#files(folder, files, signal),
    };
  }

  async revision(url: URL, { signal }: Reading): Promise<string> {
    return revisionOf((await this.#find(url, signal)).files);
  }

  async close(): Promise<void> {}

  /** Brings some files, gives them out, drops them, and so on. */
  async *#files(url: URL, files: Found[], signal: AbortSignal): AsyncGenerator<SourceFile> {
    await this.#ownFolder();
    // Some daemons find the names of a list only from the top of their module.
    const module = new URL(`/${url.pathname.split("/")[1]}/`, url);
    const below = decodedPath(url.pathname.slice(module.pathname.length));
    for (const batch of batches(files)) {
      const dir = await mkdtemp(join(this.#deps.cacheDir, BATCH));
      try {
        const names = batch.map((f) => `${below}${f.path}\0`).join("");
        const args = ["--files-from=-", "--from0", sourceOf(module), `${dir}/`];
        await this.#rsync(url, args, signal, names);
        for (const { path, bytes, executable } of batch)
          yield { path, bytes, executable, read: () => createReadStream(join(dir, below, path)) };
      } finally {
        await rm(dir, { recursive: true, force: true });
      }
    }
  }

  /** Made, and rid of what an earlier process left, once. */
  #ownFolder(): Promise<void> {
    const { cacheDir } = this.#deps;
    this.#cleaned ??= (async () => {
      await mkdir(cacheDir, { recursive: true });
      for (const name of await readdir(cacheDir))
        if (name.startsWith(BATCH)) await rm(join(cacheDir, name), { recursive: true });
    })();
    return this.#cleaned;
  }

  /** A folder and its files; of a URL without a slash at its end perhaps that file alone. */
  async #find(url: URL, signal: AbortSignal): Promise<{ folder: URL; files: Found[] }> {
    const plain = new URL(url);
    plain.search = "";
    plain.hash = "";
    if (!plain.pathname.endsWith("/")) {
      const files = await this.#list(plain, signal);
      const name = decodedPath(plain.pathname.slice(plain.pathname.lastIndexOf("/") + 1));
      if (files.length === 1 && files[0]?.path === name)
        return { folder: new URL(".", plain), files };
      plain.pathname = `${plain.pathname}/`;
    }
    return { folder: plain, files: await this.#list(plain, signal) };
  }

  async #list(url: URL, signal: AbortSignal): Promise<Found[]> {
    const args = ["--list-only", "--no-human-readable", "-8", sourceOf(url)];
    const text = (await this.#rsync(url, args, signal)).toString("utf8");
    const files: Found[] = [];
    for (const line of text.split("\n")) {
      const [, kind, rights = "", bytes, path] =
        /^([-dlcbps])([rwxstST-]{9})\s+(\d+)\s\S+\s\S+\s(.+)$/.exec(line) ?? [];
      if (kind === undefined || path === undefined || kind === "d") continue;
      if (kind !== "-")
        throw new PrestageError("USAGE", `neither file nor folder: ${path}`, { details: { path } });
      files.push({ path, bytes: Number(bytes), executable: rights[2] === "x", line });
      if (files.length > MANIFEST_FILES_MAX)
        throw new PrestageError("TOO_LARGE", `over ${MANIFEST_FILES_MAX} files below ${url.href}`);
    }
    return files.sort((a, b) => (a.path < b.path ? -1 : 1));
  }

  async #rsync(url: URL, args: string[], signal: AbortSignal, input?: string): Promise<Buffer> {
    const { programs, credentials, limits } = this.#deps;
    const login = await credentials.login(url);
    const seconds = Math.max(1, Math.round(limits.stallMs / 1000));
    const { code, output, said } = await programs.run({
      name: "rsync",
      args: ["-rt", `--timeout=${seconds}`, `--contimeout=${CONNECT_SECONDS}`, ...args],
      // Asked for no password on a terminal: without one the daemon says no.
      env: login ? { USER: login.user, RSYNC_PASSWORD: login.password } : { RSYNC_PASSWORD: "" },
      stallMs: null,
      signal,
      ...(input === undefined ? {} : { input }),
    });
    if (code === 0) return output;
    if (AUTH.test(said)) throw refusedAccess(url, login !== null);
    if (code === VANISHED)
      throw new PrestageError("CONFLICT", `${shownUrl(url)} changed while it was read`);
    const reason = said.split("\n").find((l) => l.startsWith("@ERROR") || l.startsWith("rsync"));
    const details = { exit: code };
    if (code !== null && NETWORK_CODES.has(code) && !said.includes("@ERROR"))
      throw new PrestageError("UNREACHABLE", `${shownUrl(url)}: ${reason}`, { details });
    throw new PrestageError("NOT_FOUND", `${shownUrl(url)}: ${reason}`, { details });
  }
}

/** As fast as may be read now; it takes whole KiB, and 0 for no limit. */
function bandwidth(pace: ReadingPace | undefined): string[] {
  const kib = Math.max(1, Math.floor((pace?.bytesPerSecond ?? Number.POSITIVE_INFINITY) / 1024));
  return Number.isFinite(kib) ? [`--bwlimit=${kib}`] : [];
}

/** Runs of files that together stay below a limit; a larger one is a run of its own. */
function* batches(files: readonly Found[]): Generator<Found[]> {
  let batch: Found[] = [];
  let bytes = 0;
  for (const file of files) {
    if (batch.length > 0 && bytes + file.bytes > BATCH_BYTES) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    batch.push(file);
    bytes += file.bytes;
  }
  if (batch.length > 0) yield batch;
}

/** Of what the daemon lists: names, sizes, rights and times in seconds. */
function revisionOf(files: Found[]): string {
  return hash("sha256", files.map((f) => f.line).join("\n"), "hex");
}

/** As rsync wants it: it does not undo percent-encoding. */
function sourceOf(url: URL): string {
  return `rsync://${url.host}${decodedPath(url.pathname)}`;
}
