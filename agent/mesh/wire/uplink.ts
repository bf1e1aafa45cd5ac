/**
 * What this host sends to all peers shares one link: while a request of a peer waits for an answer,
 * background answers make way, all but a small part that keeps them from starving. A peer that asks
 * and then does not read holds nobody up.
 */
import type { Clock } from "../../../shared/runtime/clock.ts";

/** Background bytes for each foreground byte; what a request loses by it is less than this. */
const BACKGROUND_SHARE = 0.01;
/** Without a foreground byte for so long, background goes on. */
const STALLED_MS = 500;
/** So long after a foreground answer the next one is waited for. */
const LINGER_MS = 100;

export class Uplink {
  readonly #clock: Clock;
  #foreground = 0;
  #background = 0;
  #movedMs = -Infinity;
  #waiting: (() => void)[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** A peer's request begins to wait; call what it gives when that has ended. */
  begin(): () => void {
    const nowMs = this.#clock.monotonic();
    if (nowMs - this.#movedMs > STALLED_MS) this.#background = 0;
    this.#movedMs = nowMs;
    this.#foreground++;
    return () => {
      this.#foreground--;
      this.#wake();
    };
  }

  /** Bytes of a foreground answer were sent. */
  passed(bytes: number): void {
    this.#movedMs = this.#clock.monotonic();
    this.#background += bytes * BACKGROUND_SHARE;
    if (this.#background > 0) this.#wake();
  }

  /** Resolves when so many background bytes may go. */
  async turn(bytes: number): Promise<void> {
    for (let waitMs = this.#waitMs(); waitMs > 0; waitMs = this.#waitMs()) {
      if (this.#background > 0) {
        this.#background -= bytes;
        return;
      }
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting.push(resolve);
      const cancel = this.#clock.after(waitMs, resolve);
      await promise;
      cancel();
    }
  }

  /** Until background may go as it likes, if no foreground byte comes before. */
  #waitMs(): number {
    const patienceMs = this.#foreground > 0 ? STALLED_MS : LINGER_MS;
    return this.#movedMs + patienceMs - this.#clock.monotonic();
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}
