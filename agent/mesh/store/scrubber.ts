/**
 * Re-reads what is stored, a little at a time, so that bits that rotted are found and fetched anew
 * before somebody needs them. A pass over all versions takes `passMs`, or longer where that would
 * be faster than `bytesPerSecondMax`; while the host has better things to do it rests. The version
 * whose last reading is longest ago comes first. What the page cache still has is read from there:
 * a pass is spread over days so that most of it is not.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { type Clock, every } from "../../../shared/runtime/clock.ts";
import type { Log } from "../../../shared/runtime/log.ts";
import type { Counter, Gauge, Metrics } from "../../../shared/runtime/metrics.ts";
import { ignoreMissing, writeHint } from "./disk.ts";
import type { Store } from "./store.ts";
import type { Tree } from "./trees.ts";

const TICK_MS = 1_000;
/** Saved up at most: one chunk of the largest size. */
const SAVED_BYTES_MAX = 4 << 20;
const REPAIR_MS = 60_000;
/** What could not be repaired is tried again after this. */
const RETRY_MS = 30_000;
const FILE = "scrub.json";
const Times = z.record(z.string(), z.number());

export type ScrubberDeps = {
  clock: Clock;
  log: Log;
  metrics: Metrics;
  store: Store;
  /** Fetches what a version lacks; resolves when it is whole again. */
  repair(manifestHash: string, signal: AbortSignal): Promise<unknown>;
  /** The host has better things to do now. */
  busy(): boolean;
};
export type ScrubberOptions = {
  dir: string;
  /** 0: never. */
  passMs: number;
  bytesPerSecondMax: number;
};
export type ScrubState = {
  /** How long ago the version was read whose turn is longest ago. */
  oldestMs: number;
  /** Chunks found wrong, and fetched anew, since the agent started. */
  found: number;
  repaired: number;
};

export class Scrubber {
  readonly #deps: ScrubberDeps;
  readonly #options: ScrubberOptions;
  readonly #bytes: Counter;
  readonly #chunks: Counter<"result">;
  readonly #oldest: Gauge;
  /** When each version was last read through, real time. */
  #readMs = new Map<string, number>();
  #current: { tree: Tree; position: number } | null = null;
  readonly #broken = new Map<string, { missing: number; tryMs: number }>();
  #savedBytes = 0;
  #found = 0;
  #repaired = 0;

