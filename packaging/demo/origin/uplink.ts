/**
 * A link that carries so many bytes a second, whoever asks: a token bucket over all connections.
 * Who takes a slice is told how long to wait before sending it; slices go in the order of asking,
 * so that connections share the link evenly.
 */
export class Uplink {
  readonly #bytesPerMs: number;
  readonly #burstMs: number;
  #freeMs = Number.NEGATIVE_INFINITY;

  constructor(bytesPerSecond: number, { burstMs = 50 }: { burstMs?: number } = {}) {
    this.#bytesPerMs = bytesPerSecond / 1_000;
    this.#burstMs = burstMs;
  }

  /** Milliseconds until `bytes` may be sent. They count as sent from then on. */
  take(bytes: number, nowMs: number): number {
    this.#freeMs = Math.max(this.#freeMs, nowMs - this.#burstMs);
    this.#freeMs += bytes / this.#bytesPerMs;
    return Math.max(0, this.#freeMs - nowMs);
  }
}
