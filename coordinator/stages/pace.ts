/**
 * How fast bytes come to hosts, when the last one will have all, and how urgent that makes it.
 * Rates are of the last seconds, so that a stop shows; per (host, version) while it is under way.
 */
const WINDOW_MS = 15_000;
/** Two reports closer than this say nothing about a rate. */
const SPAN_MS_MIN = 500;
const SAMPLES_MAX = 64;

/** Of an operator's order without a deadline; between the default class and the urgent ones. */
export const STAGE_PRIORITY = 500;
const RISING: readonly (readonly [slack: number, priority: number])[] = [
  [1, 900],
  [1.5, 800],
  [3, 700],
  [6, 600],
];

type Sample = { atMs: number; bytes: number };

export type Held = { manifestHash: string; bytesHave: number; bytes: number };

export class Pace {
  /** By host and version; only what is under way. */
  readonly #hosts = new Map<string, Map<string, Sample[]>>();

  /** All a host has now. */
  note(host: string, holdings: readonly Held[], nowMs: number): void {
    const before = this.#hosts.get(host);
    const now = new Map<string, Sample[]>();
    for (const { manifestHash, bytesHave, bytes } of holdings) {
      if (bytesHave >= bytes) continue;
      const samples = before?.get(manifestHash) ?? [];
      if ((samples.at(-1)?.bytes ?? 0) > bytesHave) samples.length = 0; // began anew
      samples.push({ atMs: nowMs, bytes: bytesHave });
      while (samples.length > SAMPLES_MAX || nowMs - (samples[0]?.atMs ?? nowMs) > WINDOW_MS)
        samples.shift();
      now.set(manifestHash, samples);
    }
    if (now.size > 0) this.#hosts.set(host, now);
    else this.#hosts.delete(host);
  }

  bytesPerSecond(host: string, manifestHash: string, nowMs: number): number {
    const samples = this.#hosts.get(host)?.get(manifestHash) ?? [];
    const first = samples.find((s) => nowMs - s.atMs <= WINDOW_MS);
    const last = samples.at(-1);
    if (!first || !last) return 0;
    const spanMs = nowMs - first.atMs;
    return spanMs < SPAN_MS_MIN ? 0 : ((last.bytes - first.bytes) / spanMs) * 1_000;
  }
}

/** Milliseconds until the slowest has all; 0 when all have, null when one does not move. */
export function remainingMs(
  parts: readonly { missing: number; bytesPerSecond: number }[],
): number | null {
  let slowest = 0;
  for (const { missing, bytesPerSecond } of parts) {
    if (missing <= 0) continue;
    if (bytesPerSecond <= 0) return null;
    slowest = Math.max(slowest, (missing / bytesPerSecond) * 1_000);
  }
  return slowest;
}

/** Whether a deadline will be met at the present rate; null when that is not known. */
export function onTime(
  deadlineMs: number | null,
  remaining: number | null,
  nowMs: number,
): boolean | null {
  if (deadlineMs === null) return null;
  if (remaining === null) return deadlineMs < nowMs ? false : null;
  return nowMs + remaining <= deadlineMs;
}

/**
 * Rises as the time that is left comes near the time that it needs; what does not move yet is
 * judged by `expectedMs`. In steps, so that agents are not told of every second.
 */
export function priorityOf(
  deadlineMs: number | null,
  remaining: number | null,
  expectedMs: number,
  nowMs: number,
): number {
  if (deadlineMs === null || remaining === 0) return STAGE_PRIORITY;
  const slack = (deadlineMs - nowMs) / Math.max(1, remaining ?? expectedMs);
  return RISING.find(([under]) => slack < under)?.[1] ?? STAGE_PRIORITY;
}
