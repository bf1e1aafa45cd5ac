/**
 * The artifact versions of this host: `manifests/HASH.json`, and the files of each in
 * `partial/HASH` (being filled, with what is held in `state/HASH`) or `trees/HASH` (activated).
 * Knows where every chunk lies, keeps the quota by dropping whole versions nobody needs, those of
 * the least worth first.
 */
import { join } from "node:path";
import { type Manifest, SignedManifest } from "../../../shared/domain.ts";
import type { Clock } from "../../../shared/runtime/clock.ts";
import type { Log } from "../../../shared/runtime/log.ts";
import { copyEqual, linkEqual, type Place } from "./adopt.ts";
import {
  type Disk,
  diskError,
  ignoreMissing,
  removeFolder,
  syncPath,
  writeDurably,
  writeQuickly,
} from "./disk.ts";
import { FileHandles } from "./handles.ts";
import { Intake } from "./intake.ts";
import { type Meta, newMeta } from "./meta.ts";
import { type Novelty, noveltyOf } from "./novelty.ts";
import { Room, type Wish } from "./room.ts";
import { takeOver } from "./take-over.ts";
import { Trash } from "./trash.ts";
import { type Memory, Tree } from "./trees.ts";
import { countUse, type Elsewhere } from "./worth.ts";

const PROBE_BYTES = 64 << 10;
/** A version that workloads use all the time is not written down each time. */
const NOTED_AGAIN_MS = 10_000;

export type StoreDeps = {
  clock: Clock;
  log: Log;
  disk: Disk;
  /** Whether a version may not be evicted now. */
  isProtected: (manifestHash: string) => boolean;
  /** Whether a peer that could be asked has a version. */
  isWithPeers: (manifestHash: string) => boolean;
};

export type StoreOptions = { dir: string; quotaBytes: number; reserveRatio: number };

export class Store {
  readonly room: Room;
  readonly dir: string;
  readonly #deps: StoreDeps;
  readonly #handles: FileHandles;
  readonly #trash: Trash;
  readonly #trees = new Map<string, Tree>();
  readonly #meta = new Map<string, Meta>();
  readonly #places = new Map<string, Place[]>();
  #surveyed: Promise<void> = Promise.resolve();
  #adding: Promise<unknown> = Promise.resolve();
  #intakes = 0;
  /** The disk refused something since the last probe. */
  #faulted = false;
  wastedBytes = 0;
  corruptChunks = 0;

