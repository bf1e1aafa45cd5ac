/** The files of a directory of this host, to be published. */
import type { FileHandle } from "node:fs/promises";
import { lstat, open, readdir } from "node:fs/promises";
import { join } from "node:path";
import { PrestageError } from "../../../shared/errors.ts";
import { MANIFEST_FILES_MAX } from "../../../shared/manifest.ts";
import { fillFromFile } from "./chunker.ts";
import { everyLimit } from "./disk.ts";
import type { OpenFile } from "./ingest.ts";

export type Listed = { dir: string; paths: string[]; bytes: number };

/** One after the other, in order of their paths. */
export async function* openDirectory({ dir, paths }: Listed): AsyncGenerator<OpenFile> {
  for (const path of paths) {
    const original = join(dir, path);
    const file = await open(original, "r");
    try {
      yield await openFile(file, path, original);
    } finally {
      await file.close();
    }
  }
}

async function openFile(file: FileHandle, path: string, original: string): Promise<OpenFile> {
  const before = await file.stat();
  const end = async (bytes: number) => {
    const after = await file.stat();
    if (bytes === before.size && after.mtimeMs === before.mtimeMs) return;
    throw new PrestageError("CONFLICT", `${original} changed while it was published`, {
      details: { path },
      remedy: "Publish it again when nothing writes to it.",
    });
  };
  const executable = (before.mode & 0o100) !== 0;
  return { path, executable, fill: fillFromFile(file, before.size), original, end };
}

/**
 * All regular files. Throws USAGE on what no manifest can hold (links, devices), TOO_LARGE when it
 * cannot hold so many.
 */
export async function listDirectory(dir: string): Promise<Listed> {
  const top = await lstat(dir).catch((cause: unknown) => {
    throw new PrestageError("NOT_FOUND", `no directory ${dir}`, { cause });
  });
  if (!top.isDirectory()) throw new PrestageError("USAGE", `${dir} is no directory`);
  const paths: string[] = [];
  const folders = [""];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop())
    for (const entry of await readdir(join(dir, folder), { withFileTypes: true })) {
      const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
      if (entry.isDirectory()) folders.push(path);
      else if (entry.isFile()) paths.push(path);
      else
        throw new PrestageError("USAGE", `neither file nor folder: ${path}`, {
          details: { path },
        });
    }
  if (paths.length > MANIFEST_FILES_MAX)
    throw new PrestageError("TOO_LARGE", `${dir} has over ${MANIFEST_FILES_MAX} files`, {
      details: { dir, files: paths.length },
      remedy: "Publish its folders as artifacts of their own, or an archive of it.",
    });
  let bytes = 0;
  await everyLimit(paths, 8, async (path) => {
    const { size } = await lstat(join(dir, path));
    bytes += size;
    return true;
  });
  return { dir, paths: paths.sort(), bytes };
}
