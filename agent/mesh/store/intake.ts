/**
 * Where files come into the store in one reading: written as they are cut; a file that a version
 * here has alike becomes a link to it and is not written at all.
 */
import { constants } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import type { Chunk, ManifestFile } from "../../../shared/domain.ts";
import { PrestageError } from "../../../shared/errors.ts";
import { equalFile, LOOKED_AT_MAX, type Place, type Places } from "./adopt.ts";
import { type Block, Cutter, type Fill, fillFromFile } from "./chunker.ts";
import { type Disk, removeFolder } from "./disk.ts";
import { writeAt } from "./handles.ts";
import type { Room, Wish } from "./room.ts";
import { onDisk, type Tree } from "./trees.ts";

/** Room is made in steps of this, not file by file. */
const GRANT_BYTES = 1 << 20;
/** From this size on it is worth trying to share blocks with the original. */
const CLONE_FROM_BYTES = 1 << 20;

export type IntakeDeps = { disk: Disk; places: Places; room: Room; dir: string; wish: Wish };
type Equal = { donor: Tree; index: number };
/** `seen`: its bytes were verified as they were written. */
export type Kept = { equal: Equal | null; seen: boolean };

export class Intake {
  readonly wish: Wish;
  readonly #deps: IntakeDeps;
  readonly #cutter = new Cutter();
  readonly #kept = new Map<string, Kept & { at: string }>();
  #writtenBytes = 0;
  #grantedBytes = 0;
  #clones = true;

  constructor(deps: IntakeDeps) {
    this.#deps = deps;
    this.wish = deps.wish;
  }

