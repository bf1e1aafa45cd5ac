import type { Random } from "./random.ts";

/**
 * How long to wait before attempt `attempt` (0 = first retry): exponential with full jitter, so
 * that a fleet that lost its coordinator does not come back at once.
 * Source: Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog 2015.
 */
export function backoffMs(
  attempt: number,
  random: Random,
  { baseMs = 250, maxMs = 30_000 }: { baseMs?: number; maxMs?: number } = {},
): number {
  const ceiling = Math.min(maxMs, baseMs * 2 ** Math.min(attempt, 30));
  return baseMs / 2 + random.next() * ceiling;
}
