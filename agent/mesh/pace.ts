/** Holds what is sent to a rate, slice by slice: what was not sent in time may not come in a burst. */
import type { Clock } from "../../shared/runtime/clock.ts";

/** A timer comes late by some milliseconds; so much may be made up for. */
const CATCH_UP_MS = 8;
/** Slices of so many milliseconds: smaller is smoother and costs more. */
const SLICE_MS = 10;
const SLICE_BYTES_MIN = 4 << 10;
/** Slower than this nobody is made to wait. */
const BYTES_PER_SECOND_MIN = 1024;

export class Pace {
  readonly #clock: Clock;
  #bytesPerSecond = Infinity;
  #nextMs = -Infinity;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  set(bytesPerSecond: number): void {
    this.#bytesPerSecond = Math.max(BYTES_PER_SECOND_MIN, bytesPerSecond);
  }

  /** How much to send at once, at most `max`. */
  sliceBytes(max: number): number {
    const slice = (this.#bytesPerSecond * SLICE_MS) / 1000;
    return Math.min(max, Math.max(SLICE_BYTES_MIN, Math.floor(slice)));
  }

  /** Resolves when so many bytes may be sent. */
  async wait(bytes: number): Promise<void> {
    if (this.#bytesPerSecond === Infinity) return;
    const nowMs = this.#clock.monotonic();
    const atMs = Math.max(nowMs - CATCH_UP_MS, this.#nextMs);
    this.#nextMs = atMs + (bytes * 1000) / this.#bytesPerSecond;
    if (atMs > nowMs) await this.#clock.sleep(atMs - nowMs);
  }
}
