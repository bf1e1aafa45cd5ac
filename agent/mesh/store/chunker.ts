/**
 * Cuts a file where its content says so, so that an insert moves a few cuts and versions share
 * the other chunks. A gear hash rolls over the last 32 bytes; a cut is where its top bits are
 * zero. Before the average size more bits are asked for than after it, which narrows the spread.
 * Source: Xia et al., "FastCDC: a Fast and Efficient Content-Defined Chunking Approach", ATC 2016.
 * The parameters and the table are part of the format: other ones cut every file anew.
 */
import { hash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import type { Chunk } from "../../../shared/domain.ts";
import { assert } from "../../../shared/runtime/assert.ts";
import { readAt } from "./handles.ts";

export type Cuts = {
  bytesMin: number;
  bytesAverage: number;
  bytesMax: number;
  /** A cut is where these bits are zero: before the average size, and after it. */
  maskBefore: number;
  maskAfter: number;
};
export const FINE: Cuts = {
  bytesMin: 64 << 10,
  bytesAverage: 256 << 10,
  bytesMax: 1 << 20,
  maskBefore: 0xfffff000 | 0, // 20 bits
  maskAfter: 0xffff0000 | 0, // 16 bits
};
/** Of these a file of 100 GB has some 80,000. */
export const COARSE: Cuts = {
  bytesMin: 256 << 10,
  bytesAverage: 1 << 20,
  bytesMax: 4 << 20,
  maskBefore: 0xfffffc00 | 0, // 22 bits
  maskAfter: 0xffffc000 | 0, // 18 bits
};
const COARSE_FROM_BYTES = 256 << 20;
const BLOCK_BYTES = 4 << 20;

/** How a file is cut at an offset: what lies far in would fill the manifest with fine chunks. */
export function cutsAt(offset: number): Cuts {
  return offset < COARSE_FROM_BYTES ? FINE : COARSE;
}

const GEAR = gearTable();

/** 256 fixed 32-bit numbers: splitmix32 from zero. */
function gearTable(): Int32Array {
  const table = new Int32Array(256);
  for (let i = 0; i < 256; i++) {
    let z = Math.imul(i + 1, 0x9e3779b9);
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    table[i] = z ^ (z >>> 15);
  }
  return table;
}

/** Bytes of the first chunk of `data`; all of it when no cut is in it. */
export function cut(data: Uint8Array, cuts: Cuts): number {
  const { bytesMin, maskBefore, maskAfter } = cuts;
  const end = Math.min(data.length, cuts.bytesMax);
  if (end <= bytesMin) return end;
  const middle = Math.min(end, cuts.bytesAverage);
  let rolling = 0;
  let i = bytesMin - 32;
  for (; i < bytesMin; i++) rolling = ((rolling << 1) + (GEAR[data[i] ?? 0] ?? 0)) | 0;
  for (; i < middle; i++) {
    rolling = ((rolling << 1) + (GEAR[data[i] ?? 0] ?? 0)) | 0;
    if ((rolling & maskBefore) === 0) return i + 1;
  }
  for (; i < end; i++) {
    rolling = ((rolling << 1) + (GEAR[data[i] ?? 0] ?? 0)) | 0;
    if ((rolling & maskAfter) === 0) return i + 1;
  }
  return end;
}

/** Fills a buffer from where it stopped before; fewer bytes than its length at the end only. */
export type Fill = (buffer: Uint8Array) => Promise<number>;
export type Block = { chunks: Chunk[]; data: Uint8Array };

/**
 * Cuts files, one at a time, reading the next block while one is cut and hashed. Its buffers are
 * used again: what a block holds is valid until the next but one is asked for.
 */
export class Cutter {
  readonly #buffers = [0, 1, 2].map(() => Buffer.allocUnsafeSlow(COARSE.bytesMax + BLOCK_BYTES));

  /** The chunks of a file, in order, with their bytes. */
  async *blocks(fill: Fill): AsyncGenerator<Block> {
    let offset = 0;
    let left = 0;
    let next = this.#read(fill, 0);
    for (let turn = 0; ; turn++) {
      const buffer = this.#buffer(turn);
      const got = await next;
      const ended = got < BLOCK_BYTES;
      if (!ended) next = this.#read(fill, turn + 1);
      const end = COARSE.bytesMax + got;
      const from = COARSE.bytesMax - left;
      let start = from;
      const chunks: Chunk[] = [];
      for (let cuts = cutsAt(offset); start < end; cuts = cutsAt(offset)) {
        if (!ended && end - start < cuts.bytesMax) break;
        const bytes = cut(buffer.subarray(start, end), cuts);
        const piece = buffer.subarray(start, start + bytes);
        chunks.push({ hash: hash("sha256", piece, "hex"), bytes });
        start += bytes;
        offset += bytes;
        await new Promise(setImmediate);
      }
      left = end - start;
      buffer.copy(this.#buffer(turn + 1), COARSE.bytesMax - left, start, end);
      if (chunks.length > 0) yield { chunks, data: buffer.subarray(from, start) };
      if (ended) return;
    }
  }

  #buffer(turn: number): Buffer {
    const buffer = this.#buffers[turn % 3];
    assert(buffer, "there are three buffers");
    return buffer;
  }

  /** Behind the room for what the block before leaves over. */
  #read(fill: Fill, turn: number): Promise<number> {
    const read = fill(this.#buffer(turn).subarray(COARSE.bytesMax));
    read.catch(() => null); // whoever awaits it has the error
    return read;
  }
}

/** An open file from its start; of so many bytes: its end need not be looked for. */
export function fillFromFile(file: FileHandle, size = Number.POSITIVE_INFINITY): Fill {
  let offset = 0;
  return async (buffer) => {
    const bytes = await readAt(file, buffer.subarray(0, size - offset), offset);
    offset += bytes;
    return bytes;
  };
}

/** Pieces as they come, whatever their sizes. */
export function fillFromPieces(pieces: AsyncIterable<Uint8Array>): Fill {
  const source = pieces[Symbol.asyncIterator]();
  let rest: Uint8Array = new Uint8Array(0);
  return async (buffer) => {
    let filled = 0;
    while (filled < buffer.length) {
      if (rest.length === 0) {
        const { value, done } = await source.next();
        if (done) break;
        rest = value;
      }
      const bytes = Math.min(rest.length, buffer.length - filled);
      buffer.set(rest.subarray(0, bytes), filled);
      rest = rest.subarray(bytes);
      filled += bytes;
    }
    return filled;
  };
}
