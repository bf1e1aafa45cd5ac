/**
 * Where the bytes of the versions here came from, and since when each is whole. A hint for people,
 * kept beside the store: what a crash loses of it is only not known.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import type { Clock } from "../../../shared/runtime/clock.ts";
import type { Log } from "../../../shared/runtime/log.ts";
import { ORIGIN } from "../transfer/wants.ts";
import { writeHint } from "./disk.ts";

/** Hosts are named by their id; no id has a colon. */
export const FROM_ORIGIN = "origin:";
/** Chunks and files that other versions here had already. */
export const FROM_HERE = "here:";
/** What hosts beyond the first few gave. */
export const FROM_OTHERS = "others:";

const SOURCES_MAX = 32;
const TOLD_MAX = 5;
const SAVE_MS = 5_000;
const FILE = "provenance.json";

const Entry = z.object({
  /** Real time; null while it is not whole. */
  sinceMs: z.number().nullable(),
  sources: z.record(z.string(), z.number()),
});
const Entries = z.record(z.string(), Entry);
type Entry = z.infer<typeof Entry>;

export class Provenance {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #file: string;
  #entries = new Map<string, Entry>();
  #changed = false;
  #savedMs = Number.NEGATIVE_INFINITY;

  constructor({ clock, log }: { clock: Clock; log: Log }, dir: string) {
    this.#clock = clock;
    this.#log = log;
    this.#file = join(dir, FILE);
  }

  async load(): Promise<void> {
    try {
      const entries = Entries.parse(JSON.parse(await readFile(this.#file, "utf8")));
      this.#entries = new Map(Object.entries(entries));
    } catch {
      this.#entries = new Map(); // none yet, or torn: a hint less
    }
  }

  /** `from`: a host, `ORIGIN`, or one of the names above. */
  received(manifestHash: string, from: string, bytes: number): void {
    if (bytes <= 0) return;
    const { sources } = this.#of(manifestHash);
    const name = from === ORIGIN ? FROM_ORIGIN : from;
    const known = name in sources || Object.keys(sources).length < SOURCES_MAX;
    const key = known ? name : FROM_OTHERS;
    sources[key] = (sources[key] ?? 0) + bytes;
    this.#changed = true;
  }

  activated(manifestHash: string): void {
    const entry = this.#of(manifestHash);
    if (entry.sinceMs !== null) return;
    entry.sinceMs = this.#clock.now();
    this.#changed = true;
  }

  /** The most important sources, most bytes first. */
  of(manifestHash: string): { sinceMs: number | null; sources: { from: string; bytes: number }[] } {
    const entry = this.#entries.get(manifestHash);
    if (!entry) return { sinceMs: null, sources: [] };
    const all = Object.entries(entry.sources)
      .map(([from, bytes]) => ({ from, bytes }))
      .sort((a, b) => b.bytes - a.bytes);
    const rest = all.slice(TOLD_MAX).reduce((sum, s) => sum + s.bytes, 0);
    const sources = all.slice(0, TOLD_MAX);
    return {
      sinceMs: entry.sinceMs,
      sources: rest > 0 ? [...sources, { from: FROM_OTHERS, bytes: rest }] : sources,
    };
  }

  /** Forgets versions that are gone and, now and then, writes the rest down. */
  async save(isHere: (manifestHash: string) => boolean, force = false): Promise<void> {
    const nowMs = this.#clock.monotonic();
    if (!force && nowMs - this.#savedMs < SAVE_MS) return;
    this.#savedMs = nowMs;
    for (const hash of this.#entries.keys())
      if (!isHere(hash)) this.#changed = this.#entries.delete(hash) || this.#changed;
    if (!this.#changed) return;
    this.#changed = false;
    const text = JSON.stringify(Object.fromEntries(this.#entries));
    if (!(await writeHint(this.#file, text, this.#log))) this.#changed = true;
  }

  #of(manifestHash: string): Entry {
    const known = this.#entries.get(manifestHash);
    if (known) return known;
    const entry: Entry = { sinceMs: null, sources: {} };
    this.#entries.set(manifestHash, entry);
    return entry;
  }
}
