/** What follows a failure: another environment after a pause, or the news that it failed. */
import { PrestageError } from "../../shared/errors.ts";
import type { Clock } from "../../shared/runtime/clock.ts";
import type { Log } from "../../shared/runtime/log.ts";
import type { Random } from "../../shared/runtime/random.ts";
import type { Desired } from "./desired.ts";
import type { EnvironmentEvent } from "./environment.ts";
import { type FailureRecord, Failures } from "./failures.ts";
import { failureOf, type Slot } from "./slot.ts";

export type SuccessionDeps = {
  clock: Clock;
  demandClock: Clock;
  random: Random;
  log: Log;
  desired: Desired;
  apply(slot: Slot, event: EnvironmentEvent): void;
  /** A new one for the same key, now the current one. */
  successor(old: Slot): Slot;
  /** Looks at the plan again. */
  reconcile(): void;
};

export class Succession {
  readonly #deps: SuccessionDeps;
  readonly #failures: Failures;
  readonly #retries = new Map<string, () => void>();
  #closed = false;

  constructor(deps: SuccessionDeps, { restartsMax }: { restartsMax: number }) {
    this.#deps = deps;
    this.#failures = new Failures(deps.random, {
      restartsMax,
      steadyMs: 10_000,
      pauseMs: 5000,
      pauseMsMax: 300_000,
      keysMax: 10_000,
    });
  }

  passed(key: string): void {
    this.#failures.passed(key);
  }

  /** The record of a key that counts as failed. */
  failure(key: string): FailureRecord | null {
    return this.#failures.failed(key);
  }

  /** Throws the failure of a key nobody should try now. */
  throwIfPaused(key: string): void {
    const paused = this.#failures.paused(key, this.#deps.clock.monotonic());
    if (!paused) return;
    const details = { ...paused.details, retryAfterMs: Math.ceil(paused.waitMs) };
    throw new PrestageError(paused.code, paused.message, { details });
  }

  /** Whether the plan has to wait with this key; then it is looked at again in time. */
  postpones(key: string): boolean {
    const paused = this.#failures.paused(key, this.#deps.clock.monotonic());
    if (paused) this.#reconcileIn(key, paused.waitMs);
    return paused !== null;
  }

  /** After a failure: a successor that inherits order and waiting requests, or the end of it. */
  failed(slot: Slot): void {
    const { clock, demandClock, desired, log } = this.#deps;
    const nowMs = clock.monotonic();
    const failure = failureOf(slot);
    const readyForMs = slot.readyMonotonicMs === null ? 0 : nowMs - slot.readyMonotonicMs;
    const answer = this.#failures.record(slot.key, { ...failure, readyForMs }, nowMs);
    const fields = { ...failure, retryInMs: Math.ceil(answer.retryInMs) };
    if (answer.failed) log.warn(fields, "environment failed");
    else log.info(fields, "environment did not stay");
    const final = this.#closed || answer.failed || failure.code === "NOT_FOUND";
    if (!final && desired.wantsReplaced(slot, demandClock.now())) {
      this.#replace(slot, answer.retryInMs);
      return;
    }
    const error = new PrestageError(failure.code, failure.message, {
      cause: slot.failure,
      details: { ...failure.details, retryAfterMs: fields.retryInMs },
    });
    for (const waiter of slot.waiters) waiter.reject(error);
    slot.waiters.clear();
    if (slot.keep) this.#reconcileIn(slot.key, answer.retryInMs);
  }

  close(): void {
    this.#closed = true;
    for (const cancel of this.#retries.values()) cancel();
    this.#retries.clear();
  }

  #replace(old: Slot, delayMs: number): void {
    const next = this.#deps.successor(old);
    next.keep = old.keep;
    next.lastOrderId = old.lastOrderId;
    next.usedUnderOrder = old.usedUnderOrder;
    next.foreground = old.foreground;
    for (const waiter of old.waiters) next.waiters.add(waiter);
    old.waiters.clear();
    // The order goes on with the new one; the old one's end is no waste.
    old.keep = null;
    old.lastOrderId = null;
    next.cancelTimer = this.#deps.clock.after(delayMs, () =>
      this.#deps.apply(next, { type: "stage" }),
    );
  }

  #reconcileIn(key: string, waitMs: number): void {
    if (this.#closed) return;
    this.#retries.get(key)?.();
    const cancel = this.#deps.clock.after(waitMs, () => {
      this.#retries.delete(key);
      this.#deps.reconcile();
    });
    this.#retries.set(key, cancel);
  }
}
