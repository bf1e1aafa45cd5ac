/**
 * A limit of bytes per second that holds for any second, wherever it begins: what passed in it is
 * never more than the rates in force during it allow. A token bucket alone lets its burst through
 * on top; here a late timer may be made up for within a second that is not full yet.
 */

/**
 * So much saved up may go at once: what a busy machine is late by. Raised: it is made up for more
 * often; lowered: less is over where a rate changes just after.
 */
const BURST_MS = 40;
/** The second is watched in parts of so many milliseconds: smaller uses more of the rate. */
const SLOT_MS = 10;
const SLOTS = 1_000 / SLOT_MS;

export class RateLimit {
  #rate = 0;
  #atMs: number;
  #tokens = 0;
  #slot: number;
  /** By slot, one more than a second has: a window that begins within a slot counts all of it. */
  readonly #passed = new Float64Array(SLOTS + 1);
  readonly #allowed = new Float64Array(SLOTS + 1);
  #passedSum = 0;
  #allowedSum = 0;

  constructor(nowMs: number) {
    this.#atMs = nowMs;
    this.#slot = Math.floor(nowMs / SLOT_MS);
  }

  get bytesPerSecond(): number {
    return this.#rate;
  }

  set(bytesPerSecond: number, nowMs: number): void {
    this.#advance(nowMs);
    this.#rate = bytesPerSecond;
    this.#tokens = Math.min(this.#tokens, this.#burst);
  }

  /** Whole milliseconds until so many bytes may pass, if nothing else does; infinite at rate 0. */
  waitMs(bytes: number, nowMs: number): number {
    this.#advance(nowMs);
    if (this.#rate <= 0) return Number.POSITIVE_INFINITY;
    const short = Math.min(bytes, this.#burst) - this.#tokens;
    if (short > 0) return Math.ceil((short * 1000) / this.#rate);
    const full = this.#passedSum + bytes > this.#allowedSum - this.#oldestAllowed;
    // More than a second allows passes alone, once in a second.
    const alone = bytes > this.#rate && this.#passedSum === 0;
    return full && !alone ? Math.max(1, Math.ceil((this.#slot + 1) * SLOT_MS - nowMs)) : 0;
  }

  pass(bytes: number, nowMs: number): void {
    this.#advance(nowMs);
    this.#tokens -= bytes;
    this.#add(this.#passed, bytes);
    this.#passedSum += bytes;
  }

  get #burst(): number {
    return (this.#rate * BURST_MS) / 1000;
  }

  get #oldestAllowed(): number {
    return this.#allowed[(this.#slot + 1) % (SLOTS + 1)] ?? 0;
  }

  #advance(nowMs: number): void {
    const elapsedMs = nowMs - this.#atMs;
    if (elapsedMs <= 0) return;
    this.#tokens = Math.min(this.#tokens + (this.#rate * elapsedMs) / 1000, this.#burst);
    const last = Math.floor(nowMs / SLOT_MS);
    // Longer ago than a second is the same as a second ago.
    const first = Math.max(this.#slot, last - SLOTS - 1);
    if (first > this.#slot) this.#atMs = first * SLOT_MS;
    this.#slot = first;
    for (;;) {
      const untilMs = Math.min(nowMs, (this.#slot + 1) * SLOT_MS);
      const allowed = (this.#rate * Math.max(0, untilMs - this.#atMs)) / 1000;
      this.#add(this.#allowed, allowed);
      this.#allowedSum += allowed;
      this.#atMs = untilMs;
      if (this.#slot >= last) break;
      this.#begin(this.#slot + 1);
    }
    this.#atMs = nowMs;
  }

  #begin(slot: number): void {
    this.#slot = slot;
    const at = slot % (SLOTS + 1);
    this.#passedSum -= this.#passed[at] ?? 0;
    this.#allowedSum -= this.#allowed[at] ?? 0;
    this.#passed[at] = 0;
    this.#allowed[at] = 0;
  }

  #add(slots: Float64Array, bytes: number): void {
    const at = this.#slot % (SLOTS + 1);
    slots[at] = (slots[at] ?? 0) + bytes;
  }
}