  constructor(deps: StoreDeps, options: StoreOptions) {
    this.#deps = deps;
    this.dir = options.dir;
    this.#trash = new Trash(deps.disk, join(options.dir, "trash"));
    this.#handles = new FileHandles(deps.disk, { capacity: 48 });
    this.room = new Room(
      {
        disk: deps.disk,
        clock: deps.clock,
        trees: () => this.#trees.values(),
        isProtected: (tree) => deps.isProtected(tree.hash),
        candidate: (tree, freedBytes) => {
          const { usage, priority } = this.#meta.get(tree.hash) ?? newMeta(deps.clock.now(), 0);
          return { usage, priority, elsewhere: this.#elsewhere(tree), freedBytes };
        },
        remove: (tree) => {
          deps.log.info({ manifestHash: tree.hash }, "version evicted");
          return this.remove(tree);
        },
      },
      options,
    );
  }

  /**
   * Makes the folders and takes over what an earlier process left. Call once, first. Throws
   * DISK_FULL when the disk fails.
   */
  async open(): Promise<void> {
    const { disk, log, clock } = this.#deps;
    const tree = (hash: string, manifest: Manifest, placed: boolean) =>
      this.#tree(hash, manifest, placed);
    try {
      const found = await takeOver(this.dir, { disk, log, clock, trash: this.#trash, tree });
      for (const { tree: one, meta } of found) {
        this.#meta.set(one.hash, meta);
        this.#register(one);
      }
    } catch (cause) {
      throw this.#fault(cause);
    }
    this.#surveyed = this.#survey();
  }

  async close(): Promise<void> {
    await this.#surveyed;
    await this.#adding.catch(() => null); // its caller has the error
    for (const tree of this.#trees.values())
      await tree.close().catch((cause: unknown) => {
        this.#deps.log.warn({ cause, manifestHash: tree.hash }, "not synced at the end");
      });
    await this.#handles.close();
  }

  /** Bytes on disk; files that versions share count once, partial versions as if whole. */
  get usedBytes(): number {
    return this.room.usedBytes();
  }

  /** Bytes of all versions, as if each had its files for itself. */
  get logicalBytes(): number {
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

  /** The version of one of these names that came here last and is whole; null: none. */
  newest(names: readonly string[], but: Tree | null = null): Tree | null {
    const of = [...this.#trees.values()].filter((t) => t.active && t !== but);
    return of.findLast((tree) => names.includes(tree.manifest.name)) ?? null;
  }

  /** How much of a version no other here has. */
  novelty(manifest: Manifest, manifestHash: string): Novelty {
    return noveltyOf(manifest, manifestHash, (hash) => this.#places.get(hash) ?? []);
  }

  /** Every chunk that is held, once, with the size; for whoever reads the whole store again. */
  *heldChunks(): Generator<{ hash: string; bytes: number }> {
    for (const [hash, places] of this.#places) {
      const place = places.find((p) => p.tree.have.has(p.position));
      if (place) yield { hash, bytes: place.tree.chunks[place.position]?.bytes ?? 0 };
    }
  }

  /**
   * Room and files for a version, with the files that others here have alike. Throws DISK_FULL
   * when unneeded ones do not make the room.
   */
  add(signed: SignedManifest, manifest: Manifest, wish: Wish): Promise<Tree> {
    const result = this.#adding
      .catch(() => null) // an earlier caller's error, which that one has got
      .then(() => this.#surveyed)
      .then(() => this.#add(signed, manifest, wish));
    this.#adding = result;
    return result;
  }

  /** For a version whose files are known when they were read; see `place`. */
  intake(wish: Wish): Intake {
    const { disk } = this.#deps;
    const places = (hash: string) => this.#places.get(hash) ?? [];
    const dir = this.#path("intake", String(this.#intakes++));
    return new Intake({ disk, places, room: this.room, dir, wish });
  }

  /** A version from what was taken in. It is not activated yet. */
  place(signed: SignedManifest, manifest: Manifest, intake: Intake): Promise<Tree> {
    const result = this.#adding
      .catch(() => null) // an earlier caller's error, which that one has got
      .then(() => this.#place(signed, manifest, intake));
    this.#adding = result;
    return result;
  }

  /** Takes what other versions here hold of it already. Returns how many bytes. */
  async adopt(tree: Tree): Promise<number> {
    try {
      const linked = await linkEqual(tree, (hash) => this.#places.get(hash) ?? []);
      const copied = await copyEqual(
        tree,
        (hash) => this.readChunk(hash),
        (hash) => this.hasChunk(hash),
      );
      return linked + copied;
    } catch (cause) {
      throw this.#fault(cause);
    }
  }

  hasChunk(hash: string): boolean {
    return this.#places.get(hash)?.some((p) => p.tree.have.has(p.position)) ?? false;
  }

  /** The chunk, verified as it is read; null when no version here (any more) holds it. */
  async readChunk(hash: string, memory?: Memory): Promise<Uint8Array | null> {
    for (const { tree, position } of this.#places.get(hash) ?? []) {
      if (!tree.have.has(position)) continue;
      const bytes = await tree.read(position, memory).catch(ignoreMissing);
      if (bytes) return bytes;
      if (this.#trees.get(tree.hash) !== tree) continue; // dropped meanwhile
      tree.lose(position);
      this.corruptChunks++;
      this.#deps.log.warn({ manifestHash: tree.hash, position }, "chunk on disk is corrupt");
    }
    return null;
  }

  /**
   * Writes a verified chunk to every version that lacks it; says whether any did. Throws DISK_FULL
   * when the disk does not take it.
   */
  async writeChunk(
    hash: string,
    bytes: Uint8Array,
    wish: { foreground: boolean },
  ): Promise<"new" | "held" | "nowhere"> {
    const places = this.#places.get(hash) ?? [];
    let result: "new" | "held" | "nowhere" = places.length > 0 ? "held" : "nowhere";
    try {
      for (const { tree, position } of places) {
        if (tree.have.has(position)) continue;
        await this.room.check(wish);
        if (await tree.write(position, bytes)) result = "new";
      }
    } catch (cause) {
      throw this.#fault(cause);
    }
    return result;
  }

  /** Versions here that lack a chunk. */
  lacking(hash: string): string[] {
    const places = this.#places.get(hash) ?? [];
    return places.filter((p) => !p.tree.have.has(p.position)).map((p) => p.tree.hash);
  }

  /** Throws DISK_FULL while the disk takes nothing; called before anything is fetched for it. */
  async ready(wish: { foreground: boolean }): Promise<void> {
    await this.room.check(wish);
    if (!this.#faulted) return;
    const path = this.#path("state", "probe");
    try {
      const file = await this.#deps.disk.open(path, "w");
      try {
        await file.writeFile(Buffer.alloc(PROBE_BYTES));
        await file.sync();
      } finally {
        await file.close();
        await this.#deps.disk.rm(path, { force: true });
      }
    } catch (cause) {
      throw this.#fault(cause);
    }
    this.#faulted = false;
  }

  /** False when the disk did not hold what it should: fetch what is missing and try again. */
  async activate(tree: Tree): Promise<boolean> {
    const before = tree.have.count;
    try {
      const done = await tree.activate(this.#path("trees", tree.hash));
      if (!done) this.corruptChunks += before - tree.have.count;
      return done;
    } catch (cause) {
      throw this.#fault(cause);
    }
  }

  async signedManifest(manifestHash: string): Promise<SignedManifest | null> {
    if (!this.#trees.has(manifestHash)) return null;
    const path = this.#manifestPath(manifestHash);
    const text = await this.#deps.disk.readFile(path, "utf8").catch(ignoreMissing);
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
    const sinceMs = Math.abs(nowMs - (meta?.usage.countedMs ?? 0)); // clocks are set back, too
    if (!meta || (meta.used && sinceMs < NOTED_AGAIN_MS)) return;
    meta.used = true;
    meta.usage = countUse(meta.usage, nowMs);
    await this.saveMeta(manifestHash);
  }

  /** What is known of its use; a hint, so that a disk that takes nothing hinders nobody. */
  async saveMeta(manifestHash: string): Promise<void> {
    const meta = this.#meta.get(manifestHash);
    if (!meta) return;
    const path = this.#path("meta", `${manifestHash}.json`);
    try {
      await this.#deps.disk.writeFile(path, JSON.stringify(meta));
    } catch (cause) {
      this.#deps.log.warn({ cause, path }, "use of a version not written down");
    }
  }

  /** Drops a version; what was staged of it and never used counts as wasted. */
  async remove(tree: Tree): Promise<void> {
    const { disk } = this.#deps;
    const meta = this.#meta.get(tree.hash);
    if (meta && !meta.used) this.wastedBytes += meta.stagedBytes;
    this.#trees.delete(tree.hash);
    this.#meta.delete(tree.hash);
    for (const hash of new Set(tree.chunks.map((c) => c.hash))) {
      const rest = (this.#places.get(hash) ?? []).filter((p) => p.tree !== tree);
      if (rest.length > 0) this.#places.set(hash, rest);
      else this.#places.delete(hash);
    }
    try {
      // The manifest first: files without one are no version, whatever a power cut leaves of them.
      await disk.rm(this.#manifestPath(tree.hash), { force: true });
      await syncPath(disk, this.#path("manifests"));
      await tree.remove(this.#path("trash", tree.hash));
      await disk.rm(this.#path("meta", `${tree.hash}.json`), { force: true });
    } catch (cause) {
      throw this.#fault(cause);
    }
  }

  async #add(signed: SignedManifest, manifest: Manifest, wish: Wish): Promise<Tree> {
    const { disk, clock } = this.#deps;
    const known = this.#trees.get(signed.hash);
    if (known) return known;
    const tree = this.#tree(signed.hash, manifest, false);
    try {
      await this.#makeRoot(tree);
      await linkEqual(tree, (hash) => this.#places.get(hash) ?? []);
      const [last, elsewhere] = [this.#akin(tree), this.#elsewhere(tree)];
      await this.room.make(tree.ownBytes, wish, { last, elsewhere });
      // A request does not wait until the disk is done: a version begun is nothing to lose.
      const text = JSON.stringify(signed);
      const { synced } = await writeQuickly(disk, this.#manifestPath(signed.hash), text);
      tree.founded(synced);
    } catch (cause) {
      await tree.remove(this.#path("trash", tree.hash)).catch(() => null); // at the next start
      throw this.#fault(cause);
    }
    this.#meta.set(tree.hash, newMeta(clock.now(), wish.priority));
    this.#register(tree);
    return tree;
  }

  async #place(signed: SignedManifest, manifest: Manifest, intake: Intake): Promise<Tree> {
    const known = this.#trees.get(signed.hash);
    if (known?.active) return known;
    const tree = known ?? this.#tree(signed.hash, manifest, false);
    try {
      if (known) await known.close();
      else await this.#makeRoot(tree);
      await intake.handOver(tree);
      await writeDurably(this.#deps.disk, this.#manifestPath(signed.hash), JSON.stringify(signed));
    } catch (cause) {
      if (!known) await tree.remove(this.#path("trash", tree.hash)).catch(() => null); // at start
      throw this.#fault(cause);
    }
    if (known) return known;
    this.#meta.set(tree.hash, newMeta(this.#deps.clock.now(), intake.wish.priority));
    this.#register(tree);
    return tree;
  }

  async #makeRoot(tree: Tree): Promise<void> {
    // The second is there when it could not be read at the start.
    for (const root of [tree.root, this.#path("trees", tree.hash)])
      await removeFolder(this.#deps.disk, root);
    await this.#deps.disk.mkdir(tree.root);
  }

  /** Versions with chunks that are to be copied. */
  #akin(tree: Tree): Set<Tree> {
    const akin = new Set<Tree>();
    for (const [position, chunk] of tree.chunks.entries())
      if (!tree.have.has(position))
        for (const place of this.#places.get(chunk.hash) ?? []) akin.add(place.tree);
    return akin;
  }

  /** What never was whole here is nobody's loss. */
  #elsewhere({ hash, manifest, placed }: Tree): Elsewhere {
    if (this.#deps.isWithPeers(hash)) return "peers";
    if (manifest.originUrl !== null) return "origin";
    return placed ? "nowhere" : "peers";
  }

  #fault(cause: unknown): unknown {
    const error = diskError(cause, this.dir);
    if (error !== cause) this.#faulted = true;
    return error;
  }

  async #survey(): Promise<void> {
    await this.#trash.empty().catch((cause: unknown) => {
      this.#deps.log.warn({ cause }, "left-overs could not be removed");
    });
    for (const tree of this.#trees.values())
      await tree.survey().catch((cause: unknown) => {
        this.#deps.log.warn({ cause, manifestHash: tree.hash }, "version could not be looked at");
      });
  }

  #tree(hash: string, manifest: Manifest, placed: boolean): Tree {
    const root = this.#path(placed ? "trees" : "partial", hash);
    const journalPath = this.#path("state", hash);
    const { disk } = this.#deps;
    return new Tree(
      { hash, manifest, root, placed },
      { disk, handles: this.#handles, journalPath },
    );
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
    return join(this.dir, folder, name);
  }

  #manifestPath(manifestHash: string): string {
    return this.#path("manifests", `${manifestHash}.json`);
  }
}
