/**
 * Links as queues: a sender's uplink, the thin link between two sites if there is one, and the
 * receiver's downlink each carry one thing after the other at their rate, cut through, so that a
 * thing that finds all free takes as long as on the slowest. What a receiver has asked for bounds
 * what waits before its downlink.
 */
export class Link {
  readonly bytesPerMs: number;
  freeAtMs = 0;
  bytes = 0;

  constructor(bytesPerSecond: number) {
    this.bytesPerMs = bytesPerSecond / 1000;
  }

  /** When the last byte has passed, if the first comes at `firstMs` and the last at `lastMs`. */
  pass(bytes: number, firstMs: number, lastMs: number): number {
    this.bytes += bytes;
    const endMs = Math.max(lastMs, Math.max(firstMs, this.freeAtMs) + bytes / this.bytesPerMs);
    this.freeAtMs = endMs;
    return endMs;
  }

  /** Small messages pass between the large ones and take their room. */
  carry(bytes: number, nowMs: number): void {
    this.bytes += bytes;
    this.freeAtMs = Math.max(nowMs, this.freeAtMs) + bytes / this.bytesPerMs;
  }
}
