/**
 * Cuts a file where its content says so, so that an insert moves a few cuts and versions share
 * the other chunks. A gear hash rolls over the last 32 bytes; a cut is where its top bits are
 * zero. Before the average size more bits are asked for than after it, which narrows the spread.
 * Source: Xia et al., "FastCDC: a Fast and Efficient Content-Defined Chunking Approach", ATC 2016.
 * The parameters and the table are part of the format: other ones cut every file anew.
 */
import { hash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import type { Chunk } from "../../shared/domain.ts";

export const CHUNK_BYTES_MIN = 64 << 10;
export const CHUNK_BYTES_AVERAGE = 256 << 10;
export const CHUNK_BYTES_MAX = 1 << 20;
const MASK_BEFORE_AVERAGE = 0xfffff000 | 0; // 20 bits
const MASK_AFTER_AVERAGE = 0xffff0000 | 0; // 16 bits
const BLOCK_BYTES = 4 << 20;

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
export function cut(data: Uint8Array): number {
  const end = Math.min(data.length, CHUNK_BYTES_MAX);
  if (end <= CHUNK_BYTES_MIN) return end;
  const middle = Math.min(end, CHUNK_BYTES_AVERAGE);
  let rolling = 0;
  let i = CHUNK_BYTES_MIN - 32;
  for (; i < CHUNK_BYTES_MIN; i++) rolling = ((rolling << 1) + (GEAR[data[i] ?? 0] ?? 0)) | 0;
  for (; i < middle; i++) {
    rolling = ((rolling << 1) + (GEAR[data[i] ?? 0] ?? 0)) | 0;
    if ((rolling & MASK_BEFORE_AVERAGE) === 0) return i + 1;
  }
  for (; i < end; i++) {
    rolling = ((rolling << 1) + (GEAR[data[i] ?? 0] ?? 0)) | 0;
    if ((rolling & MASK_AFTER_AVERAGE) === 0) return i + 1;
  }
  return end;
}

/** The chunks of an open file, in order. Reads it once, in blocks. */
export async function* chunkFile(file: FileHandle): AsyncGenerator<Chunk> {
  const block = Buffer.allocUnsafeSlow(BLOCK_BYTES);
  let held = 0;
  let ended = false;
  for (;;) {
    while (!ended && held < BLOCK_BYTES) {
      const { bytesRead } = await file.read(block, held, BLOCK_BYTES - held, null);
      held += bytesRead;
      ended = bytesRead === 0;
    }
    let start = 0;
    while (start < held && (ended || held - start >= CHUNK_BYTES_MAX)) {
      const data = block.subarray(start, held);
      const bytes = cut(data);
      yield { hash: hash("sha256", data.subarray(0, bytes), "hex"), bytes };
      start += bytes;
      await new Promise(setImmediate);
    }
    block.copyWithin(0, start, held);
    held -= start;
    if (ended && held === 0) return;
  }
}
