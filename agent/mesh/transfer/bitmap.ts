/** A fixed number of bits with a running count: which positions of a manifest somebody has. */
import { assert } from "../../../shared/runtime/assert.ts";

const ONES = Uint8Array.from({ length: 256 }, (_, byte) => {
  let ones = 0;
  for (let rest = byte; rest > 0; rest >>= 1) ones += rest & 1;
  return ones;
});

export class Bitmap {
  readonly size: number;
  readonly #bits: Uint8Array;
  #count = 0;

  constructor(size: number, bits?: Uint8Array) {
    const length = Math.ceil(size / 8);
    assert(!bits || bits.length === length, "a bitmap has the bytes its size needs");
    this.size = size;
    this.#bits = bits ?? new Uint8Array(length);
    if (!bits) return;
    if (size % 8 !== 0) bits[length - 1] = (bits[length - 1] ?? 0) & ((1 << (size % 8)) - 1);
    for (const byte of bits) this.#count += ONES[byte] ?? 0;
  }

  static full(size: number): Bitmap {
    return new Bitmap(size, new Uint8Array(Math.ceil(size / 8)).fill(0xff));
  }

  get count(): number {
    return this.#count;
  }

  get complete(): boolean {
    return this.#count === this.size;
  }

  has(i: number): boolean {
    return ((this.#bits[i >> 3] ?? 0) & (1 << (i & 7))) !== 0;
  }

  /** True when the bit was not set before. */
  set(i: number): boolean {
    if (i < 0 || i >= this.size || this.has(i)) return false;
    this.#bits[i >> 3] = (this.#bits[i >> 3] ?? 0) | (1 << (i & 7));
    this.#count++;
    return true;
  }

  /** True when the bit was set before. */
  clear(i: number): boolean {
    if (!this.has(i)) return false;
    this.#bits[i >> 3] = (this.#bits[i >> 3] ?? 0) & ~(1 << (i & 7));
    this.#count--;
    return true;
  }

  /** Little-endian bits; a copy. */
  toBytes(): Uint8Array {
    return this.#bits.slice();
  }
}
