/**
 * What this host sends to all peers shares one link: while a request of a peer waits for an answer,
 * background answers make way, all but a small part that keeps them from starving. A peer that asks
 * and then does not read holds nobody up.
 */
import type { Clock } from "../../shared/runtime/clock.ts";

/** Background bytes for each foreground byte; what a request loses by it is less than this. */
const BACKGROUND_SHARE = 0.02;
/** Without a foreground byte for so long, background goes on. */
const STALLED_MS = 500;

export class Uplink {
  readonly #clock: Clock;
  #foreground = 0;
  #background = 0;
  #movedMs = -Infinity;
  #waiting: (() => void)[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** An answer begins; call what it gives when the answer has ended. */
  begin(foreground: boolean): () => void {
    if (!foreground) return () => {};
    this.#movedMs = this.#clock.monotonic();
    if (this.#foreground++ === 0) this.#background = 0;
    return () => {
      this.#foreground--;
      if (this.#foreground === 0) this.#wake();
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
    while (this.#foreground > 0 && this.#background <= 0) {
      const stalledMs = this.#movedMs + STALLED_MS - this.#clock.monotonic();
      if (stalledMs <= 0) return;
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting.push(resolve);
      const cancel = this.#clock.after(stalledMs, resolve);
      await promise;
      cancel();
    }
    if (this.#foreground > 0) this.#background -= bytes;
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}
