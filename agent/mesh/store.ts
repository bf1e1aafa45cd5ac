/**
 * The artifact versions of this host: `manifests/HASH.json`, and the files of each in
 * `partial/HASH` (being filled) or `trees/HASH` (activated). Knows where every chunk lies, keeps
 * the quota by dropping whole versions nobody needs, the least recently used first.
 */
import { hash as digest } from "node:crypto";
import {
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  rename,
  rm,
  statfs,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { type Manifest, SignedManifest } from "../../shared/domain.ts";
import { PrestageError } from "../../shared/errors.ts";
import { verifyManifest } from "../../shared/manifest.ts";
import type { Clock } from "../../shared/runtime/clock.ts";
import type { Log } from "../../shared/runtime/log.ts";
import { FileHandles } from "./handles.ts";
import { ignoreMissing, syncFolder, Tree } from "./trees.ts";

const FREE_BYTES_MIN = 64 << 20;
const HASH = /^[0-9a-f]{64}$/;

const Meta = z.object({
  /** Bytes fetched ahead of need; they count as wasted if the version goes unused. */
  stagedBytes: z.number().min(0),
  used: z.boolean(),
  lastUsedMs: z.number(),
});
type Meta = z.infer<typeof Meta>;
type Place = { tree: Tree; position: number };

export type StoreDeps = {
  clock: Clock;
  log: Log;
  /** Whether a version may not be evicted now. */
  isProtected: (manifestHash: string) => boolean;
};

export class Store {
  readonly #deps: StoreDeps;
  readonly #dir: string;
  readonly #quotaBytes: number;
  readonly #handles = new FileHandles({ capacity: 48 });
  readonly #trees = new Map<string, Tree>();
  readonly #meta = new Map<string, Meta>();
  readonly #places = new Map<string, Place[]>();
  #adding: Promise<unknown> = Promise.resolve();
  wastedBytes = 0;
  corruptChunks = 0;

  constructor(deps: StoreDeps, options: { dir: string; quotaBytes: number }) {
    this.#deps = deps;
    this.#dir = options.dir;
    this.#quotaBytes = options.quotaBytes;
  }

  /** Makes the folders and takes over what an earlier process left. Call once, first. */
  async open(): Promise<void> {
    await rm(join(this.#dir, "trash"), { recursive: true, force: true });
    for (const folder of ["manifests", "partial", "trees", "meta", "trash"])
      await mkdir(join(this.#dir, folder), { recursive: true });
    for (const name of await readdir(join(this.#dir, "manifests"))) await this.#recover(name);
    for (const folder of ["partial", "trees"])
      for (const name of await readdir(join(this.#dir, folder)))
        if (this.#trees.get(name)?.root !== this.#path(folder, name))
          await rm(this.#path(folder, name), { recursive: true, force: true });
  }

  async close(): Promise<void> {
    await this.#adding.catch(() => null); // its caller has the error
    for (const tree of this.#trees.values()) await tree.close();
    await this.#handles.close();
  }

  get usedBytes(): number {
    let sum = 0;
    for (const tree of this.#trees.values()) sum += tree.manifest.bytes;
    return sum;
  }

  /** Bytes staged ahead of need of versions nobody has used yet. */
  get unusedBytes(): number {
    let sum = 0;
    for (const meta of this.#meta.values()) if (!meta.used) sum += meta.stagedBytes;
    return sum;
  }

  get(manifestHash: string): Tree | undefined {
    return this.#trees.get(manifestHash);
  }

  all(): Iterable<Tree> {
    return this.#trees.values();
  }

  /** A new, empty folder for files on their way in; what is left in it goes at the next start. */
  incoming(): Promise<string> {
    return mkdtemp(this.#path("trash", "incoming-"));
  }

  get quotaBytes(): number {
    return this.#quotaBytes;
  }

  /** Room and files for a version. Throws DISK_FULL when unneeded ones do not make the room. */
  add(signed: SignedManifest, manifest: Manifest): Promise<Tree> {
    const result = this.#adding
      .catch(() => null) // an earlier caller's error, which that one has got
      .then(() => this.#add(signed, manifest));
    this.#adding = result;
    return result;
  }

  /** Copies the chunks that other versions here hold already. Returns how many bytes. */
  async adopt(tree: Tree): Promise<number> {
    let bytes = 0;
    for (let position = 0; position < tree.chunks.length; position++) {
      const chunk = tree.chunks[position];
      if (!chunk || tree.have.has(position) || !this.hasChunk(chunk.hash)) continue;
      const data = await this.readChunk(chunk.hash);
      if (data && (await tree.write(position, data))) bytes += chunk.bytes;
    }
    return bytes;
  }

  hasChunk(hash: string): boolean {
    return this.#places.get(hash)?.some((p) => p.tree.have.has(p.position)) ?? false;
  }

  /** The chunk, verified as it is read; null when no version here (any more) holds it. */
  async readChunk(hash: string): Promise<Uint8Array | null> {
    for (const { tree, position } of this.#places.get(hash) ?? []) {
      if (!tree.have.has(position)) continue;
      const bytes = await tree.read(position).catch(ignoreMissing);
      if (bytes) return bytes;
      tree.lose(position);
      this.corruptChunks++;
      this.#deps.log.warn({ manifestHash: tree.hash, position }, "chunk on disk is corrupt");
    }
    return null;
  }

  /** Writes a verified chunk to every version that lacks it; says whether any did. */
  async writeChunk(hash: string, bytes: Uint8Array): Promise<"new" | "held" | "nowhere"> {
    const places = this.#places.get(hash) ?? [];
    let result: "new" | "held" | "nowhere" = places.length > 0 ? "held" : "nowhere";
    for (const { tree, position } of places)
      if (!tree.have.has(position) && (await tree.write(position, bytes))) result = "new";
    return result;
  }

  /** False when the disk did not hold what it should: fetch what is missing and try again. */
  async activate(tree: Tree): Promise<boolean> {
    const before = tree.have.count;
    const done = await tree.activate(this.#path("trees", tree.hash));
    if (!done) this.corruptChunks += before - tree.have.count;
    return done;
  }

  async signedManifest(manifestHash: string): Promise<SignedManifest | null> {
    if (!this.#trees.has(manifestHash)) return null;
    const text = await readFile(this.#manifestPath(manifestHash), "utf8").catch(ignoreMissing);
    return text === null ? null : SignedManifest.parse(JSON.parse(text));
  }

  /** Counts a chunk that was fetched ahead of need, for the newest version it is of. */
  noteStaged(chunkHash: string, bytes: number): void {
    const tree = this.#places.get(chunkHash)?.at(-1)?.tree;
    const meta = tree && this.#meta.get(tree.hash);
    if (meta) meta.stagedBytes += bytes;
  }

  async noteUsed(manifestHash: string): Promise<void> {
    const meta = this.#meta.get(manifestHash);
    const nowMs = this.#deps.clock.now();
    if (!meta || (meta.used && nowMs - meta.lastUsedMs < 10_000)) return;
    meta.used = true;
    meta.lastUsedMs = nowMs;
    await this.saveMeta(manifestHash);
  }

  async saveMeta(manifestHash: string): Promise<void> {
    const meta = this.#meta.get(manifestHash);
    if (meta) await writeFile(this.#path("meta", `${manifestHash}.json`), JSON.stringify(meta));
  }

  /** Drops a version; what was staged of it and never used counts as wasted. */
  async remove(tree: Tree): Promise<void> {
    const meta = this.#meta.get(tree.hash);
    if (meta && !meta.used) this.wastedBytes += meta.stagedBytes;
    this.#trees.delete(tree.hash);
    this.#meta.delete(tree.hash);
    for (const hash of new Set(tree.chunks.map((c) => c.hash))) {
      const rest = (this.#places.get(hash) ?? []).filter((p) => p.tree !== tree);
      if (rest.length > 0) this.#places.set(hash, rest);
      else this.#places.delete(hash);
    }
    await tree.close();
    const trash = this.#path("trash", tree.hash);
    await rm(trash, { recursive: true, force: true });
    await rename(tree.root, trash);
    await tree.close(); // opened by a reader in between
    await rm(this.#manifestPath(tree.hash), { force: true });
    await rm(this.#path("meta", `${tree.hash}.json`), { force: true });
    await rm(trash, { recursive: true, force: true });
  }

  async #add(signed: SignedManifest, manifest: Manifest): Promise<Tree> {
    const known = this.#trees.get(signed.hash);
    if (known) return known;
    await this.#makeRoom(manifest.bytes);
    const root = this.#path("partial", signed.hash);
    const tree = new Tree({ hash: signed.hash, manifest, root, placed: false }, this.#handles);
    await writeDurably(this.#manifestPath(signed.hash), JSON.stringify(signed));
    await tree.create();
    await syncFolder(this.#path("partial"));
    this.#meta.set(tree.hash, newMeta(this.#deps.clock));
    this.#register(tree);
    return tree;
  }

  async #makeRoom(bytes: number): Promise<void> {
    const evictable = [...this.#trees.values()]
      .filter((t) => !this.#deps.isProtected(t.hash))
      .sort((a, b) => this.#lastUsedMs(a) - this.#lastUsedMs(b));
    const evictableBytes = evictable.reduce((sum, t) => sum + t.manifest.bytes, 0);
    const details = { bytes, usedBytes: this.usedBytes, quotaBytes: this.#quotaBytes };
    if (this.usedBytes - evictableBytes + bytes > this.#quotaBytes)
      throw new PrestageError("DISK_FULL", "the store's quota is used by versions in use", {
        details,
      });
    for (const tree of evictable) {
      const fits = this.usedBytes + bytes <= this.#quotaBytes;
      if (fits && (await this.#diskFree()) >= bytes) return;
      this.#deps.log.info({ manifestHash: tree.hash }, "version evicted");
      await this.remove(tree);
    }
    if ((await this.#diskFree()) < bytes)
      throw new PrestageError("DISK_FULL", "the disk has too little free space", { details });
  }

  /** Free bytes beyond the reserve and what partial versions here will still take. */
  async #diskFree(): Promise<number> {
    const disk = await statfs(this.#dir);
    let promised = FREE_BYTES_MIN;
    for (const tree of this.#trees.values()) promised += tree.manifest.bytes - tree.bytesHave;
    return disk.bavail * disk.bsize - promised;
  }

  #lastUsedMs(tree: Tree): number {
    return this.#meta.get(tree.hash)?.lastUsedMs ?? 0;
  }

  async #recover(name: string): Promise<void> {
    const manifestHash = name.replace(/\.json$/, "");
    const text = await readFile(join(this.#dir, "manifests", name), "utf8");
    const manifest = HASH.test(manifestHash) ? readManifest(text, manifestHash) : null;
    const found = manifest && (await this.#findFiles(manifestHash, manifest));
    if (!found) {
      this.#deps.log.info({ name }, "left-over manifest dropped");
      await rm(join(this.#dir, "manifests", name), { force: true });
      return;
    }
    const path = this.#path("meta", `${manifestHash}.json`);
    const meta = await readFile(path, "utf8").catch(ignoreMissing);
    this.#meta.set(manifestHash, parseMeta(meta) ?? newMeta(this.#deps.clock));
    this.#register(found);
  }

  async #findFiles(hash: string, manifest: Manifest): Promise<Tree | null> {
    const version = { hash, manifest };
    const [partials, placed] = await Promise.all(
      ["partial", "trees"].map((folder) => readdir(join(this.#dir, folder))),
    );
    if (placed?.includes(hash)) {
      const root = this.#path("trees", hash);
      const tree = new Tree({ ...version, root, placed: true }, this.#handles);
      if (await tree.trustSizes()) tree.markAll();
      else {
        await tree.create();
        await tree.recheck();
      }
      return tree;
    }
    if (!partials?.includes(hash)) return null;
    const root = this.#path("partial", hash);
    const tree = new Tree({ ...version, root, placed: false }, this.#handles);
    await tree.create();
    await tree.recheck();
    return tree;
  }

  #register(tree: Tree): void {
    this.#trees.set(tree.hash, tree);
    tree.chunks.forEach((chunk, position) => {
      const places = this.#places.get(chunk.hash);
      if (places) places.push({ tree, position });
      else this.#places.set(chunk.hash, [{ tree, position }]);
    });
  }

  #path(folder: string, name = ""): string {
    return join(this.#dir, folder, name);
  }

  #manifestPath(manifestHash: string): string {
    return this.#path("manifests", `${manifestHash}.json`);
  }
}

function newMeta(clock: Clock): Meta {
  return { stagedBytes: 0, used: false, lastUsedMs: clock.now() };
}

/** Meta is a hint that is not fsynced: a torn one counts as none. */
function parseMeta(text: string | null): Meta | null {
  if (text === null) return null;
  try {
    return Meta.parse(JSON.parse(text));
  } catch {
    return null;
  }
}

function readManifest(text: string, manifestHash: string): Manifest | null {
  try {
    return verifyManifest(SignedManifest.parse(JSON.parse(text)), manifestHash);
  } catch {
    return null; // torn or foreign: the caller drops it and says so
  }
}

async function writeDurably(path: string, text: string): Promise<void> {
  const temporary = `${path}.${digest("sha256", text, "hex").slice(0, 8)}.tmp`;
  const file = await open(temporary, "w", 0o644);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
  await syncFolder(join(path, ".."));
}
