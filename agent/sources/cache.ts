/**
 * Whole files of sources that give no ranges, on disk and within a limit; the least recently used
 * go first. One that is being read stays until it was read.
 */
import { hash } from "node:crypto";
import { mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { PrestageError } from "../../shared/errors.ts";

type Entry = { name: string; bytes: number; users: number };

export class FileCache {
  readonly #dir: string;
  readonly #bytesMax: number;
  /** In order of last use. */
  readonly #entries = new Map<string, Entry>();
  readonly #underWay = new Map<string, Promise<Entry>>();
  #opened: Promise<void> | undefined;

  constructor(options: { dir: string; bytesMax: number }) {
    this.#dir = options.dir;
    this.#bytesMax = options.bytesMax;
  }

  get bytes(): number {
    let sum = 0;
    for (const entry of this.#entries.values()) sum += entry.bytes;
    return sum;
  }

  /**
   * A range of the file `key`, which `fetch` writes to the path it is given, if it is not here.
   * Throws CORRUPT when it is shorter, TOO_LARGE when it alone is over the limit.
   */
  async range(
    key: string,
    { offset, bytes }: { offset: number; bytes: number },
    fetch: (path: string) => Promise<void>,
  ): Promise<Uint8Array> {
    const name = hash("sha256", key, "hex");
    const entry = await this.#entry(name, fetch);
    entry.users++;
    try {
      return await readPart(join(this.#dir, name), offset, bytes);
    } finally {
      entry.users--;
      await this.#shrink();
    }
  }

  async #entry(name: string, fetch: (path: string) => Promise<void>): Promise<Entry> {
    this.#opened ??= this.#open();
    await this.#opened;
    const known = this.#entries.get(name);
    if (known) {
      this.#entries.delete(name);
      this.#entries.set(name, known);
      return known;
    }
    const underWay = this.#underWay.get(name);
    if (underWay) return underWay;
    const fetched = this.#fetch(name, fetch).finally(() => this.#underWay.delete(name));
    this.#underWay.set(name, fetched);
    return fetched;
  }

  async #fetch(name: string, fetch: (path: string) => Promise<void>): Promise<Entry> {
    const partial = join(this.#dir, `${name}.part`);
    try {
      await fetch(partial);
      const { size } = await stat(partial);
      if (size > this.#bytesMax)
        throw new PrestageError("TOO_LARGE", "a file is larger than the cache of its source", {
          details: { bytes: size, cacheBytes: this.#bytesMax },
          remedy: "Raise sourceLimits.cacheBytes in agent.yaml.",
        });
      await rename(partial, join(this.#dir, name));
      const entry = { name, bytes: size, users: 0 };
      this.#entries.set(name, entry);
      return entry;
    } finally {
      await rm(partial, { recursive: true, force: true });
    }
  }

  async #shrink(): Promise<void> {
    let { bytes } = this;
    for (const entry of [...this.#entries.values()]) {
      if (bytes <= this.#bytesMax) return;
      if (entry.users > 0) continue;
      this.#entries.delete(entry.name);
      bytes -= entry.bytes;
      await rm(join(this.#dir, entry.name), { force: true });
    }
  }

  /** Takes over what an earlier process left, oldest first. */
  async #open(): Promise<void> {
    await mkdir(this.#dir, { recursive: true });
    const found: (Entry & { usedMs: number })[] = [];
    for (const name of await readdir(this.#dir)) {
      const path = join(this.#dir, name);
      const { size, atimeMs } = await stat(path);
      if (/^[0-9a-f]{64}$/.test(name)) found.push({ name, bytes: size, users: 0, usedMs: atimeMs });
      else await rm(path, { recursive: true, force: true });
    }
    for (const { name, bytes } of found.sort((a, b) => a.usedMs - b.usedMs))
      this.#entries.set(name, { name, bytes, users: 0 });
    await this.#shrink();
  }
}

/** Throws CORRUPT when the file ends before. */
export async function readPart(path: string, offset: number, bytes: number): Promise<Uint8Array> {
  const file = await open(path, "r");
  try {
    const buffer = Buffer.allocUnsafeSlow(bytes);
    let done = 0;
    while (done < bytes) {
      const { bytesRead } = await file.read(buffer, done, bytes - done, offset + done);
      if (bytesRead === 0)
        throw new PrestageError("CORRUPT", "the origin's file is shorter than the manifest says");
      done += bytesRead;
    }
    return buffer;
  } finally {
    await file.close();
  }
}
