/** Open files, at most so many at once: staging writes many chunks into few files. */
import { type FileHandle, open } from "node:fs/promises";

type Entry = { handle: Promise<FileHandle>; users: number; gone: boolean };

export class FileHandles {
  #capacity: number;
  /** In order of last use. */
  readonly #entries = new Map<string, Entry>();

  constructor(options: { capacity: number }) {
    this.#capacity = options.capacity;
  }

  /** Runs `fn` with the file opened with `flags`. */
  async use<T>(path: string, flags: "r" | "r+", fn: (file: FileHandle) => Promise<T>): Promise<T> {
    const key = `${flags} ${path}`;
    const entry = this.#entries.get(key) ?? { handle: open(path, flags), users: 0, gone: false };
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    entry.users++;
    try {
      return await fn(await entry.handle);
    } catch (cause) {
      this.#drop(key, entry);
      throw cause;
    } finally {
      entry.users--;
      if (entry.gone) await closeUnused(entry);
      await this.#shrink();
    }
  }

  /** Closes the files under a folder; those in use, when their users are done. */
  async closeUnder(folder: string): Promise<void> {
    for (const [key, entry] of [...this.#entries])
      if (key.slice(key.indexOf(" ") + 1).startsWith(`${folder}/`)) {
        this.#drop(key, entry);
        await closeUnused(entry);
      }
  }

  /** Closes all; files used from now on are closed after each use. */
  async close(): Promise<void> {
    this.#capacity = 0;
    await this.#shrink();
  }

  async #shrink(): Promise<void> {
    for (const [key, entry] of [...this.#entries]) {
      if (this.#entries.size <= this.#capacity) return;
      if (entry.users > 0) continue;
      this.#drop(key, entry);
      await closeUnused(entry);
    }
  }

  #drop(key: string, entry: Entry): void {
    entry.gone = true;
    if (this.#entries.get(key) === entry) this.#entries.delete(key);
  }
}

async function closeUnused(entry: Entry): Promise<void> {
  if (entry.users > 0) return;
  const file = await entry.handle.catch(() => null); // whoever opened it has seen why it failed
  await file?.close();
}
