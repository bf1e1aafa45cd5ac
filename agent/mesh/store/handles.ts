/** Open files, at most so many at once: staging writes many chunks into few files. */
import { constants } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import type { Disk } from "./disk.ts";

type Entry = { handle: Promise<FileHandle>; users: number; gone: boolean };
/** `write` also reads, and makes the file when it is not there. */
export type Access = "read" | "write";
const FLAGS = { read: constants.O_RDONLY, write: constants.O_RDWR | constants.O_CREAT };

export class FileHandles {
  readonly #disk: Disk;
  #capacity: number;
  /** In order of last use. */
  readonly #entries = new Map<string, Entry>();

  constructor(disk: Disk, options: { capacity: number }) {
    this.#disk = disk;
    this.#capacity = options.capacity;
  }

  /** Runs `fn` with the file opened for `access`. */
  async use<T>(path: string, access: Access, fn: (file: FileHandle) => Promise<T>): Promise<T> {
    const key = `${access} ${path}`;
    const entry = this.#entries.get(key) ?? {
      handle: this.#disk.open(path, FLAGS[access], 0o644),
      users: 0,
      gone: false,
    };
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

  /** Closes a file, or those under a folder; those in use, when their users are done. */
  async closeUnder(path: string): Promise<void> {
    for (const [key, entry] of [...this.#entries])
      if (`${key.slice(key.indexOf(" ") + 1)}/`.startsWith(`${path}/`)) {
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

/** Writes all of `bytes` at `offset`. */
export async function writeAt(file: FileHandle, bytes: Uint8Array, offset: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, offset + done);
    done += bytesWritten;
  }
}

/** Bytes read into `buffer` from `offset`; fewer than its length only at the end of the file. */
export async function readAt(file: FileHandle, buffer: Uint8Array, offset: number) {
  let done = 0;
  while (done < buffer.length) {
    const { bytesRead } = await file.read(buffer, done, buffer.length - done, offset + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return done;
}
