/**
 * Verified chunks of the last seconds, in memory: while an artifact spreads, what has just come is
 * what others ask for next, and they need not wait for the disk nor it be hashed again.
 */
import type { Clock } from "../../../shared/runtime/clock.ts";
import { BufferPool } from "./buffer-pool.ts";

/** Raised: more is answered from memory, which the agent holds while transfers run. */
const BYTES_MAX = 32 << 20;
const LIFE_MS = 5_000;

export class HotChunks {
  readonly #clock: Clock;
  /** Of the memory for all chunks. */
  readonly pool: BufferPool;
  /** In order of arrival or last use. */
  readonly #entries = new Map<string, { bytes: Uint8Array; untilMs: number }>();
  #bytes = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.pool = new BufferPool(clock);
  }

  /** Whoever gets it shares it: see the pool. */
  get(hash: string): Uint8Array | null {
    const entry = this.#entries.get(hash);
    if (!entry) return null;
    this.#entries.delete(hash);
    this.#keep(hash, entry.bytes);
    this.pool.share(entry.bytes);
    return entry.bytes;
  }

  /** Takes over bytes that were verified and that nobody changes from now on. */
  put(hash: string, bytes: Uint8Array): void {
    this.#drop(hash);
    this.#keep(hash, bytes);
    this.#bytes += bytes.length;
    for (const oldest of this.#entries.keys()) {
      if (this.#bytes <= BYTES_MAX) return;
      this.#drop(oldest);
    }
  }

  /** Forgets what was of no use for a while. */
  tick(): void {
    this.pool.tick();
    const nowMs = this.#clock.monotonic();
    for (const [hash, { untilMs }] of this.#entries) {
      if (untilMs > nowMs) return;
      this.#drop(hash);
    }
  }

  #keep(hash: string, bytes: Uint8Array): void {
    this.#entries.set(hash, { bytes, untilMs: this.#clock.monotonic() + LIFE_MS });
  }

  #drop(hash: string): void {
    const entry = this.#entries.get(hash);
    if (!entry) return;
    this.#entries.delete(hash);
    this.#bytes -= entry.bytes.length;
    this.pool.giveBack(entry.bytes);
  }
}
