/** What is to happen, by time: a binary heap in typed arrays, for some hundred million events. */

export type Happening = {
  kind: number;
  a: number;
  b: number;
  what: unknown;
};

export class Events {
  #times = new Float64Array(1 << 12);
  /** Rises with each event, so that those of one moment come in the order they were made. */
  #orders = new Float64Array(1 << 12);
  #slots = new Int32Array(1 << 12);
  #kinds = new Uint8Array(1 << 12);
  #as = new Int32Array(1 << 12);
  #bs = new Int32Array(1 << 12);
  #whats: unknown[] = [];
  readonly #free: number[] = [];
  #size = 0;
  #order = 0;
  nowMs = 0;

  get size(): number {
    return this.#size;
  }

  /** How many there were so far. */
  get made(): number {
    return this.#order;
  }

  add(atMs: number, kind: number, a: number, b = 0, what: unknown = null): void {
    if (this.#size === this.#times.length) this.#grow();
    const slot = this.#free.pop() ?? this.#size;
    this.#kinds[slot] = kind;
    this.#as[slot] = a;
    this.#bs[slot] = b;
    this.#whats[slot] = what;
    this.#up(this.#size++, Math.max(atMs, this.nowMs), this.#order++, slot);
  }

  /** Takes the next one and moves the time to it; false when there is none. */
  next(into: Happening): boolean {
    if (this.#size === 0) return false;
    const slot = this.#slots[0] ?? 0;
    this.nowMs = this.#times[0] ?? 0;
    into.kind = this.#kinds[slot] ?? 0;
    into.a = this.#as[slot] ?? 0;
    into.b = this.#bs[slot] ?? 0;
    into.what = this.#whats[slot];
    this.#whats[slot] = null;
    this.#free.push(slot);
    const last = --this.#size;
    if (last > 0)
      this.#down(this.#times[last] ?? 0, this.#orders[last] ?? 0, this.#slots[last] ?? 0);
    return true;
  }

  #before(i: number, time: number, order: number): boolean {
    const other = this.#times[i] ?? 0;
    return other < time || (other === time && (this.#orders[i] ?? 0) < order);
  }

  #put(i: number, time: number, order: number, slot: number): void {
    this.#times[i] = time;
    this.#orders[i] = order;
    this.#slots[i] = slot;
  }

  #move(from: number, to: number): void {
    this.#put(to, this.#times[from] ?? 0, this.#orders[from] ?? 0, this.#slots[from] ?? 0);
  }

  #up(from: number, time: number, order: number, slot: number): void {
    let i = from;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (this.#before(parent, time, order)) break;
      this.#move(parent, i);
      i = parent;
    }
    this.#put(i, time, order, slot);
  }

  #down(time: number, order: number, slot: number): void {
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= this.#size) break;
      const right = child + 1;
      if (right < this.#size) {
        const [t, o] = [this.#times[child] ?? 0, this.#orders[child] ?? 0];
        if (this.#before(right, t, o)) child = right;
      }
      if (!this.#before(child, time, order)) break;
      this.#move(child, i);
      i = child;
    }
    this.#put(i, time, order, slot);
  }

  #grow(): void {
    const length = this.#times.length * 2;
    this.#times = grown(this.#times, new Float64Array(length));
    this.#orders = grown(this.#orders, new Float64Array(length));
    this.#slots = grown(this.#slots, new Int32Array(length));
    this.#kinds = grown(this.#kinds, new Uint8Array(length));
    this.#as = grown(this.#as, new Int32Array(length));
    this.#bs = grown(this.#bs, new Int32Array(length));
  }
}

function grown<T extends Float64Array | Int32Array | Uint8Array>(old: T, larger: T): T {
  larger.set(old);
  return larger;
}
