/**
 * Time as a value that is passed in. Decision code never asks the machine for the time: it gets a
 * `Clock`, so that the simulator can move it and a replay can run it faster.
 */
import { setTimeout as sleepFor } from "node:timers/promises";

export type Clock = {
  /** Wall time in milliseconds since the epoch. May jump; use it for stamps, not for durations. */
  now(): number;
  /** Milliseconds that never go backwards; use it for durations. */
  monotonic(): number;
  /** Resolves after `ms`; rejects with the signal's reason when it aborts first. */
  sleep(ms: number, options?: { signal?: AbortSignal }): Promise<void>;
  /** Calls `fn` once after `ms`. The returned function cancels it. */
  after(ms: number, fn: () => void): () => void;
};

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep: async (ms, { signal } = {}) => {
    await sleepFor(Math.max(0, ms), undefined, { signal }).catch((cause: unknown) => {
      throw signal?.aborted ? signal.reason : cause;
    });
  },
  after: (ms, fn) => {
    const timer = setTimeout(fn, Math.max(0, ms));
    return () => clearTimeout(timer);
  },
};

/**
 * A clock that runs `speed` times as fast as `base`, and showed `epochMs` when `base` showed
 * `startMs`. Two processes given the same three numbers agree on the time.
 */
export function scaledClock(
  base: Clock,
  { speed, startMs, epochMs }: { speed: number; startMs: number; epochMs: number },
): Clock {
  return {
    now: () => epochMs + (base.now() - startMs) * speed,
    monotonic: () => base.monotonic() * speed,
    sleep: (ms, options) => base.sleep(ms / speed, options),
    after: (ms, fn) => base.after(ms / speed, fn),
  };
}

/** Calls `fn` every `periodMs` until the signal aborts; a slow `fn` delays the next call. */
export async function every(
  clock: Clock,
  periodMs: number,
  signal: AbortSignal,
  fn: () => void | Promise<void>,
): Promise<void> {
  while (!signal.aborted) {
    await fn();
    try {
      await clock.sleep(periodMs, { signal });
    } catch (cause) {
      if (!signal.aborted) throw cause;
    }
  }
}

/** Takes long work step by step, and gives way to others whenever `sliceMs` have gone by. */
export async function inSlices(
  clock: Clock,
  sliceMs: number,
  signal: AbortSignal,
  steps: Iterable<void>,
): Promise<void> {
  let sinceMs = clock.monotonic();
  for (const _ of steps) {
    if (clock.monotonic() - sinceMs < sliceMs) continue;
    await clock.sleep(0, { signal });
    sinceMs = clock.monotonic();
  }
}

/**
 * What `work` gives with a signal that aborts when `signal` does, or after `ms`: who waits for
 * others decides in `work` what it means that they were late.
 */
export async function within<T>(
  clock: Clock,
  ms: number,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const late = new AbortController();
  const cancel = clock.after(ms, () => late.abort(new Error("no answer in time")));
  try {
    return await work(AbortSignal.any([signal, late.signal]));
  } finally {
    cancel();
  }
}
