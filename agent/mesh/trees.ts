/**
 * One artifact version on disk. Its files are its chunks: a chunk is a range of a file, written
 * in place once it was verified, so nothing is stored twice and activation copies nothing.
 *
 * What is held is not written down anywhere: after a crash the ranges are hashed again
 * (about 1.5 GB/s), and a range holds its chunk if the hash says so. A record that could be wrong
 * is refused in favour of bytes that cannot be. `partial/HASH` becomes `trees/HASH` by one rename,
 * after every chunk was verified in this process and files and folders were fsynced.
 *
 * Refused: a file per chunk plus a built tree (twice the disk, twice the writes); its gain, chunks
 * outliving their version, comes here from copying ranges of older versions (`Store.adopt`).
 */
import { hash } from "node:crypto";
import { chmod, mkdir, open, rename, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Manifest } from "../../shared/domain.ts";
import { assert } from "../../shared/runtime/assert.ts";
import { Bitmap } from "./bitmap.ts";
import type { FileHandles } from "./handles.ts";

const FLUSH_BYTES = 32 << 20;

export class Tree {
  readonly hash: string;
  readonly manifest: Manifest;
  /** Chunk hash and bytes by position, in file order; a hash may stand at several positions. */
  readonly chunks: readonly { hash: string; bytes: number }[];
  readonly have: Bitmap;
  /** Renamed into place, so its path is given out. */
  placed: boolean;
  root: string;
  bytesHave = 0;
  readonly #fileOf: Uint32Array;
  readonly #offsetOf: Float64Array;
  /** Positions whose bytes on disk this process has seen to be right. */
  readonly #verified: Bitmap;
  readonly #handles: FileHandles;
  #dirtyBytes = 0;
  #dirtyFiles = new Set<number>();
  #flushing: Promise<void> = Promise.resolve();

  constructor(
    version: { hash: string; manifest: Manifest; root: string; placed: boolean },
    handles: FileHandles,
  ) {
    this.hash = version.hash;
    this.manifest = version.manifest;
    this.root = version.root;
    this.placed = version.placed;
    this.#handles = handles;
    this.chunks = version.manifest.files.flatMap((f) => f.chunks);
    this.have = new Bitmap(this.chunks.length);
    this.#verified = new Bitmap(this.chunks.length);
    this.#fileOf = new Uint32Array(this.chunks.length);
    this.#offsetOf = new Float64Array(this.chunks.length);
    let position = 0;
    version.manifest.files.forEach((file, index) => {
      let offset = 0;
      for (const chunk of file.chunks) {
        this.#fileOf[position] = index;
        this.#offsetOf[position++] = offset;
        offset += chunk.bytes;
      }
    });
  }

  get active(): boolean {
    return this.placed && this.have.complete;
  }

