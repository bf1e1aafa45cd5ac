/**
 * What must always hold, checked as the run goes: each event tells what it touched, so a step
 * costs what it changed and not what the fleet is. The truth is kept here by the simulator's own
 * books (which processes live, which bytes are good), never taken from the code under test.
 */
import type { HostId, Lease } from "../../shared/domain.ts";

/** Thrown at the first thing that does not hold. */
export class Violation extends Error {
  override name = "Violation";
  readonly invariant: string;

  constructor(invariant: string, detail: string) {
    super(`${invariant}: ${detail}`);
    this.invariant = invariant;
  }
}

export const YIELD_MS = 1000;
const CHUNK_BYTES_MAX = 512 * 1024;
const BURST_MS = 250;
/** An order with work to do and nothing in its way moves within this. */
const ORDER_STUCK_MS = 240_000;

type HostBook = {
  quotaBytes: number;
  memoryBytesMax: number;
  environmentsMax: number;
  /** Declared memory of live processes. */
  memoryBytes: number;
  processes: number;
  diskBytes: number;
  lease: Lease | null;
  up: boolean;
  /** Staging: what the agent may spend now, and its leaky bucket. */
  rate: number;
  rateMs: number;
  bucketBytes: number;
  burstBytes: number;
  stoppedMs: number | null;
  /** Since when the coordinator says paused or throttled. */
  toldMs: number | null;
  /** Since when the host's CPU is over the mark. */
  peakMs: number | null;
};

export class Checker {
  readonly #now: () => number;
  readonly #fleetBudget: number;
  readonly #hosts = new Map<HostId, HostBook>();
  readonly #committed = new Set<number>();
  readonly #batches = new Set<string>();
  /** Told of each violation before it is thrown: a promise may swallow it. */
  onViolation: (violation: Violation) => void = () => {};
  /** Checks done, by invariant. */
  readonly counts = new Map<string, number>();

  constructor(now: () => number, fleetBudget: number) {
    this.#now = now;
    this.#fleetBudget = fleetBudget;
  }

  get total(): number {
    let sum = 0;
    for (const count of this.counts.values()) sum += count;
    return sum;
  }

  /** One check of an invariant. */
  holds(invariant: string, condition: boolean, detail: () => string): void {
    this.counts.set(invariant, (this.counts.get(invariant) ?? 0) + 1);
    if (condition) return;
    const violation = new Violation(invariant, detail());
    this.onViolation(violation);
    throw violation;
  }

