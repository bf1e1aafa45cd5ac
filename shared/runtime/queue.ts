/** A buffer with a capacity, an overflow policy its maker names, and a drop counter. */
export type Overflow = "reject" | "drop-oldest" | "drop-newest";

export class BoundedQueue<T> {
  readonly capacity: number;
  readonly overflow: Overflow;
  dropped = 0;
  #items: T[] = [];
  #head = 0;
  #waiting: ((value: undefined) => void)[] = [];

  constructor(options: { capacity: number; overflow: Overflow }) {
    this.capacity = options.capacity;
    this.overflow = options.overflow;
  }

  get size(): number {
    return this.#items.length - this.#head;
  }

  /** False when the item was not taken. */
  push(item: T): boolean {
    if (this.size >= this.capacity) {
      if (this.overflow !== "drop-oldest") {
        this.dropped++;
        return false;
      }
      this.shift();
      this.dropped++;
    }
    this.#items.push(item);
    for (const wake of this.#waiting.splice(0)) wake(undefined);
    return true;
  }

  shift(): T | undefined {
    const item = this.#items[this.#head];
    if (this.size === 0) return undefined;
    this.#head++;
    if (this.#head > 64 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }

  /** Everything waiting, oldest first; the queue is empty afterwards. */
  drain(): T[] {
    const items = this.#items.slice(this.#head);
    this.#items = [];
    this.#head = 0;
    return items;
  }

  /** Resolves when something is there; throws the signal's reason when it aborts first. */
  async ready({ signal }: { signal: AbortSignal }): Promise<void> {
    while (this.size === 0) {
      signal.throwIfAborted();
      const { promise, resolve } = Promise.withResolvers<undefined>();
      const onAbort = () => resolve(undefined);
      this.#waiting.push(resolve);
      signal.addEventListener("abort", onAbort, { once: true });
      await promise;
      signal.removeEventListener("abort", onAbort);
      this.#waiting = this.#waiting.filter((wake) => wake !== resolve);
    }
  }
}
