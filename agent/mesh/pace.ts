/** Holds those who send or read to a rate, in the order they came, slice by slice. */
import type { Clock } from "../../shared/runtime/clock.ts";
import { RateLimit } from "./rate-limit.ts";

/** Slices of so many milliseconds: smaller is smoother and costs more. */
const SLICE_MS = 10;
const SLICE_BYTES_MIN = 1 << 10;

export class Pace {
  readonly #clock: Clock;
  #limit: RateLimit | null = null;
  #last: Promise<void> = Promise.resolve();
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
    if (!this.#limit) return;
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
        const nowMs = this.#clock.monotonic();
        const waitMs = this.#limit?.waitMs(bytes, nowMs) ?? 0;
        if (waitMs <= 0) break;
        this.waitedMs = nowMs;
        await this.#sleep(waitMs, aborted.promise);
      }
      this.#limit?.pass(bytes, this.#clock.monotonic());
    } finally {
      signal?.removeEventListener("abort", onAbort);
      before.then(turn.resolve);
    }
  }

  async #sleep(ms: number, aborted: Promise<void>): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    const cancel = ms < Number.POSITIVE_INFINITY ? this.#clock.after(ms, resolve) : null;
    await Promise.race([promise, aborted]);
    cancel?.();
  }
}
