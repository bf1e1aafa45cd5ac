/**
 * Memory for chunks, used again and again: what is allocated anew for every chunk makes the garbage
 * collector walk the whole heap every some thirty megabytes, and costs the kernel a zeroed page for
 * each 4 KiB; together they took more CPU than hashing and encrypting the bytes.
 *
 * Whoever takes or shares bytes gives them back once when it looks at them no more; the last to do
 * so frees them. Who is not sure does not: the collector has them then, and nobody else before.
 */
import type { Clock } from "../../../shared/runtime/clock.ts";

/** Of what was given back, this is kept. Raised: more is held while chunks move. */
const FREE_BYTES_MAX = 32 << 20;
/** After so long in which nothing was taken all of it is let go. */
const LIFE_MS = 5_000;
/** Less than this is not worth keeping. */
const POOLED_BYTES_MIN = 16 << 10;
/** Sizes between one power of two and the next: at most a fifth of a buffer lies idle. */
const STEPS = 4;

export class BufferPool {
  readonly #clock: Clock;
  /** By capacity. */
  readonly #free = new Map<number, ArrayBuffer[]>();
  /** How many look at what was taken. */
  readonly #users = new WeakMap<ArrayBufferLike, number>();
  #takenMs = Number.NEGATIVE_INFINITY;
  freeBytes = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** So many bytes, with anything in them. */
  take(bytes: number): Uint8Array {
    if (bytes < POOLED_BYTES_MIN) return Buffer.allocUnsafeSlow(bytes);
    this.#takenMs = this.#clock.monotonic();
    const capacity = capacityFor(bytes);
    const memory = this.#reuse(capacity) ?? Buffer.allocUnsafeSlow(capacity).buffer;
    this.#users.set(memory, 1);
    return Buffer.from(memory, 0, bytes);
  }

  /** One more looks at these bytes, or at a part of them. */
  share({ buffer }: Uint8Array): void {
    const users = this.#users.get(buffer);
    if (users !== undefined) this.#users.set(buffer, users + 1);
  }

  /** One fewer does. Bytes that were not taken here are left to the collector. */
  giveBack({ buffer }: Uint8Array): void {
    const users = this.#users.get(buffer);
    if (users === undefined || !(buffer instanceof ArrayBuffer)) return;
    if (users > 1) {
      this.#users.set(buffer, users - 1);
      return;
    }
    this.#users.delete(buffer);
    if (this.freeBytes + buffer.byteLength > FREE_BYTES_MAX) return;
    this.freeBytes += buffer.byteLength;
    const alike = this.#free.get(buffer.byteLength);
    if (alike) alike.push(buffer);
    else this.#free.set(buffer.byteLength, [buffer]);
  }

  /** Lets go of what was of no use for a while. */
  tick(): void {
    if (this.freeBytes === 0 || this.#clock.monotonic() - this.#takenMs < LIFE_MS) return;
    this.#free.clear();
    this.freeBytes = 0;
  }

  /** The smallest that is large enough, but not twice as large. */
  #reuse(capacity: number): ArrayBuffer | undefined {
    for (let size = capacity; size < 2 * capacity; size = capacityFor(size + 1)) {
      const memory = this.#free.get(size)?.pop();
      if (!memory) continue;
      this.freeBytes -= size;
      return memory;
    }
    return undefined;
  }
}

function capacityFor(bytes: number): number {
  const step = 2 ** Math.floor(Math.log2(bytes - 1)) / STEPS;
  return Math.ceil(bytes / step) * step;
}
