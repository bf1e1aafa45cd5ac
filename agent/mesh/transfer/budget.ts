/** Stands for "no limit": sums of it stay finite. */
const RATE_MAX = 1e12;

/**
 * A token bucket for bytes. Taking may overdraw by one chunk, so that a chunk larger than the
 * bucket can pass: over any span T at most rate·T + burst + one chunk is taken.
 */
export class Budget {
  readonly #burstMs: number;
  #rate = 0;
  #tokens = 0;
  #atMs = 0;

  constructor(options: { burstMs: number }) {
    this.#burstMs = options.burstMs;
  }

  get rate(): number {
    return this.#rate;
  }

  /** Bytes per second from now on; what was saved up above the new burst is lost. */
  setRate(bytesPerSecond: number, nowMs: number): void {
    this.#refill(nowMs);
    this.#rate = Math.min(Math.max(0, bytesPerSecond), RATE_MAX);
    this.#tokens = Math.min(this.#tokens, this.burstBytes);
  }

  get burstBytes(): number {
    return (this.#rate * this.#burstMs) / 1000;
  }

  /** What may be taken now without overdrawing. */
  get bytes(): number {
    return this.#tokens;
  }

  /** Whether so much, or as much as is ever saved up, may be taken now. */
  open(nowMs: number, bytes = 0): boolean {
    this.#refill(nowMs);
    const enough = this.#tokens >= Math.min(bytes, this.burstBytes);
    return this.#rate > 0 && this.#tokens > 0 && enough;
  }

  take(bytes: number): void {
    this.#tokens -= bytes;
  }

  /** Gives back what was taken and then not spent. */
  refund(bytes: number): void {
    this.#tokens = Math.min(this.#tokens + bytes, this.burstBytes);
  }

  #refill(nowMs: number): void {
    const elapsedMs = Math.max(0, nowMs - this.#atMs);
    this.#atMs = nowMs;
    this.#tokens = Math.min(this.#tokens + (this.#rate * elapsedMs) / 1000, this.burstBytes);
  }
}
