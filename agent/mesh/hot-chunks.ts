/**
 * Verified chunks of the last seconds, in memory: while an artifact spreads, what has just come is
 * what others ask for next, and they need not wait for the disk nor it be hashed again.
 */
import type { Clock } from "../../shared/runtime/clock.ts";

/** Raised: more is answered from memory, which the agent holds while transfers run. */
const BYTES_MAX = 32 << 20;
const LIFE_MS = 5_000;

export class HotChunks {
  readonly #clock: Clock;
  /** In order of arrival or last use. */
  readonly #entries = new Map<string, { bytes: Uint8Array; untilMs: number }>();
  #bytes = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get(hash: string): Uint8Array | null {
    const entry = this.#entries.get(hash);
    if (!entry) return null;
    this.put(hash, entry.bytes);
    return entry.bytes;
  }

  /** Takes bytes that were verified and that nobody changes from now on. */
  put(hash: string, bytes: Uint8Array): void {
    this.#drop(hash);
    this.#entries.set(hash, { bytes, untilMs: this.#clock.monotonic() + LIFE_MS });
    this.#bytes += bytes.length;
    for (const oldest of this.#entries.keys()) {
      if (this.#bytes <= BYTES_MAX) return;
      this.#drop(oldest);
    }
  }

  /** Forgets what was of no use for a while. */
  tick(): void {
    const nowMs = this.#clock.monotonic();
    for (const [hash, { untilMs }] of this.#entries) {
      if (untilMs > nowMs) return;
      this.#drop(hash);
    }
  }

  #drop(hash: string): void {
    const entry = this.#entries.get(hash);
    if (!entry) return;
    this.#entries.delete(hash);
    this.#bytes -= entry.bytes.length;
  }
}
