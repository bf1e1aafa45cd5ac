/**
 * Directories on a mount that several hosts have (`file:///mnt/share/models/`). Only below what
 * agent.yaml names under `sources:`: the fleet may ask any host to read a URL, and a host's other
 * files are none of its business.
 */
import { hash } from "node:crypto";
import { createReadStream } from "node:fs";
import { lstat, readdir, realpath } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { PrestageError } from "../../shared/errors.ts";
import { MANIFEST_FILES_MAX } from "../../shared/manifest.ts";
import { readPart } from "./cache.ts";
import type { Credentials } from "./credentials.ts";
import type { RangeRequest, Snapshot, Source, SourceDeps, SourceFile } from "./source.ts";

type Found = { path: string; bytes: number; mtimeNs: bigint; executable: boolean };

export class DirectorySource implements Source {
  readonly #credentials: Credentials;

  constructor({ credentials }: SourceDeps) {
    this.#credentials = credentials;
  }

  async fetchRange({ originUrl, path, offset, bytes }: RangeRequest): Promise<Uint8Array> {
    const dir = await this.#allowed(new URL(originUrl));
    const file = await realpath(join(dir, path)).catch(() => null);
    if (!file?.startsWith(`${await realpath(dir)}/`))
      throw new PrestageError("NOT_FOUND", `no file ${path} in ${dir}`);
    return readPart(file, offset, bytes);
  }

  async snapshot(url: URL): Promise<Snapshot> {
    const dir = await this.#allowed(url);
    const files = await walk(dir);
    return {
      revision: revisionOf(files),
      originUrl: pathToFileURL(`${dir}/`).href,
      pinned: false,
      files: (async function* (): AsyncGenerator<SourceFile> {
        for (const { path, bytes, executable } of files)
          yield {
            path,
            bytes,
            executable,
            read: ({ signal }) =>
              createReadStream(join(dir, path), { signal, highWaterMark: 1 << 20 }),
          };
      })(),
    };
  }

  async revision(url: URL): Promise<string> {
    return revisionOf(await walk(await this.#allowed(url)));
  }

  async close(): Promise<void> {}

  async #allowed(url: URL): Promise<string> {
    if (url.host !== "")
      throw new PrestageError("USAGE", `file:///PATH names no host: ${url.host}`);
    const dir = fileURLToPath(new URL(url.pathname, "file:///")).replace(/\/+$/, "");
    if (!this.#credentials.settings(url))
      throw new PrestageError("FORBIDDEN", `agent.yaml lets nobody read ${dir}`, {
        remedy: `Name file://${dir}/ or a folder above it under \`sources:\` in agent.yaml.`,
      });
    const found = await lstat(dir).catch((cause: unknown) => {
      throw new PrestageError("NOT_FOUND", `no directory ${dir}`, { cause });
    });
    if (!found.isDirectory()) throw new PrestageError("USAGE", `${dir} is no directory`);
    return dir;
  }
}

/** All regular files, sorted by path. Throws USAGE on what no manifest can hold. */
async function walk(dir: string): Promise<Found[]> {
  const files: Found[] = [];
  const folders = [""];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop())
    for (const entry of await readdir(join(dir, folder), { withFileTypes: true })) {
      const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
      if (entry.isDirectory()) folders.push(path);
      else if (!entry.isFile())
        throw new PrestageError("USAGE", `neither file nor folder: ${path}`, { details: { path } });
      else {
        const { size, mtimeNs, mode } = await lstat(join(dir, path), { bigint: true });
        const executable = (Number(mode) & 0o100) !== 0;
        files.push({ path, bytes: Number(size), mtimeNs, executable });
      }
      if (files.length > MANIFEST_FILES_MAX)
        throw new PrestageError("TOO_LARGE", `over ${MANIFEST_FILES_MAX} files in ${dir}`);
    }
  return files.sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** Of names, sizes and times; reading all would cost too much for a look a minute. */
function revisionOf(files: Found[]): string {
  const rows = files.map((f) => `${f.path}\0${f.bytes} ${f.mtimeNs} ${f.executable}`);
  return hash("sha256", rows.join("\n"), "hex");
}
