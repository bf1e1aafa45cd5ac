/**
 * Memory-time: what environments hold, integrated over the demand clock. An environment counts with
 * its declared `resources.memoryMb` from warming until its process is gone, split by whether a plan
 * listed it at that moment.
 */
export type MemoryTime = {
  workload: string;
  category: string;
  plannedByteMs: number;
  unplannedByteMs: number;
};

/** One environment's meter; off until `set`. */
export class Meter {
  readonly #ledger: MemoryLedger;
  readonly #workload: string;
  readonly #category: string;
  #atMs = 0;
  #bytes = 0;
  #planned = false;
  #sinceOutcome = 0;

  constructor(ledger: MemoryLedger, workload: string, category: string) {
    this.#ledger = ledger;
    this.#workload = workload;
    this.#category = category;
  }

  /** From now on it holds `bytes`, for a plan or not. */
  set(bytes: number, planned: boolean, nowMs: number): void {
    this.settle(nowMs);
    this.#bytes = bytes;
    this.#planned = planned;
  }

  /** Books what was held up to now. */
  settle(nowMs: number): void {
    const byteMs = this.#bytes * Math.max(0, nowMs - this.#atMs);
    this.#atMs = nowMs;
    if (byteMs === 0) return;
    this.#sinceOutcome += byteMs;
    this.#ledger.add(this.#workload, this.#category, this.#planned, byteMs);
  }

  /** Byte-milliseconds since the last call: what the next outcome row carries. */
  takeSinceOutcome(nowMs: number): number {
    this.settle(nowMs);
    const byteMs = this.#sinceOutcome;
    this.#sinceOutcome = 0;
    return byteMs;
  }
}

const ROWS_MAX = 50_000;

/** What all meters of a pool booked since it was taken last. */
export class MemoryLedger {
  #rows = new Map<string, MemoryTime>();
  /** Bookings lost because nobody took the rows. */
  dropped = 0;

  add(workload: string, category: string, planned: boolean, byteMs: number): void {
    const key = `${workload}/${category}`;
    if (this.#rows.size >= ROWS_MAX && !this.#rows.has(key)) {
      this.dropped++;
      return;
    }
    const row = this.#rows.get(key) ?? {
      workload,
      category,
      plannedByteMs: 0,
      unplannedByteMs: 0,
    };
    if (planned) row.plannedByteMs += byteMs;
    else row.unplannedByteMs += byteMs;
    this.#rows.set(key, row);
  }

  take(): MemoryTime[] {
    const rows = [...this.#rows.values()];
    this.#rows = new Map();
    return rows;
  }
}