  host(
    id: HostId,
    limits: { quotaBytes: number; memoryBytesMax: number; environmentsMax: number },
  ): void {
    this.#hosts.set(id, {
      ...limits,
      memoryBytes: 0,
      processes: 0,
      diskBytes: 0,
      lease: null,
      up: false,
      rate: 0,
      rateMs: 0,
      bucketBytes: 0,
      burstBytes: 0,
      stoppedMs: 0,
      peakMs: null,
      toldMs: null,
    });
  }

  book(id: HostId): HostBook {
    const book = this.#hosts.get(id);
    if (!book) throw new Error(`no host ${id}`);
    return book;
  }

  // ── processes ────────────────────────────────────────────────────────────────────────────

  processStarted(id: HostId, bytes: number): void {
    const book = this.book(id);
    book.memoryBytes += bytes;
    book.processes++;
    this.holds(
      "memory within budget",
      book.memoryBytes <= book.memoryBytesMax && book.processes <= book.environmentsMax,
      () =>
        `${id} runs ${book.processes} processes with ${book.memoryBytes} bytes, ` +
        `may ${book.environmentsMax} with ${book.memoryBytesMax}`,
    );
  }

  processEnded(id: HostId, bytes: number): void {
    const book = this.book(id);
    book.memoryBytes -= bytes;
    book.processes--;
  }

  requestBegins(id: HostId, key: string, proven: boolean): void {
    this.holds("no request on an unproven environment", proven, () => `${key} on ${id}`);
  }

  // ── chunks ───────────────────────────────────────────────────────────────────────────────

  chunkStored(id: HostId, hash: string, good: boolean, diskBytes: number): void {
    const book = this.book(id);
    book.diskBytes = diskBytes;
    this.holds("no chunk kept unverified", good, () => `${hash.slice(0, 8)} on ${id}`);
    this.holds(
      "disk within quota",
      diskBytes <= book.quotaBytes,
      () => `${id} holds ${diskBytes} bytes, may hold ${book.quotaBytes}`,
    );
  }

  chunkServed(id: HostId, hash: string, good: boolean): void {
    this.holds("no chunk served unverified", good, () => `${hash.slice(0, 8)} by ${id}`);
  }

  activated(id: HostId, name: string, whole: boolean): void {
    this.holds("activated whole or not at all", whole, () => `${name} on ${id}`);
  }

  // ── staging ──────────────────────────────────────────────────────────────────────────────

  agentUp(id: HostId, up: boolean): void {
    const book = this.book(id);
    book.up = up;
    book.lease = null;
    this.rateSet(id, 0);
    book.stoppedMs = this.#now();
    book.toldMs = null;
    // A new process has a new budget.
    book.bucketBytes = 0;
    book.burstBytes = 0;
  }

  rateSet(id: HostId, rate: number): void {
    const book = this.book(id);
    this.#drain(book);
    book.rate = rate;
    // What may still be taken (burst less level) goes on, up to the new burst.
    const burstBytes = (rate * BURST_MS) / 1000;
    book.bucketBytes = Math.max(0, book.bucketBytes + burstBytes - book.burstBytes);
    book.burstBytes = burstBytes;
    if (rate > 0) book.stoppedMs = null;
    else book.stoppedMs ??= this.#now();
  }

  stagingAsked(id: HostId, bytes: number): void {
    const book = this.book(id);
    this.#drain(book);
    book.bucketBytes += bytes;
    this.holds(
      "nothing staged while told to stop",
      book.rate > 0 && book.toldMs === null,
      () => `${id} asked for bytes`,
    );
    this.holds(
      "staging within the lease",
      book.bucketBytes <= book.burstBytes + CHUNK_BYTES_MAX + 1,
      () => `${id} is ${Math.round(book.bucketBytes)} bytes ahead of ${book.rate} bytes/s`,
    );
  }

  stagingRefunded(id: HostId, bytes: number): void {
    const book = this.book(id);
    book.bucketBytes = Math.max(0, book.bucketBytes - bytes);
  }

  /** The coordinator wants no staging here now, or wants it again. */
  told(id: HostId, stop: boolean): void {
    this.book(id).toldMs = stop ? (this.book(id).toldMs ?? this.#now()) : null;
  }

  /** Foreground work needs the host, or does no longer. */
  peak(id: HostId, atPeak: boolean): void {
    this.book(id).peakMs = atPeak ? (this.book(id).peakMs ?? this.#now()) : null;
  }

  stagingArrived(id: HostId): void {
    const { stoppedMs, peakMs, toldMs } = this.book(id);
    const now = this.#now();
    const lateMs = now - Math.min(stoppedMs ?? now, peakMs ?? now, toldMs ?? now);
    this.holds(
      "pre-staging yields within a second",
      lateMs <= YIELD_MS,
      () => `${id} still receives ${Math.round(lateMs)} ms after it was told to stop`,
    );
  }

  #drain(book: HostBook): void {
    const now = this.#now();
    book.bucketBytes = Math.max(0, book.bucketBytes - (book.rate * (now - book.rateMs)) / 1000);
    book.rateMs = now;
  }

  /** An agent took a lease: what all agents may spend together stays within the budget. */
  leaseTaken(id: HostId, lease: Lease | null): void {
    this.book(id).lease = lease;
    const now = this.#now();
    let sum = 0;
    for (const book of this.#hosts.values()) {
      if (!book.up || book.lease === null) continue;
      const { lease: held } = book;
      sum += now < held.expiresMs ? held.stagingBytesPerSecond : held.floorBytesPerSecond;
    }
    this.holds(
      "leases within the budget",
      sum <= this.#fleetBudget * (1 + 1e-9),
      () => `agents may spend ${Math.round(sum)} bytes/s, the budget is ${this.#fleetBudget}`,
    );
  }

  // ── routes and orders ────────────────────────────────────────────────────────────────────

  routed(key: string, host: HostId, proven: boolean): void {
    this.holds("no route without a passing verdict", proven, () => `${key} to ${host}`);
  }

  reportedProven(id: HostId, key: string, proven: boolean): void {
    this.holds("agents report what is true", proven, () => `${key} on ${id} is not proven`);
  }

  versionRises(what: string, before: number, next: number): void {
    this.holds("versions only rise", next >= before, () => `${what} ${before} and then ${next}`);
  }

  /** `freeMs`: time in which an order could have moved and did not. */
  orderWaits(id: HostId, orderId: string, freeMs: number): void {
    this.holds(
      "every order moves or ends",
      freeMs <= ORDER_STUCK_MS,
      () => `${orderId} on ${id} has not moved for ${Math.round(freeMs / 1000)} s`,
    );
  }

  classServed(id: HostId, starvedMs: number, name: string): void {
    this.holds(
      "no class starved by a lower one",
      starvedMs <= ORDER_STUCK_MS,
      () => `${name} on ${id} got nothing for ${Math.round(starvedMs / 1000)} s while lower did`,
    );
  }

  // ── records ──────────────────────────────────────────────────────────────────────────────

  batchCommitted(batch: string, serials: readonly number[]): void {
    this.#batches.add(batch);
    for (const serial of serials) {
      this.holds(
        "no record counted twice",
        !this.#committed.has(serial),
        () => `record ${serial} of batch ${batch}`,
      );
      this.#committed.add(serial);
    }
  }

  batchAcknowledged(batch: string): void {
    this.holds("no acknowledged record lost", this.#batches.has(batch), () => `batch ${batch}`);
  }

  isBatchCommitted(batch: string): boolean {
    return this.#batches.has(batch);
  }

  isCommitted(serial: number): boolean {
    return this.#committed.has(serial);
  }

  bounded(what: string, size: number, max: number): void {
    this.holds("nothing grows without bound", size <= max, () => `${what}: ${size} over ${max}`);
  }

  /** Looks at every host's books again. */
  full(): void {
    for (const [id, book] of this.#hosts) {
      this.holds(
        "disk within quota",
        book.diskBytes <= book.quotaBytes,
        () => `${id} holds ${book.diskBytes}`,
      );
      this.holds(
        "memory within budget",
        book.memoryBytes <= book.memoryBytesMax && book.memoryBytes >= 0,
        () => `${id} uses ${book.memoryBytes}`,
      );
    }
  }
}
