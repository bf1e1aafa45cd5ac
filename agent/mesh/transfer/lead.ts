/**
 * How far a host that fetches from outside is ahead of the others that want the same: what it alone
 * has would be fetched once more if it died. So it stays a small part ahead, unless the others do
 * not follow: then it goes on, further each time, for it must not wait for ever.
 */
import type { Bitmap } from "./bitmap.ts";

/** Raised: a fetcher that dies costs more; lowered: fetching waits for spreading. */
const RATIO = 0.04;
const UNITS_MIN = 2;
const BYTES_MAX = 64 << 20;
/** Without anybody following for so long, twice as much is allowed. */
const PATIENCE_MS = 2_000;

export class Lead {
  readonly #units = new Map<number, number>();
  readonly #totalBytes: number;
  #bytes = 0;
  #largestUnit = 1;
  #allowance = 1;
  #followedMs: number;

  constructor(totalBytes: number, nowMs: number) {
    this.#totalBytes = totalBytes;
    this.#followedMs = nowMs;
  }

  /** A unit came from outside. */
  gained(unit: number, bytes: number, nowMs: number): void {
    if (this.#units.size === 0) this.#followedMs = nowMs;
    this.#units.set(unit, bytes);
    this.#bytes += bytes;
  }

  /** Another host has it too. */
  followed(unit: number, nowMs: number): void {
    const bytes = this.#units.get(unit);
    if (bytes === undefined) return;
    this.#units.delete(unit);
    this.#bytes -= bytes;
    this.#followedMs = nowMs;
    this.#allowance = 1;
  }

  heard(have: Bitmap, nowMs: number): void {
    for (const unit of this.#units.keys()) if (have.has(unit)) this.followed(unit, nowMs);
  }

  /** Whether a unit may be fetched while so many bytes are on their way. */
  allows(bytes: number, underWay: number, nowMs: number): boolean {
    this.#largestUnit = Math.max(this.#largestUnit, bytes);
    if (this.#units.size > 0 && nowMs - this.#followedMs >= PATIENCE_MS) {
      this.#followedMs = nowMs;
      this.#allowance *= 2;
    }
    const part = Math.min(BYTES_MAX, RATIO * this.#totalBytes);
    const most = this.#allowance * Math.max(UNITS_MIN * this.#largestUnit, part);
    return this.#bytes + underWay + bytes <= most;
  }
}
