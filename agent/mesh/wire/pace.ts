/** Holds those who send or read to a rate, in the order they came, slice by slice. */
import type { Clock } from "../../../shared/runtime/clock.ts";
import { RateLimit } from "./rate-limit.ts";

/** Slices of so many milliseconds: smaller is smoother and costs more. */
const SLICE_MS = 10;
const SLICE_BYTES_MIN = 4 << 10;

export class Pace {
  readonly #clock: Clock;
  #limit: RateLimit | null = null;
  #last: Promise<void> = Promise.resolve();
  #waiting = 0;
  #wake: () => void = () => {};
  /** When somebody last had to wait. */
  waitedMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Bytes per second from now on, also for who waits already; infinite: nobody waits. */
  set(bytesPerSecond: number): void {
    const nowMs = this.#clock.monotonic();
    if (bytesPerSecond === Number.POSITIVE_INFINITY) this.#limit = null;
    else {
      this.#limit ??= new RateLimit(nowMs);
      this.#limit.set(bytesPerSecond, nowMs);
    }
    this.#wake();
  }

  /** How much to send at once, at most `max`. */
  sliceBytes(max: number): number {
    if (!this.#limit) return max;
    const slice = (this.#limit.bytesPerSecond * SLICE_MS) / 1000;
    return Math.min(max, Math.max(SLICE_BYTES_MIN, Math.floor(slice)));
  }

  /** Bytes per second that may pass. */
  get bytesPerSecond(): number {
    return this.#limit?.bytesPerSecond ?? Number.POSITIVE_INFINITY;
  }

  /** Resolves when so many bytes may pass; rejects with the signal's reason, and nothing passed. */
  async wait(bytes: number, signal?: AbortSignal): Promise<void> {
    if (!this.#limit || (this.#waiting === 0 && this.#passes(bytes))) return;
    this.#waiting++;
    const before = this.#last;
    const turn = Promise.withResolvers<void>();
    this.#last = turn.promise;
    const aborted = Promise.withResolvers<void>();
    const onAbort = () => aborted.resolve();
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      await Promise.race([before, aborted.promise]);
      for (;;) {
        signal?.throwIfAborted();
        if (this.#passes(bytes)) return;
        const nowMs = this.#clock.monotonic();
        this.waitedMs = nowMs;
        await this.#sleep(this.#limit?.waitMs(bytes, nowMs) ?? 0, aborted.promise);
      }
    } finally {
      this.#waiting--;
      signal?.removeEventListener("abort", onAbort);
      before.then(turn.resolve);
    }
  }

  #passes(bytes: number): boolean {
    const nowMs = this.#clock.monotonic();
    const may = !this.#limit || this.#limit.waitMs(bytes, nowMs) <= 0;
    if (may) this.#limit?.pass(bytes, nowMs);
    return may;
  }

  async #sleep(ms: number, aborted: Promise<void>): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    const cancel = ms < Number.POSITIVE_INFINITY ? this.#clock.after(ms, resolve) : null;
    await Promise.race([promise, aborted]);
    cancel?.();
  }
}
