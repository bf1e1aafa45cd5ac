/**
 * Simulated time as a queue of events: a binary heap in order of time, then of making, behind the
 * `Clock` that the product takes. Far cheaper than `SimulatedClock` for runs of a million events:
 * nothing is awaited unless an event says that promises have to settle.
 */
import type { Clock } from "../../shared/runtime/clock.ts";

type Entry = { atMs: number; order: number; fn: (() => void) | null };

export class EventQueue implements Clock {
  #nowMs: number;
  #order = 0;
  #heap: Entry[] = [];
  #settle = false;
  /** Events carried out so far. */
  steps = 0;

  constructor(startMs = 0) {
    this.#nowMs = startMs;
  }

  now(): number {
    return this.#nowMs;
  }

  monotonic(): number {
    return this.#nowMs;
  }

  /** Entries waiting, cancelled ones included until their time. */
  get size(): number {
    return this.#heap.length;
  }

  /** Carries `fn` out in `ms`; costs less than `after`, and cannot be cancelled. */
  in(ms: number, fn: () => void): void {
    this.#push({ atMs: this.#nowMs + Math.max(0, ms), order: this.#order++, fn });
  }

  after(ms: number, fn: () => void): () => void {
    const entry: Entry = { atMs: this.#nowMs + Math.max(0, ms), order: this.#order++, fn: null };
    entry.fn = () => {
      this.#settle = true;
      fn();
    };
    this.#push(entry);
    return () => {
      entry.fn = null;
    };
  }

  sleep(ms: number, { signal }: { signal?: AbortSignal } = {}): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const abort = () => {
        cancel();
        reject(signal?.reason);
      };
      const cancel = this.after(ms, () => {
        signal?.removeEventListener("abort", abort);
        resolve();
      });
      signal?.addEventListener("abort", abort, { once: true });
    });
  }

  /** The event under way touched promises: let them settle before the next one. */
  settleNext(): void {
    this.#settle = true;
  }

  /** Carries out what is due until then; `check` runs after every event. */
  async run(untilMs: number, check: () => void): Promise<void> {
    for (;;) {
      const entry = this.#heap[0];
      if (entry === undefined || entry.atMs > untilMs) break;
      this.#pop();
      if (entry.fn === null) continue;
      this.#nowMs = Math.max(this.#nowMs, entry.atMs);
      this.steps++;
      entry.fn();
      if (this.#settle) {
        this.#settle = false;
        await new Promise(setImmediate);
      }
      check();
    }
    this.#nowMs = Math.max(this.#nowMs, untilMs);
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let i = heap.length;
    heap.push(entry);
    while (i > 0) {
      const up = (i - 1) >> 1;
      const parent = heap[up];
      if (parent === undefined || before(parent, entry)) break;
      heap[i] = parent;
      i = up;
    }
    heap[i] = entry;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let i = 0;
    for (;;) {
      let down = 2 * i + 1;
      let child = heap[down];
      if (child === undefined) break;
      const right = heap[down + 1];
      if (right !== undefined && before(right, child)) {
        child = right;
        down++;
      }
      if (before(last, child)) break;
      heap[i] = child;
      i = down;
    }
    heap[i] = last;
  }
}

function before(a: Entry, b: Entry): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}
