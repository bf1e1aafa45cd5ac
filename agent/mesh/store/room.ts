/**
 * Room for what is to come: the quota in bytes on disk, the reserve of free disk that staging
 * leaves to others, the floor under which nothing is written, and what goes to make room.
 */
import { PrestageError } from "../../../shared/errors.ts";
import type { Clock } from "../../../shared/runtime/clock.ts";
import type { Disk } from "./disk.ts";
import type { Tree } from "./trees.ts";
import { type Candidate, type Elsewhere, mayGo, worth, worthOfWish } from "./worth.ts";

export type Wish = { foreground: boolean; priority: number };

export type RoomOptions = {
  dir: string;
  quotaBytes: number;
  /** Share of the file system that staging leaves free; between the two bounds below. */
  reserveRatio: number;
};

export type RoomDeps = {
  disk: Disk;
  clock: Clock;
  trees: () => Iterable<Tree>;
  isProtected: (tree: Tree) => boolean;
  candidate: (tree: Tree, freedBytes: number) => Candidate;
  remove: (tree: Tree) => Promise<void>;
};

/** Under this much free disk nothing is written, whoever waits. */
const FLOOR_BYTES = 64 << 20;
const RESERVE_BYTES_MIN = 1 << 30;
const RESERVE_BYTES_MAX = 20 * 2 ** 30;
/** How old a look at the free disk may be while chunks come in. */
const LOOK_MS = 500;

export class Room {
  readonly #deps: RoomDeps;
  readonly #options: RoomOptions;
  #look: { atMs: number; free: Promise<{ bytes: number; reserve: number }> } | null = null;

  constructor(deps: RoomDeps, options: RoomOptions) {
    this.#deps = deps;
    this.#options = options;
  }

  /** Bytes on disk of these versions, each file counted once; partial ones as if whole. */
  usedBytes(trees: Iterable<Tree> = this.#deps.trees()): number {
    const shared = new Map<number, number>();
    let sum = 0;
    for (const tree of trees) {
      sum += tree.ownBytes;
      for (const [ino, bytes] of tree.shared) shared.set(ino, bytes);
    }
    for (const bytes of shared.values()) sum += bytes;
    return sum;
  }

  /**
   * Drops what is worth least until `bytes` more fit; `last` only when nothing else is left.
   * `aside`: bytes on disk that are of no version yet. `elsewhere`: where they come from. Throws DISK_FULL before it drops in vain.
   */
  async make(
    bytes: number,
    wish: Wish,
    {
      last = new Set<Tree>(),
      aside = 0,
      elsewhere = "peers",
    }: { last?: ReadonlySet<Tree>; aside?: number; elsewhere?: Elsewhere } = {},
  ): Promise<void> {
    const over = async () => {
      const used = this.usedBytes() + aside;
      const free = await this.#spareBytes(wish);
      return Math.max(used + bytes - this.#options.quotaBytes, bytes - free);
    };
    let lacking = await over();
    if (lacking <= 0) return;
    const nowMs = this.#deps.clock.now();
    const wishWorth = worthOfWish({ ...wish, elsewhere, bytes }, nowMs);
    const all = new Set(this.#deps.trees());
    const going = [...all]
      .filter((tree) => !this.#deps.isProtected(tree))
      .map((tree) => ({ tree, candidate: this.#candidate(tree, all) }))
      .filter(({ candidate }) => mayGo(candidate, wish, wishWorth, nowMs))
      .sort(
        (a, b) =>
          Number(last.has(a.tree)) - Number(last.has(b.tree)) ||
          worth(a.candidate, nowMs) - worth(b.candidate, nowMs),
      );
    const staying = new Set(all);
    for (const { tree } of going) staying.delete(tree);
    if (this.usedBytes() - this.usedBytes(staying) < lacking)
      throw await this.#refusal(bytes, wish);
    for (const { tree } of going) {
      await this.#deps.remove(tree);
      lacking = await over();
      if (lacking <= 0) return;
    }
    throw await this.#refusal(bytes, wish);
  }

  /** Throws DISK_FULL when so little disk is free that nothing more may be written for a wish. */
  async check(wish: Pick<Wish, "foreground">): Promise<void> {
    const nowMs = this.#deps.clock.monotonic();
    if (!this.#look || nowMs - this.#look.atMs > LOOK_MS)
      this.#look = { atMs: nowMs, free: this.#free() };
    const look = this.#look;
    const { bytes, reserve } = await look.free.catch((cause: unknown) => {
      if (this.#look === look) this.#look = null;
      throw cause;
    });
    if (bytes < (wish.foreground ? FLOOR_BYTES : reserve))
      throw this.#noSpace(bytes, wish, reserve);
  }

  async #free(): Promise<{ bytes: number; reserve: number }> {
    const { bavail, bsize, blocks } = await this.#deps.disk.statfs(this.#options.dir);
    const share = this.#options.reserveRatio * blocks * bsize;
    const reserve =
      share > 0 ? Math.min(Math.max(share, RESERVE_BYTES_MIN), RESERVE_BYTES_MAX) : FLOOR_BYTES;
    return { bytes: bavail * bsize, reserve };
  }

  /** What partial versions here will still take. */
  promisedBytes(): number {
    let promised = 0;
    for (const tree of this.#deps.trees()) promised += tree.manifest.bytes - tree.bytesHave;
    return promised;
  }

  /** Free bytes beyond what stays free and what is promised. */
  async #spareBytes(wish: Wish): Promise<number> {
    const { bytes, reserve } = await this.#free();
    return bytes - (wish.foreground ? FLOOR_BYTES : reserve) - this.promisedBytes();
  }

  #candidate(tree: Tree, all: ReadonlySet<Tree>): Candidate {
    const others = new Set(all);
    others.delete(tree);
    return this.#deps.candidate(tree, this.usedBytes(all) - this.usedBytes(others));
  }

  async #refusal(bytes: number, wish: Wish): Promise<PrestageError> {
    const { dir, quotaBytes } = this.#options;
    const usedBytes = this.usedBytes();
    const { bytes: free, reserve } = await this.#free();
    if (usedBytes + bytes <= quotaBytes) return this.#noSpace(free, wish, reserve, bytes);
    const message =
      `no room for ${mib(bytes)} in ${dir}: versions that are in use, or that nobody else has, ` +
      `take ${mib(usedBytes)} of the quota of ${mib(quotaBytes)}`;
    return new PrestageError("DISK_FULL", message, {
      details: { dir, bytes, usedBytes, quotaBytes },
      remedy:
        "Raise store.quotaBytes there, or stop holding versions; what is wanted goes on by itself then.",
    });
  }

  #noSpace(
    free: number,
    wish: Pick<Wish, "foreground">,
    reserve: number,
    bytes = 0,
  ): PrestageError {
    const { dir } = this.#options;
    const keeps = wish.foreground ? FLOOR_BYTES : reserve;
    const what = bytes > 0 ? `no room for ${mib(bytes)} in` : "nothing more is written to";
    const message =
      `${what} ${dir}: ${mib(free)} are free on its file system, ` +
      `of which ${mib(keeps)} stay free`;
    return new PrestageError("DISK_FULL", message, {
      details: { dir, bytes, freeBytes: free, keptFreeBytes: keeps },
      remedy: wish.foreground
        ? `Free space on the file system of ${dir}; what was under way goes on by itself then.`
        : `Free space on the file system of ${dir}, or lower store.reserveRatio: staging leaves ` +
          `${mib(keeps)} free.`,
    });
  }
}

function mib(bytes: number): string {
  return `${Math.ceil(bytes / 2 ** 20)} MiB`;
}