  /** Where a position lies: the file's path in the manifest and the offset in it. */
  range(position: number): { path: string; offset: number; bytes: number } {
    const file = this.manifest.files[this.#fileOf[position] ?? -1];
    const chunk = this.chunks[position];
    assert(file && chunk, "the position is one of the manifest's");
    return { path: file.path, offset: this.#offsetOf[position] ?? 0, bytes: chunk.bytes };
  }

  /** Makes the folders and the files at their full size, sparse. Keeps what is there. */
  async create(): Promise<void> {
    await mkdir(this.root, { recursive: true });
    for (const folder of this.#folders()) await mkdir(folder, { recursive: true });
    for (const file of this.manifest.files) {
      const handle = await open(join(this.root, file.path), "a+");
      try {
        if ((await handle.stat()).size !== file.bytes) await handle.truncate(file.bytes);
      } finally {
        await handle.close();
      }
    }
  }

  /** Takes over what the files hold already: whole, if sizes agree and it was placed before. */
  trustSizes(): Promise<boolean> {
    return everyLimit(this.manifest.files, 16, async (file) => {
      const found = await stat(join(this.root, file.path)).catch(ignoreMissing);
      return found?.isFile() === true && found.size === file.bytes;
    });
  }

  markAll(): void {
    for (let i = 0; i < this.chunks.length; i++) this.#mark(i, false);
  }

  /** Hashes every range and marks those that hold their chunk. */
  async recheck(): Promise<void> {
    for (let position = 0; position < this.chunks.length; position++)
      if (await this.#holds(position)) this.#mark(position, true);
  }

  /** Writes verified bytes. True when the position was not held before. */
  async write(position: number, bytes: Uint8Array): Promise<boolean> {
    const { path, offset } = this.range(position);
    await this.#handles.use(join(this.root, path), "r+", async (file) => {
      for (let done = 0; done < bytes.length; ) {
        const { bytesWritten } = await file.write(bytes, done, bytes.length - done, offset + done);
        done += bytesWritten;
      }
    });
    this.#dirtyFiles.add(this.#fileOf[position] ?? 0);
    this.#dirtyBytes += bytes.length;
    if (this.#dirtyBytes >= FLUSH_BYTES) await this.#flush();
    return this.#mark(position, true);
  }

  /** The bytes, or null when they are not what the manifest says: the position is then lost. */
  async read(position: number): Promise<Uint8Array | null> {
    const { path, offset, bytes } = this.range(position);
    const buffer = Buffer.allocUnsafeSlow(bytes);
    const got = await this.#handles.use(join(this.root, path), "r", async (file) => {
      let done = 0;
      while (done < bytes) {
        const { bytesRead } = await file.read(buffer, done, bytes - done, offset + done);
        if (bytesRead === 0) break;
        done += bytesRead;
      }
      return done;
    });
    const right = got === bytes && hash("sha256", buffer, "hex") === this.chunks[position]?.hash;
    if (right) {
      this.#verified.set(position);
      return buffer;
    }
    this.lose(position);
    return null;
  }

  lose(position: number): void {
    this.#verified.clear(position);
    if (this.have.clear(position)) this.bytesHave -= this.chunks[position]?.bytes ?? 0;
  }

  /**
   * Moves the whole, verified tree to `place`. False when a range turned out wrong: it is lost and
   * has to be fetched again.
   */
  async activate(place: string): Promise<boolean> {
    for (let i = 0; i < this.chunks.length; i++)
      if (!this.#verified.has(i) && !(await this.#holds(i))) this.lose(i);
      else this.#verified.set(i);
    if (!this.have.complete) return false;
    this.manifest.files.forEach((_, index) => {
      this.#dirtyFiles.add(index);
    });
    await this.#flush();
    await everyLimit(this.manifest.files, 8, async (file) => {
      await chmod(join(this.root, file.path), file.mode);
      return true;
    });
    for (const folder of this.#folders().reverse()) await syncFolder(folder);
    await syncFolder(this.root);
    await this.close();
    if (this.placed) return true;
    const before = this.root;
    await rename(before, place);
    this.root = place;
    this.placed = true;
    await syncFolder(dirname(place));
    await syncFolder(dirname(before));
    await this.#handles.closeUnder(before); // opened by a reader in between
    return true;
  }

  async close(): Promise<void> {
    await this.#flushing;
    await this.#handles.closeUnder(this.root);
  }

  async #holds(position: number): Promise<boolean> {
    const read = await this.read(position).catch(ignoreMissing);
    return read !== null;
  }

  #mark(position: number, verified: boolean): boolean {
    if (verified) this.#verified.set(position);
    if (!this.have.set(position)) return false;
    this.bytesHave += this.chunks[position]?.bytes ?? 0;
    return true;
  }

  /** Puts what was written on the disk, so that a power cut costs at most `FLUSH_BYTES`. */
  #flush(): Promise<void> {
    const files = [...this.#dirtyFiles];
    this.#dirtyFiles.clear();
    this.#dirtyBytes = 0;
    const before = this.#flushing;
    this.#flushing = before.then(async () => {
      await everyLimit(files, 8, async (index) => {
        const path = join(this.root, this.manifest.files[index]?.path ?? "");
        await this.#handles.use(path, "r+", (file) => file.datasync());
        return true;
      });
    });
    return this.#flushing;
  }

  /** Every folder under the root that the files need, parents first. */
  #folders(): string[] {
    const folders = new Set<string>();
    for (const { path } of this.manifest.files)
      for (let at = path.indexOf("/"); at !== -1; at = path.indexOf("/", at + 1))
        folders.add(join(this.root, path.slice(0, at)));
    return [...folders].sort();
  }
}

export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

export function ignoreMissing(cause: unknown): null {
  if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") return null;
  throw cause;
}

/** Whether `fn` says true for all items, at most `limit` of them under way. */
export async function everyLimit<T>(
  items: readonly T[],
  limit: number,
  fn: (item: T) => Promise<boolean>,
): Promise<boolean> {
  let next = 0;
  let all = true;
  const worker = async () => {
    while (all && next < items.length) {
      const item = items[next++];
      if (item !== undefined && !(await fn(item))) all = false;
    }
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, worker));
  return all;
}
