/** Where a moment lies relative to an event. */
import { CELL_MS, type Zone } from "./effects.ts";

const DAY_CELLS = 86_400_000 / CELL_MS;

/** One event as one of its signals: the time it may have an effect in. */
export type EventWindow = {
  signal: string;
  /** Distinguishes occurrences of one signal. */
  id: string;
  startMs: number;
  endMs: number;
  leadMs: number;
  lagMs: number;
};

export function windowFromMs({ startMs, leadMs }: EventWindow): number {
  return startMs - leadMs;
}

export function windowToMs({ endMs, lagMs }: EventWindow): number {
  return endMs + lagMs;
}

/**
 * The offset cell of a moment; null outside of the window. Cells of the lead count back from the
 * start, those of the event from the start on, those of the lag from the end. Events of several
 * days have the same cells each day.
 */
export function cellAt(window: EventWindow, atMs: number): { zone: Zone; index: number } | null {
  const { startMs, endMs } = window;
  if (atMs < windowFromMs(window) || atMs >= windowToMs(window)) return null;
  if (atMs < startMs)
    return { zone: "lead", index: Math.max(0, Math.ceil((startMs - atMs) / CELL_MS) - 1) };
  if (atMs < endMs)
    return { zone: "during", index: Math.floor((atMs - startMs) / CELL_MS) % DAY_CELLS };
  return { zone: "lag", index: Math.floor((atMs - endMs) / CELL_MS) };
}

/** Of two occurrences of one signal: whose cell a moment is, the one that is nearer to it. */
export function nearer(a: EventWindow, b: EventWindow, atMs: number): EventWindow {
  const gap = distance(a, atMs) - distance(b, atMs);
  if (gap !== 0) return gap < 0 ? a : b;
  return a.startMs > b.startMs || (a.startMs === b.startMs && a.id <= b.id) ? a : b;
}

function distance({ startMs, endMs }: EventWindow, atMs: number): number {
  if (atMs < startMs) return startMs - atMs;
  return atMs < endMs ? 0 : atMs - endMs + 1;
}
