/**
 * Remembers per key how often its environments failed in a row: some restarts with backoff, then
 * "failed" and a pause that grows, so that a broken workload costs little and heals by itself.
 */
import type { ErrorCode } from "../../shared/errors.ts";
import type { Random } from "../../shared/runtime/random.ts";
import { backoffMs } from "../../shared/runtime/retry.ts";

export type FailureOptions = {
  /** Restarts after the first failure before it counts as failed. */
  restartsMax: number;
  /** One that was ready this long and then died starts a new row of failures. */
  steadyMs: number;
  /** First pause of a failed one; doubles up to `pauseMsMax`. */
  pauseMs: number;
  pauseMsMax: number;
  keysMax: number;
};

export type FailureRecord = {
  inARow: number;
  /** Set while it counts as failed: until then (monotonic) nothing is tried. */
  pausedUntilMs: number | null;
  code: ErrorCode;
  message: string;
  details: Record<string, unknown>;
};

export type FailureAnswer = { retryInMs: number; failed: boolean };

export class Failures {
  readonly #records = new Map<string, FailureRecord>();
  readonly #random: Random;
  readonly #options: FailureOptions;

  constructor(random: Random, options: FailureOptions) {
    this.#random = random;
    this.#options = options;
  }

  /** Counts one; says whether to try again soon or to give up for a while. */
  record(
    key: string,
    what: Pick<FailureRecord, "code" | "message" | "details"> & { readyForMs: number },
    nowMs: number,
  ): FailureAnswer {
    const { restartsMax, steadyMs, pauseMs, pauseMsMax, keysMax } = this.#options;
    const before = what.readyForMs >= steadyMs ? 0 : (this.#records.get(key)?.inARow ?? 0);
    const inARow = before + 1;
    const failed = inARow > restartsMax;
    const retryInMs = failed
      ? Math.min(pauseMsMax, pauseMs * 2 ** Math.min(20, inARow - restartsMax - 1))
      : backoffMs(inARow - 1, this.#random);
    this.#records.delete(key);
    if (this.#records.size >= keysMax) {
      const [oldest] = this.#records.keys();
      if (oldest !== undefined) this.#records.delete(oldest);
    }
    const { code, message, details } = what;
    const pausedUntilMs = failed ? nowMs + retryInMs : null;
    this.#records.set(key, { inARow, pausedUntilMs, code, message, details });
    return { retryInMs, failed };
  }

  /** A passing verdict: no longer failed. The row ends only after it stayed ready a while. */
  passed(key: string): void {
    const record = this.#records.get(key);
    if (record) record.pausedUntilMs = null;
  }

  /** The record of a key whose attempts are paused now. */
  paused(key: string, nowMs: number): (FailureRecord & { waitMs: number }) | null {
    const record = this.#records.get(key);
    if (!record?.pausedUntilMs || record.pausedUntilMs <= nowMs) return null;
    return { ...record, waitMs: record.pausedUntilMs - nowMs };
  }

  /** A key that counts as failed and was not proven well since. */
  failed(key: string): FailureRecord | null {
    const record = this.#records.get(key);
    return record?.pausedUntilMs != null ? record : null;
  }
}
