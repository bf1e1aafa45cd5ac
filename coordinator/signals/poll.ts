/** When a source is looked at again, and what is known of how that went. */
import type { ErrorCode } from "../../shared/errors.ts";
import type { Random } from "../../shared/runtime/random.ts";
import { backoffMs } from "../../shared/runtime/retry.ts";

export type PollState = {
  /** Looks in a row that failed. */
  failures: number;
  triedMs: number | null;
  okMs: number | null;
  error: { code: ErrorCode; message: string } | null;
};
export const NEVER_POLLED: PollState = { failures: 0, triedMs: null, okMs: null, error: null };

export type PollResult =
  | { ok: true; maxAgeMs: number | null }
  | { ok: false; code: ErrorCode; message: string; retryAfterMs: number | null };

const RETRY_MS = 5_000;
const RETRY_MS_MAX = 3_600_000;
const WAIT_MS_MAX = 86_400_000;
/** Sources that start together do not stay together. */
const JITTER = 0.1;

/**
 * A good look is followed by one after `pollMs` (or `max-age`, when longer), a failed one by one
 * after a growing time, at most an hour or `pollMs`, or as long as the server asks for.
 */
export function afterPoll(
  state: PollState,
  result: PollResult,
  { nowMs, pollMs, random }: { nowMs: number; pollMs: number; random: Random },
): { state: PollState; waitMs: number } {
  if (result.ok) {
    const every = Math.max(pollMs, Math.min(result.maxAgeMs ?? 0, WAIT_MS_MAX));
    return {
      state: { failures: 0, triedMs: nowMs, okMs: nowMs, error: null },
      waitMs: every * (1 - JITTER + 2 * JITTER * random.next()),
    };
  }
  const { code, message, retryAfterMs } = result;
  const maxMs = Math.max(RETRY_MS, Math.min(RETRY_MS_MAX, pollMs));
  const backoff = backoffMs(state.failures, random, { baseMs: Math.min(RETRY_MS, pollMs), maxMs });
  return {
    state: { ...state, failures: state.failures + 1, triedMs: nowMs, error: { code, message } },
    waitMs: Math.max(backoff, Math.min(retryAfterMs ?? 0, WAIT_MS_MAX)),
  };
}