  constructor(deps: ScrubberDeps, options: ScrubberOptions) {
    this.#deps = deps;
    this.#options = options;
    this.#bytes = deps.metrics.counter({
      name: "prestage_scrub_bytes_total",
      help: "Stored bytes read again to see whether they are still right",
    });
    this.#chunks = deps.metrics.counter<"result">({
      name: "prestage_scrub_chunks_total",
      help: "Stored chunks by what reading them again gave: right, wrong, repaired",
      labelNames: ["result"],
    });
    this.#oldest = deps.metrics.gauge({
      name: "prestage_scrub_oldest_seconds",
      help: "How long ago the stored version was read whose turn is longest ago",
    });
  }

  /** Null when it never scrubs. */
  state(): ScrubState | null {
    if (this.#options.passMs === 0) return null;
    return { oldestMs: this.#oldestMs(), found: this.#found, repaired: this.#repaired };
  }

  async run(signal: AbortSignal): Promise<void> {
    if (this.#options.passMs === 0) return;
    await this.#load();
    await every(this.#deps.clock, TICK_MS, signal, () => this.tick(signal));
    await this.#save();
  }

  /** Reads as much as a second allows. */
  async tick(signal: AbortSignal): Promise<void> {
    this.#meet();
    await this.#repairBroken(signal);
    if (this.#deps.busy()) return;
    this.#savedBytes = Math.min(SAVED_BYTES_MAX, this.#savedBytes) + this.#bytesPerTick();
    while (!signal.aborted && (await this.#readNext()));
    this.#oldest.set(this.#oldestMs() / 1_000);
  }

  #bytesPerTick(): number {
    const { passMs, bytesPerSecondMax } = this.#options;
    const all = [...this.#placed()].reduce((sum, t) => sum + t.manifest.bytes, 0);
    return Math.min((bytesPerSecondMax * TICK_MS) / 1_000, all * (TICK_MS / passMs));
  }

  *#placed(): Iterable<Tree> {
    for (const tree of this.#deps.store.all()) if (tree.placed) yield tree;
  }

  /** Versions that came were verified as they did; those that went are forgotten. */
  #meet(): void {
    const nowMs = this.#deps.clock.now();
    const here = new Set<string>();
    for (const { hash } of this.#placed()) {
      here.add(hash);
      if (!this.#readMs.has(hash)) this.#readMs.set(hash, nowMs);
    }
    for (const hash of this.#readMs.keys()) if (!here.has(hash)) this.#readMs.delete(hash);
    for (const hash of this.#broken.keys()) if (!here.has(hash)) this.#broken.delete(hash);
    if (this.#current && !here.has(this.#current.tree.hash)) this.#current = null;
  }

  #oldestMs(): number {
    const nowMs = this.#deps.clock.now();
    return Math.max(0, nowMs - Math.min(nowMs, ...this.#readMs.values()));
  }

  /** False when there is nothing to read, or no more now. */
  async #readNext(): Promise<boolean> {
    this.#current ??= this.#choose();
    if (!this.#current) return false;
    const { tree, position } = this.#current;
    const chunk = tree.chunks[position];
    if (!chunk) {
      this.#readMs.set(tree.hash, this.#deps.clock.now());
      this.#current = null;
      await this.#save();
      return false;
    }
    if (chunk.bytes > this.#savedBytes) return false;
    this.#current.position++;
    if (!tree.have.has(position)) return true;
    this.#savedBytes -= chunk.bytes;
    this.#bytes.inc(chunk.bytes);
    const right = await tree.read(position).catch(ignoreMissing);
    this.#chunks.inc({ result: right ? "right" : "wrong" });
    if (!right) this.#rotten(tree, position);
    return true;
  }

  #choose(): { tree: Tree; position: number } | null {
    let oldest: Tree | null = null;
    for (const tree of this.#placed())
      if (!oldest || this.#ageOf(tree) < this.#ageOf(oldest)) oldest = tree;
    return oldest && { tree: oldest, position: 0 };
  }

  #ageOf({ hash }: Tree): number {
    return this.#readMs.get(hash) ?? 0;
  }

  #rotten(tree: Tree, position: number): void {
    tree.lose(position);
    this.#found++;
    const { path, offset } = tree.range(position);
    this.#deps.log.warn({ manifestHash: tree.hash, path, offset }, "stored chunk has rotted");
    this.#broken.set(tree.hash, { missing: 0, tryMs: 0 });
  }

  async #repairBroken(signal: AbortSignal): Promise<void> {
    const nowMs = this.#deps.clock.monotonic();
    for (const [hash, { tryMs }] of this.#broken)
      if (nowMs >= tryMs) await this.#repair(hash, signal);
  }

  async #repair(hash: string, signal: AbortSignal): Promise<void> {
    const { store, clock, log } = this.#deps;
    const tree = store.get(hash);
    if (!tree) return;
    const missing = tree.chunks.length - tree.have.count;
    const foundElsewhere = store.corruptChunks;
    const giveUp = new AbortController();
    const cancel = clock.after(REPAIR_MS, () => giveUp.abort(new Error("not repaired in time")));
    try {
      await this.#deps.repair(hash, AbortSignal.any([signal, giveUp.signal]));
      const more = store.corruptChunks - foundElsewhere;
      this.#found += more;
      this.#repaired += missing + more;
      this.#chunks.inc({ result: "repaired" }, missing + more);
      this.#broken.delete(hash);
      log.info({ manifestHash: hash, chunks: missing + more }, "stored chunks were repaired");
    } catch (cause) {
      if (signal.aborted) return;
      this.#broken.set(hash, { missing, tryMs: clock.monotonic() + RETRY_MS });
      log.warn({ manifestHash: hash, missing, err: cause }, "rotten chunks not repaired yet");
    } finally {
      cancel();
    }
  }

  async #load(): Promise<void> {
    try {
      const text = await readFile(join(this.#options.dir, FILE), "utf8");
      this.#readMs = new Map(Object.entries(Times.parse(JSON.parse(text))));
    } catch {
      this.#readMs = new Map(); // none yet, or torn: a pass begins anew
    }
  }

  async #save(): Promise<void> {
    const text = JSON.stringify(Object.fromEntries(this.#readMs));
    await writeHint(join(this.#options.dir, FILE), text, this.#deps.log);
  }
}
