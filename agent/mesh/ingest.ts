/**
 * A tree that comes as a stream, file by file: each piece is cut, hashed and written as it
 * arrives, so that nothing is read twice and the files become the version's own by renaming.
 */
import { hash } from "node:crypto";
import { type FileHandle, mkdir, open, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Chunk, Manifest, ManifestFile, SignedManifest } from "../../shared/domain.ts";
import { PrestageError } from "../../shared/errors.ts";
import { checkPath } from "../../shared/manifest.ts";
import { CHUNK_BYTES_MAX, cut } from "./chunker.ts";
import type { Sign } from "./publish.ts";
import type { Store } from "./store.ts";

export type IncomingFile = {
  path: string;
  executable: boolean;
  /** Asked once, after the file before was read. */
  read(options: { signal: AbortSignal }): AsyncIterable<Uint8Array>;
};

export type Stream = {
  name: string;
  version: string;
  originUrl: string | null;
  /** False: the files are only described, and stay where they are. */
  keep: boolean;
  bytesMax: number;
  signal: AbortSignal;
  progress(bytesDone: number): void;
};
type Intake = Pick<Stream, "bytesMax" | "signal" | "progress"> & { dir: string | null };

const BUFFER_BYTES = 4 << 20;

/**
 * Signs what comes, and hands what was kept to `seed`. Throws TOO_LARGE past the limit, DISK_FULL
 * when it does not fit, CORRUPT for a path that leaves its folder, and what reading throws.
 */
export async function ingest(
  files: AsyncIterable<IncomingFile>,
  { keep, bytesMax, signal, progress, ...what }: Stream & { publisher: string; createdMs: number },
  sign: Sign,
  store: Store,
  seed: (
    signed: SignedManifest,
    adopt: (manifest: Manifest) => Promise<void>,
  ) => Promise<SignedManifest>,
): Promise<SignedManifest> {
  const dir = keep ? await store.incoming() : null;
  const room = keep ? Math.min(bytesMax, store.quotaBytes) : bytesMax;
  try {
    const taken = await takeFiles(files, { dir, bytesMax: room, signal, progress });
    const bytes = taken.reduce((sum, f) => sum + f.bytes, 0);
    const signed = await sign({ ...what, files: taken, bytes });
    if (dir === null) return signed;
    return await seed(signed, (manifest) => adoptFiles(dir, signed, manifest, store));
  } finally {
    if (dir !== null) await rm(dir, { recursive: true, force: true });
  }
}

async function takeFiles(
  files: AsyncIterable<IncomingFile>,
  intake: Intake,
): Promise<ManifestFile[]> {
  const taken: ManifestFile[] = [];
  let bytesBefore = 0;
  for await (const file of files) {
    checkPath(file.path);
    const described = await takeFile(file, bytesBefore, intake);
    bytesBefore += described.bytes;
    taken.push(described);
  }
  return taken.sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** Makes what was written to `dir` the files of the version in the store. */
async function adoptFiles(
  dir: string,
  signed: SignedManifest,
  manifest: Manifest,
  store: Store,
): Promise<void> {
  const tree = await store.add(signed, manifest);
  if (tree.active) return;
  await tree.close(); // no file may stay open under a name that another takes
  for (const { path } of manifest.files) await rename(join(dir, path), join(tree.root, path));
  await tree.recheck();
  if (!(await store.activate(tree)))
    throw new PrestageError("CORRUPT", "the disk does not hold what was written to it");
}

async function takeFile(
  file: IncomingFile,
  bytesBefore: number,
  { dir, bytesMax, signal, progress }: Intake,
): Promise<ManifestFile> {
  const out = dir === null ? null : await create(join(dir, file.path));
  const chunks: Chunk[] = [];
  let bytes = 0;
  try {
    for await (const data of cutStream(file.read({ signal }))) {
      signal.throwIfAborted();
      bytes += data.length;
      if (bytesBefore + bytes > bytesMax)
        throw new PrestageError("TOO_LARGE", `the tree is over ${bytesMax} bytes`, {
          details: { path: file.path },
          remedy: "Raise sourceLimits.artifactBytes or store.quotaBytes in agent.yaml.",
        });
      if (out) await writeAll(out, data);
      chunks.push({ hash: hash("sha256", data, "hex"), bytes: data.length });
      progress(bytesBefore + bytes);
    }
  } finally {
    await out?.close();
  }
  return { path: file.path, mode: file.executable ? 0o755 : 0o644, bytes, chunks };
}

/** The pieces cut anew, where the content says so. A chunk's memory is good until the next. */
export async function* cutStream(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const buffer = Buffer.allocUnsafeSlow(BUFFER_BYTES);
  let start = 0;
  let end = 0;
  for await (const piece of pieces) {
    for (let at = 0; at < piece.length; ) {
      if (end === BUFFER_BYTES) {
        buffer.copyWithin(0, start, end);
        end -= start;
        start = 0;
      }
      const taken = Math.min(piece.length - at, BUFFER_BYTES - end);
      buffer.set(piece.subarray(at, at + taken), end);
      at += taken;
      end += taken;
      while (end - start >= CHUNK_BYTES_MAX) {
        const bytes = cut(buffer.subarray(start, end));
        yield buffer.subarray(start, start + bytes);
        start += bytes;
      }
    }
  }
  while (start < end) {
    const bytes = cut(buffer.subarray(start, end));
    yield buffer.subarray(start, start + bytes);
    start += bytes;
  }
}

async function create(path: string): Promise<FileHandle> {
  await mkdir(dirname(path), { recursive: true });
  return open(path, "wx");
}

async function writeAll(file: FileHandle, data: Uint8Array): Promise<void> {
  try {
    for (let done = 0; done < data.length; )
      done += (await file.write(data, done, data.length - done)).bytesWritten;
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "ENOSPC")
      throw new PrestageError("DISK_FULL", "the disk is full", { cause });
    throw cause;
  }
}
