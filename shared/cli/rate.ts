/** How far a transfer is, how fast it goes lately, and when it will be done at that rate. */
import { bytes, duration } from "./text.ts";

/** The rate is of so long: shorter trembles, longer is slow to notice a change. */
const WINDOW_MS = 5_000;

export class TransferText {
  /** What was done when, oldest first; the first is about a window old. */
  #past: { atMs: number; done: number }[] = [];

  /** `size` 0: not known. */
  at(nowMs: number, done: number, size: number): string {
    const last = this.#past.at(-1);
    if (!last || nowMs - last.atMs >= WINDOW_MS / 50) this.#past.push({ atMs: nowMs, done });
    while ((this.#past[1]?.atMs ?? nowMs) <= nowMs - WINDOW_MS) this.#past.shift();
    const parts = [size > 0 ? `${bytes(done)} of ${bytes(size)}` : bytes(done)];
    const first = this.#past[0];
    const perMs = first && nowMs > first.atMs ? (done - first.done) / (nowMs - first.atMs) : 0;
    if (perMs > 0) parts.push(`${bytes(perMs * 1000)}/s`);
    if (perMs > 0 && size > done) parts.push(`${duration((size - done) / perMs)} left`);
    return parts.join(", ");
  }
}
