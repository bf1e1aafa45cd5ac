/**
 * One artifact version on disk. Its files are its chunks: a chunk is a range of a file, written
 * in place once it was verified, so nothing is stored twice and activation copies nothing. A file
 * that an older version has alike is one more link to that version's.
 *
 * What is held of a version being filled stands in its journal. `partial/HASH` becomes
 * `trees/HASH` by one rename, after every chunk was verified in this process and files and
 * folders were fsynced; from then on its files are read-only.
 *
 * Refused: a file per chunk plus a built tree (twice the disk, twice the writes).
 */
import { hash } from "node:crypto";
import { dirname, join } from "node:path";
import type { Manifest } from "../../../shared/domain.ts";
import { assert } from "../../../shared/runtime/assert.ts";
import { Bitmap } from "../transfer/bitmap.ts";
import { codeOf, type Disk, everyLimit, ignoreMissing, removeFolder, syncPath } from "./disk.ts";
import { type FileHandles, readAt, writeAt } from "./handles.ts";
import { Journal } from "./journal.ts";

/** Written and not synced: what is hashed again after a kill, and lost at most by a power cut. */
const FLUSH_BYTES = 32 << 20;
/** So much is noted as begun at once. Raised: fewer notes, and more to look at after a kill. */
const BEGUN_BYTES = 2 << 20;
/** From more files and folders on, the file system is synced as a whole. */
const SYNCED_SINGLY_MAX = 64;
const BLOCK_BYTES = 4096;
const FOLDER_SEALED = 0o555;