  /**
   * Reads one file and keeps it. `original`: the file it is, whose blocks may be shared.
   * `onBytes` is told as it goes on, and may throw to end it.
   */
  async file(
    what: { path: string; mode: 0o644 | 0o755; fill: Fill; original: string | null },
    onBytes: (bytes: number) => void,
  ): Promise<ManifestFile> {
    const { disk, dir, places } = this.#deps;
    const { path, mode, original } = what;
    if (this.#kept.size === 0) await disk.mkdir(dir, { recursive: true });
    const at = join(dir, String(this.#kept.size));
    const cloned = original !== null && (await this.#clone(original, at));
    const chunks = cloned
      ? await this.#cutClone(at, onBytes)
      : await this.#copy(what.fill, mode, at, onBytes);
    const bytes = chunks.reduce((sum, c) => sum + c.bytes, 0);
    const described: ManifestFile = { path, mode, bytes, chunks };
    this.#kept.set(path, { at, ...(await this.#link(equalFile(described, places), at)) });
    return described;
  }

  /** Moves the files into a version's folder. */
  async handOver(tree: Tree): Promise<void> {
    for (const [index, { path, bytes }] of tree.manifest.files.entries()) {
      const kept = this.#kept.get(path);
      if (kept && bytes > 0) await tree.take(index, kept.at, kept);
    }
    await this.drop();
  }

  async drop(): Promise<void> {
    await removeFolder(this.#deps.disk, this.#deps.dir);
  }

  /** The original's blocks, shared, where the file system can. */
  async #clone(original: string, target: string): Promise<boolean> {
    const { disk } = this.#deps;
    if (!this.#clones) return false;
    const { size } = await disk.stat(original);
    if (size < CLONE_FROM_BYTES) return false;
    await this.#grant(size);
    try {
      await disk.copyFile(original, target, constants.COPYFILE_FICLONE_FORCE);
      return true;
    } catch {
      this.#clones = false; // another file system, or one that cannot: bytes are copied
      this.#writtenBytes -= onDisk(size);
      await disk.rm(target, { force: true });
      return false;
    }
  }

  async #cutClone(target: string, onBytes: (bytes: number) => void): Promise<Chunk[]> {
    const file = await this.#deps.disk.open(target, "r");
    try {
      const chunks: Chunk[] = [];
      for await (const block of this.#cutter.blocks(fillFromFile(file))) {
        for (const chunk of block.chunks) chunks.push(chunk);
        onBytes(block.data.length);
      }
      return chunks;
    } finally {
      await file.close();
    }
  }

  /** Cuts, and writes from where the file begins to differ from those that are here. */
  async #copy(fill: Fill, mode: number, target: string, onBytes: (bytes: number) => void) {
    const chunks: Chunk[] = [];
    const likeness = new Likeness(this.#deps.places, mode);
    let written: Promise<void> = Promise.resolve();
    let out: FileHandle | null = null;
    let at = 0;
    const begin = async (chunksAlike: number) => {
      const file = await this.#deps.disk.open(target, "w", 0o644);
      out = file;
      await this.#grant(at);
      await likeness.copyStart(file, chunksAlike);
      return file;
    };
    const write = async ({ chunks: more, data }: Block) => {
      await written;
      const before = chunks.length;
      for (const chunk of more) chunks.push(chunk);
      const file = out ?? (likeness.goesOn(chunks) ? null : await begin(before));
      if (file) {
        await this.#grant(data.length);
        written = writeAt(file, data, at);
        written.catch(() => null); // awaited with the next block
      }
      at += data.length;
      onBytes(data.length);
    };
    try {
      for await (const block of this.#cutter.blocks(fill)) await write(block);
      await written;
      if (!out && at > 0 && !likeness.whole(at)) await begin(chunks.length);
      return chunks;
    } finally {
      await written.catch(() => null); // thrown above
      await closeIfOpen(out);
    }
  }

  async #link(equal: Equal | null, target: string): Promise<Kept> {
    const from = equal?.donor.manifest.files[equal.index];
    if (!equal || !from) return { equal: null, seen: true };
    const { disk } = this.#deps;
    const path = join(equal.donor.root, from.path);
    await disk.rm(target, { force: true });
    try {
      await disk.link(path, target);
      return { equal, seen: false };
    } catch {
      await this.#grant(from.bytes); // too many links, or none on this file system
      await disk.copyFile(path, target, constants.COPYFILE_FICLONE);
      return { equal: null, seen: false };
    }
  }

  async #grant(bytes: number): Promise<void> {
    this.#writtenBytes += onDisk(bytes);
    if (this.#writtenBytes <= this.#grantedBytes) return;
    const aside = this.#grantedBytes;
    const lacking = Math.max(GRANT_BYTES, this.#writtenBytes - aside);
    await this.#deps.room.make(lacking, this.wish, { aside });
    this.#grantedBytes += lacking;
  }
}

function closeIfOpen(file: FileHandle | null): Promise<void> | undefined {
  return file?.close();
}

/** The files here that begin as what was read of a file so far. */
class Likeness {
  readonly #places: Places;
  readonly #mode: number;
  #starts: Place[] | null = null;
  /** Of those, one that was alike the longest. */
  #longest: Place | null = null;
  #compared = 0;

  constructor(places: Places, mode: number) {
    this.#places = places;
    this.#mode = mode;
  }

  goesOn(chunks: readonly Chunk[]): boolean {
    const from = this.#compared;
    this.#compared = chunks.length;
    this.#starts = (this.#starts ?? this.#begun(chunks[0]?.hash ?? "")).filter((start) =>
      chunks.slice(from).every((c, i) => fileAt(start)?.chunks[from + i]?.hash === c.hash),
    );
    this.#longest = this.#starts[0] ?? this.#longest;
    return this.#starts.length > 0;
  }

  whole(bytes: number): boolean {
    return this.#starts?.some((start) => fileAt(start)?.bytes === bytes) ?? false;
  }

  /** The first chunks, from the file here that has them. Throws CORRUPT when it has not. */
  async copyStart(to: FileHandle, chunks: number): Promise<void> {
    let at = 0;
    for (let i = 0; i < chunks; i++) {
      const bytes = await this.#longest?.tree.read(this.#longest.position + i);
      if (!bytes)
        throw new PrestageError("CORRUPT", "a version that is here is damaged", {
          details: { manifestHash: this.#longest?.tree.hash },
          remedy: "Publish it once more: what is damaged is not used again.",
        });
      await writeAt(to, bytes, at);
      at += bytes.length;
    }
  }

  #begun(hash: string): Place[] {
    return this.#places(hash)
      .slice(-LOOKED_AT_MAX)
      .filter(({ tree, position }) => {
        const begins = tree.active && tree.firstOf(tree.fileOf(position)) === position;
        return begins && fileAt({ tree, position })?.mode === this.#mode;
      });
  }
}

function fileAt({ tree, position }: Place): ManifestFile | undefined {
  return tree.manifest.files[tree.fileOf(position)];
}
