/**
 * Which chunks of a version that is being filled are on the disk, written down as they come, so
 * that a start does not hash what was verified before: `state/HASH`, 8 bytes a record, appended
 * in groups without a sync of its own.
 *
 * A record says "written" (it is in the file; only power can still take it), "lost", or "durable":
 * the first N records were followed by an fdatasync of their files. Each carries a checksum over
 * itself, its place and the version, so that a torn or zeroed tail ends the journal there and
 * costs only knowledge: what is written but not known to be durable is hashed again, what is not
 * in the journal is fetched again.
 */
import { crc32 } from "node:zlib";
import { assert } from "../../shared/runtime/assert.ts";
import { type Disk, ignoreMissing } from "./disk.ts";
import { type FileHandles, writeAt } from "./handles.ts";

const RECORD_BYTES = 8;
const LOST = 0x8000_0000;
const DURABLE = 0xc000_0000;
const VALUE_MAX = 0x3fff_ffff;

export type Journaled = { durable: Set<number>; written: Set<number> };

export class Journal {
  readonly #disk: Disk;
  readonly #handles: FileHandles;
  readonly #path: string;
  readonly #seed: number;
  /** Records in the file. */
  #count = 0;
  #pending: number[] = [];
  #next: Promise<void> | null = null;
  #last: Promise<void> = Promise.resolve();

  constructor(deps: { disk: Disk; handles: FileHandles }, path: string, manifestHash: string) {
    this.#disk = deps.disk;
    this.#handles = deps.handles;
    this.#path = path;
    this.#seed = crc32(Buffer.from(manifestHash, "hex"));
  }

  /** Records so far, to be handed to `durable` once their files were synced. */
  get count(): number {
    return this.#count;
  }

  /** What an earlier process wrote down. Call first, if at all. */
  async load(): Promise<Journaled> {
    const found: Journaled = { durable: new Set(), written: new Set() };
    const bytes = await this.#disk.readFile(this.#path).catch(ignoreMissing);
    const values: number[] = [];
    for (let at = 0; bytes && at + RECORD_BYTES <= bytes.length; at += RECORD_BYTES) {
      const value = bytes.readUInt32LE(at);
      if (bytes.readUInt32LE(at + 4) !== this.#check(value, values.length)) break;
      values.push(value);
    }
    this.#count = values.length;
    const validBytes = values.length * RECORD_BYTES;
    if (bytes && bytes.length > validBytes)
      await this.#handles.use(this.#path, "write", (file) => file.truncate(validBytes));
    let applied = 0;
    for (const value of values) {
      if (value < DURABLE) continue;
      const until = Math.min(value - DURABLE, values.length);
      for (; applied < until; applied++) replay(values[applied] ?? DURABLE, found.durable);
    }
    for (; applied < values.length; applied++) {
      const value = values[applied] ?? DURABLE;
      if (value >= LOST) {
        if (value < DURABLE) found.durable.delete(value - LOST);
        replay(value, found.written);
      } else if (!found.durable.has(value)) found.written.add(value);
    }
    return found;
  }

  /** Resolves when the operating system has the records: they outlive this process. */
  written(positions: readonly number[]): Promise<void> {
    return this.#append(positions);
  }

  lost(positions: readonly number[]): Promise<void> {
    return this.#append(positions.map((position) => LOST + position));
  }

  /** The files of the first `count` records were synced after those were made. */
  durable(count: number): Promise<void> {
    return this.#append([DURABLE + count]);
  }

  async remove(): Promise<void> {
    await this.#last.catch(() => null); // whoever appended has the error
    await this.#handles.closeUnder(this.#path);
    await this.#disk.rm(this.#path, { force: true });
    this.#count = 0;
  }

  #append(values: readonly number[]): Promise<void> {
    for (const value of values) this.#pending.push(value);
    this.#next ??= this.#last.catch(() => null).then(() => this.#write());
    this.#last = this.#next;
    return this.#next;
  }

  async #write(): Promise<void> {
    const values = this.#pending;
    this.#pending = [];
    this.#next = null;
    assert(this.#count + values.length < VALUE_MAX, "a journal numbers its records in 30 bits");
    const bytes = Buffer.allocUnsafe(values.length * RECORD_BYTES);
    values.forEach((value, i) => {
      bytes.writeUInt32LE(value, i * RECORD_BYTES);
      bytes.writeUInt32LE(this.#check(value, this.#count + i), i * RECORD_BYTES + 4);
    });
    const at = this.#count * RECORD_BYTES;
    await this.#handles.use(this.#path, "write", (file) => writeAt(file, bytes, at));
    this.#count += values.length;
  }

  #check(value: number, index: number): number {
    const bytes = Buffer.allocUnsafe(8);
    bytes.writeUInt32LE(value, 0);
    bytes.writeUInt32LE(index, 4);
    return crc32(bytes, this.#seed);
  }
}

function replay(value: number, held: Set<number>): void {
  if (value < LOST) held.add(value);
  else if (value < DURABLE) held.delete(value - LOST);
}