/** Where to read to. */
export type Memory = (bytes: number) => Uint8Array;
export type TreeDeps = { disk: Disk; handles: FileHandles; journalPath: string };

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
  /** Files that share their blocks with other versions here, by inode: bytes on disk. */
  readonly shared = new Map<number, number>();
  /** Bytes on disk, as the file system rounds them, of the files that are only this version's. */
  ownBytes: number;
  readonly #fileOf: Uint32Array;
  readonly #offsetOf: Float64Array;
  readonly #firstOf: Uint32Array;
  /** Positions whose bytes on disk this process has seen to be right. */
  readonly #verified: Bitmap;
  /** Positions the journal of this process says are written now, or soon. */
  readonly #begun: Bitmap;
  #beginning: Promise<void> = Promise.resolve();
  readonly #disk: Disk;
  readonly #handles: FileHandles;
  readonly #journal: Journal;
  /** Files whose blocks other versions share: complete, synced and read-only. */
  readonly #linked = new Set<number>();
  /** Files whose entry in their folder was made, and will be synced. */
  readonly #entered = new Set<number>();
  readonly #made = new Map<string, Promise<unknown>>();
  #unsyncedFolders = new Set<string>();
  #dirty: number[] = [];
  #dirtyBytes = 0;
  #losses: number[] = [];
  #flushing: Promise<void> = Promise.resolve();
  /** Makes durable that this version is here; null once it was done. */
  #found: (() => Promise<void>) | null = null;
  /** Its way into place, while it is on it. */
  #moving: Promise<unknown> = Promise.resolve();

  constructor(
    version: { hash: string; manifest: Manifest; root: string; placed: boolean },
    deps: TreeDeps,
  ) {
    this.hash = version.hash;
    this.manifest = version.manifest;
    this.root = version.root;
    this.placed = version.placed;
    this.#disk = deps.disk;
    this.#handles = deps.handles;
    this.#journal = new Journal(deps, deps.journalPath, version.hash);
    const { files } = version.manifest;
    this.chunks = files.flatMap((f) => f.chunks);
    this.have = new Bitmap(this.chunks.length);
    this.#verified = new Bitmap(this.chunks.length);
    this.#begun = new Bitmap(this.chunks.length);
    this.#fileOf = new Uint32Array(this.chunks.length);
    this.#offsetOf = new Float64Array(this.chunks.length);
    this.#firstOf = new Uint32Array(files.length);
    this.ownBytes = 0;
    let position = 0;
    files.forEach((file, index) => {
      this.ownBytes += onDisk(file.bytes);
      this.#firstOf[index] = position;
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
    const file = this.manifest.files[this.fileOf(position)];
    const chunk = this.chunks[position];
    assert(file && chunk, "the position is one of the manifest's");
    return { path: file.path, offset: this.#offsetOf[position] ?? 0, bytes: chunk.bytes };
  }

  fileOf(position: number): number {
    return this.#fileOf[position] ?? -1;
  }

  /** The position of a file's first chunk. */
  firstOf(file: number): number {
    return this.#firstOf[file] ?? 0;
  }

  /** Whether this process saw the bytes of a position to be right. */
  verified(position: number): boolean {
    return this.#verified.has(position);
  }

  /** Takes over what an earlier process wrote here. */
  async recover(): Promise<void> {
    if (this.placed) {
      for (let i = 0; i < this.chunks.length; i++) this.#mark(i);
      return;
    }
    const { durable, written, begun } = await this.#journal.load();
    for (const position of [...durable, ...written]) this.#mark(position);
    const neverCame: number[] = [];
    await everyLimit([...written, ...begun], 4, async (position) => {
      const here = await this.#holds(position);
      if (here) this.#dirtied(position);
      if (here && this.#mark(position)) this.#journal.written([position]);
      if (!here && begun.has(position)) neverCame.push(position);
      return true;
    });
    // Else each start would look at them. A disk that is full takes no note and ends no start.
    if (neverCame.length > 0) await this.#journal.lost(neverCame).catch(() => null);
  }

  /**
   * Compares the files with the manifest, by size: what is not there is not held. Learns which of
   * them other versions share.
   */
  async survey(): Promise<void> {
    await everyLimit(this.manifest.files.entries(), 8, async ([index, file]) => {
      const path = join(this.root, file.path);
      const found = await this.#disk.stat(path).catch(ignoreMissing);
      if (found && found.nlink > 1) this.#share(index, found.ino);
      if (this.placed && found?.size !== file.bytes)
        for (const position of this.#positions(index)) this.lose(position);
      return true;
    });
  }

  /** Makes a file here one more link to another version's equal file. False: not possible. */
  async link(index: number, donor: Tree, donorIndex: number): Promise<boolean> {
    const from = donor.manifest.files[donorIndex];
    assert(from && donor.placed, "files are shared with versions that are in place");
    const path = await this.#pathFor(index);
    try {
      await this.#disk.rm(path, { force: true });
      await this.#disk.link(join(donor.root, from.path), path);
    } catch {
      return false; // too many links, or a file system without them: it is copied
    }
    const { ino } = await this.#disk.stat(path);
    this.#share(index, ino);
    donor.#share(donorIndex, ino);
    const offset = donor.firstOf(donorIndex) - this.firstOf(index);
    const positions = this.#positions(index);
    for (const position of positions) this.#dirtied(position);
    this.#journal.written(positions);
    for (const position of positions) {
      if (donor.#verified.has(position + offset)) this.#verified.set(position);
      this.#mark(position);
    }
    return true;
  }

  /** Takes over a whole file that was made aside: written, or a link to another version's. */
  async take(
    index: number,
    from: string,
    { equal, seen }: { equal: { donor: Tree; index: number } | null; seen: boolean },
  ): Promise<void> {
    const path = await this.#pathFor(index);
    await this.#disk.rename(from, path);
    if (equal) {
      const { ino } = await this.#disk.stat(path);
      this.#share(index, ino);
      equal.donor.#share(equal.index, ino);
    }
    const offset = equal ? equal.donor.firstOf(equal.index) - this.firstOf(index) : 0;
    for (const position of this.#positions(index)) {
      if (seen || equal?.donor.verified(position + offset)) this.#verified.set(position);
      this.#dirtied(position);
      this.#mark(position);
    }
  }

  /** The version stands in the store's folders; `synced` is called before any of it is relied on. */
  founded(synced: () => Promise<void>): void {
    this.#found = synced;
  }

  /** Writes verified bytes. True when the position was not held before. */
  async write(position: number, bytes: Uint8Array): Promise<boolean> {
    const index = this.fileOf(position);
    const { offset } = this.range(position);
    const path = await this.#pathFor(index);
    if (this.placed || this.#linked.has(index))
      await this.#disk.chmod(path, 0o644).catch(ignoreMissing);
    await this.#begin(position);
    await this.#handles.use(path, "write", (file) => writeAt(file, bytes, offset));
    this.#dirtied(position);
    await this.#noteLosses();
    if (!this.placed) this.#journal.written([position]);
    this.#verified.set(position);
    const fresh = this.#mark(position);
    if (this.#dirtyBytes >= FLUSH_BYTES) await this.flush();
    return fresh;
  }

  /** The bytes, or null when they are not what the manifest says: the position is then lost. */
  async read(
    position: number,
    memory: Memory = Buffer.allocUnsafeSlow,
  ): Promise<Uint8Array | null> {
    const { path, offset, bytes } = this.range(position);
    const buffer = memory(bytes);
    const { root } = this;
    let got: number;
    try {
      const from = join(root, path);
      got = await this.#handles.use(from, "read", (file) => readAt(file, buffer, offset));
    } catch (cause) {
      await this.#moving;
      if (this.root !== root) return this.read(position, memory); // it was moved into place meanwhile
      if (codeOf(cause) !== "EIO") throw cause;
      got = 0; // what the disk cannot read is as good as wrong: it is fetched and written anew
    }
    if (got === bytes && hash("sha256", buffer, "hex") === this.chunks[position]?.hash) {
      this.#verified.set(position);
      return buffer;
    }
    this.lose(position);
    return null;
  }

  lose(position: number): void {
    this.#verified.clear(position);
    if (!this.have.clear(position)) return;
    this.#begun.clear(position);
    this.bytesHave -= this.chunks[position]?.bytes ?? 0;
    this.#losses.push(position);
  }

  /**
   * Moves the whole, verified tree to `place`. False when a range turned out wrong: it is lost and
   * has to be fetched again.
   */
  async activate(place: string): Promise<boolean> {
    const unseen = Array.from(this.chunks.keys()).filter((i) => !this.#verified.has(i));
    await everyLimit(unseen, 2, async (i) => (await this.#holds(i)) || true);
    if (!this.have.complete) return false;
    await this.#seal();
    await this.flush();
    if (this.placed) return true;
    await this.#handles.closeUnder(this.root);
    const before = this.root;
    const moved = this.#disk.rename(before, place).then(() => {
      this.root = place;
      this.placed = true;
    });
    this.#moving = moved.catch(() => null); // `activate` throws it
    await moved;
    await syncPath(this.#disk, dirname(place));
    await syncPath(this.#disk, dirname(before));
    await this.#handles.closeUnder(before); // opened by a reader in between
    for (const folder of [...this.#folders(), ""])
      await this.#disk.chmod(join(place, folder), FOLDER_SEALED);
    await this.#journal.remove();
    return true;
  }

  /** Puts what was written on the disk. What the disk then refuses is lost. */
  flush(): Promise<void> {
    this.#flushing = this.#flushing
      .catch(() => null) // whoever flushed then has the error
      .then(() => this.#flush());
    return this.#flushing;
  }

  /** Synced, and no file of it is open. */
  async close(): Promise<void> {
    await this.flush();
    await this.#handles.closeUnder(this.root);
  }

  /** Out of sight at `trash` first, then away. */
  async remove(trash: string): Promise<void> {
    await this.#flushing.catch(() => null); // it goes away anyhow
    await removeFolder(this.#disk, trash);
    await this.#disk.chmod(this.root, 0o755).catch(ignoreMissing);
    await this.#disk.rename(this.root, trash).catch(ignoreMissing);
    await this.#handles.closeUnder(this.root);
    await this.#journal.remove();
    await removeFolder(this.#disk, trash);
  }

  async #flush(): Promise<void> {
    await this.#journal.commit();
    const { count } = this.#journal;
    const dirty = this.#dirty;
    const folders = this.#unsyncedFolders;
    this.#dirty = [];
    this.#dirtyBytes = 0;
    this.#unsyncedFolders = new Set();
    try {
      await this.#found?.();
      this.#found = null;
      const files = new Set(dirty.map((position) => this.fileOf(position)));
      const many = files.size + folders.size > SYNCED_SINGLY_MAX;
      if (!many || !(await this.#disk.syncAll(this.root))) {
        await everyLimit(files, 8, (index) => this.#syncFile(index));
        await everyLimit(folders, 8, (folder) => this.#syncFolder(folder));
      }
      await this.#noteLosses();
      if (!this.placed && dirty.length > 0) await this.#journal.durable(count);
    } catch (cause) {
      for (const folder of folders) this.#unsyncedFolders.add(folder);
      for (const position of dirty) this.lose(position);
      throw cause;
    }
  }

  async #syncFile(index: number): Promise<boolean> {
    const path = join(this.root, this.manifest.files[index]?.path ?? "");
    await this.#handles.use(path, "read", (file) => file.datasync());
    return true;
  }

  async #syncFolder(folder: string): Promise<boolean> {
    await syncPath(this.#disk, join(this.root, folder));
    return true;
  }

  async #noteLosses(): Promise<void> {
    if (this.#losses.length === 0) return;
    const losses = this.#losses;
    this.#losses = [];
    if (!this.placed) await this.#journal.lost(losses);
  }

  /** Files as workloads see them: of the manifest's mode, without the right to write. */
  async #seal(): Promise<void> {
    const dirty = new Set(this.#dirty.map((position) => this.fileOf(position)));
    await everyLimit(this.manifest.files.entries(), 8, async ([index, file]) => {
      if (this.placed ? !dirty.has(index) : this.#linked.has(index) && !dirty.has(index))
        return true;
      const path = await this.#pathFor(index);
      if (file.bytes === 0) await this.#handles.use(path, "write", async () => {});
      this.#enter(index);
      await this.#disk.chmod(path, file.mode === 0o755 ? 0o555 : 0o444);
      return true;
    });
  }

  /** Notes that a position is about to be written, and what of its file is likely to follow. */
  async #begin(position: number): Promise<void> {
    if (this.placed) return;
    if (!this.#begun.has(position)) {
      const file = this.fileOf(position);
      const run: number[] = [];
      let bytes = 0;
      for (let i = position; bytes < BEGUN_BYTES && this.fileOf(i) === file; i++) {
        bytes += this.chunks[i]?.bytes ?? 0;
        if (!this.have.has(i) && this.#begun.set(i)) run.push(i);
      }
      this.#beginning = this.#journal.begun(run);
      this.#beginning.catch(() => {
        for (const i of run) this.#begun.clear(i);
      });
    }
    await this.#beginning;
  }

  async #holds(position: number): Promise<boolean> {
    const read = await this.read(position).catch(ignoreMissing);
    if (read === null) this.lose(position);
    return read !== null;
  }

  #mark(position: number): boolean {
    if (!this.have.set(position)) return false;
    this.bytesHave += this.chunks[position]?.bytes ?? 0;
    return true;
  }

  #dirtied(position: number): void {
    this.#enter(this.fileOf(position));
    this.#dirty.push(position);
    this.#dirtyBytes += this.chunks[position]?.bytes ?? 0;
  }

  /** A file is there now: the next flush makes its name durable. */
  #enter(index: number): void {
    if (this.#entered.has(index)) return;
    this.#entered.add(index);
    const folder = folderOf(this.manifest.files[index]?.path ?? "");
    for (const above of [...ancestors(folder), folder]) this.#unsyncedFolders.add(above);
  }

  #share(index: number, ino: number): void {
    if (this.#linked.has(index)) return;
    this.#linked.add(index);
    const bytes = onDisk(this.manifest.files[index]?.bytes ?? 0);
    this.ownBytes -= bytes;
    this.shared.set(ino, bytes);
  }

  #positions(index: number): number[] {
    const first = this.firstOf(index);
    return (this.manifest.files[index]?.chunks ?? []).map((_, i) => first + i);
  }

  /** The file's path, once its folder is there. */
  async #pathFor(index: number): Promise<string> {
    const { path } = this.manifest.files[index] ?? { path: "" };
    const full = join(this.root, path);
    const folder = folderOf(path);
    const known = this.#made.get(folder);
    const made = known ?? this.#disk.mkdir(join(this.root, folder), { recursive: true });
    this.#made.set(folder, made);
    try {
      await made;
    } catch (cause) {
      this.#made.delete(folder);
      throw cause;
    }
    return full;
  }

  /** Every folder under the root that the files need, innermost first. */
  #folders(): string[] {
    const folders = new Set<string>();
    for (const { path } of this.manifest.files)
      for (const folder of ancestors(path)) if (folder !== "") folders.add(folder);
    return [...folders].sort().reverse();
  }
}

/** Bytes a file takes, as most file systems round them. */
export function onDisk(bytes: number): number {
  return Math.ceil(bytes / BLOCK_BYTES) * BLOCK_BYTES;
}

function folderOf(path: string): string {
  return path.slice(0, Math.max(path.lastIndexOf("/"), 0));
}

/** The folders above a relative path, the root (as "") included. */
function ancestors(path: string): string[] {
  const above = [""];
  for (let at = path.indexOf("/"); at !== -1; at = path.indexOf("/", at + 1))
    above.push(path.slice(0, at));
  return above;
}
