/**
 * Which chunks of a version that is being filled are on the disk, written down as they come, so
 * that a start does not hash what was verified before: `state/HASH`, 8 bytes a record, appended
 * in groups without a sync of its own.
 *
 * A record says "begun" (it is about to be written: at a start it is looked at), "written" (it is
 * in the file; only power can still take it), "lost", or "durable": the first N records were
 * followed by an fdatasync of their files. The last record of a position counts. "Begun" is in the
 * file before the chunk is, so "written" may follow with whatever is appended next, and a kill
 * between the two costs a hash. Each record carries a checksum over itself, its place and the
 * version, so that a torn or zeroed tail ends the journal there and costs only knowledge: what is
 * not known to be durable is hashed again, what is not in the journal is fetched again.
 */
import { crc32 } from "node:zlib";
import { assert } from "../../../shared/runtime/assert.ts";
import { type Disk, ignoreMissing } from "./disk.ts";
import { type FileHandles, writeAt } from "./handles.ts";

const RECORD_BYTES = 8;
const BEGUN = 0x4000_0000;
const LOST = 0x8000_0000;
const DURABLE = 0xc000_0000;
const VALUE_MAX = 0x3fff_ffff;

/** Positions by what is known of them; none is in two. */
export type Journaled = { durable: Set<number>; written: Set<number>; begun: Set<number> };

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
    return replay(values);
  }

  /** Resolves when the operating system has the records: they outlive this process. */
  begun(positions: readonly number[]): Promise<void> {
    return this.#append(positions.map((position) => BEGUN + position));
  }

  /** Of positions that were begun; the records go with the next that are appended. */
  written(positions: readonly number[]): void {
    for (const position of positions) this.#pending.push(position);
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
    this.#pending = [];
    await this.#handles.closeUnder(this.#path);
    await this.#disk.rm(this.#path, { force: true });
    this.#count = 0;
  }

  #append(values: readonly number[]): Promise<void> {
    for (const value of values) this.#pending.push(value);
    return this.commit();
  }

  /** Appends what waits. Resolves when the operating system has it. */
  commit(): Promise<void> {
    this.#next ??= this.#last.catch(() => null).then(() => this.#write());
    this.#last = this.#next;
    return this.#next;
  }

  async #write(): Promise<void> {
    const values = this.#pending;
    this.#pending = [];
    this.#next = null;
    if (values.length === 0) return;
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

function replay(values: readonly number[]): Journaled {
  const durable = new Set<number>();
  const written = new Set<number>();
  const begun = new Set<number>();
  let syncedCount = 0;
  for (const value of values) if (value >= DURABLE) syncedCount = value - DURABLE;
  for (const [index, value] of values.entries()) {
    if (value >= DURABLE) continue;
    const position = value & VALUE_MAX;
    for (const set of [durable, written, begun]) set.delete(position);
    if (value < BEGUN) (index < syncedCount ? durable : written).add(position);
    else if (value < LOST) begun.add(position);
  }
  return { durable, written, begun };
}
