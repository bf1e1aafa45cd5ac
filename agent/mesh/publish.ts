/** A directory as a signed, immutable version. */

import { constants } from "node:fs";
import { copyFile, lstat, open, readdir } from "node:fs/promises";
import { join } from "node:path";
import type { Manifest, ManifestFile, SignedManifest } from "../../shared/domain.ts";
import { PrestageError } from "../../shared/errors.ts";
import { chunkFile } from "./chunker.ts";
import type { Store } from "./store.ts";

export type Publication = {
  dir: string;
  name: string;
  version: string;
  originUrl: string | null;
  createdMs: number;
  publisher: string;
};
/** Signs a manifest: this host's key, or a publisher's that never comes here. */
export type Sign = (manifest: Manifest) => SignedManifest | Promise<SignedManifest>;

/** Cuts and hashes every file. Throws USAGE on what no manifest can hold (links, devices). */
export async function describe(p: Publication, sign: Sign): Promise<SignedManifest> {
  const files: ManifestFile[] = [];
  for (const path of await filesUnder(p.dir)) files.push(await describeFile(p.dir, path));
  const manifest: Manifest = {
    name: p.name,
    version: p.version,
    createdMs: p.createdMs,
    files,
    bytes: files.reduce((sum, f) => sum + f.bytes, 0),
    originUrl: p.originUrl,
    publisher: p.publisher,
  };
  return sign(manifest);
}

/** Copies the files into the store (shared blocks where the disk can) and activates them. */
export async function keep(
  dir: string,
  signed: SignedManifest,
  manifest: Manifest,
  store: Store,
): Promise<void> {
  const tree = await store.add(signed, manifest);
  if (tree.active) return;
  for (const { path } of manifest.files)
    await copyFile(join(dir, path), join(tree.root, path), constants.COPYFILE_FICLONE);
  await tree.recheck();
  if (!(await store.activate(tree)))
    throw new PrestageError("CONFLICT", "the directory changed while it was published", {
      details: { dir },
    });
}

async function describeFile(dir: string, path: string): Promise<ManifestFile> {
  const file = await open(join(dir, path), "r");
  try {
    const { mode } = await file.stat();
    const chunks = [];
    for await (const chunk of chunkFile(file)) chunks.push(chunk);
    const bytes = chunks.reduce((sum, c) => sum + c.bytes, 0);
    return { path, mode: mode & 0o100 ? 0o755 : 0o644, bytes, chunks };
  } finally {
    await file.close();
  }
}

/** Paths of all regular files, sorted. */
async function filesUnder(dir: string): Promise<string[]> {
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
  return paths.sort();
}
