/** Where a moment lies relative to an event. */
import { CELL_MS, type Zone } from "./effects.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** Longer leads, events and lags have cells of an hour. */
const NARROW_MS = 6 * HOUR_MS;
/** Where the numbers of those cells begin. */
const WIDE_INDEX = 1_000;

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
  const { startMs, endMs, leadMs, lagMs } = window;
  if (atMs < windowFromMs(window) || atMs >= windowToMs(window)) return null;
  if (atMs < startMs) return { zone: "lead", index: indexOf(startMs - atMs - 1, leadMs) };
  if (atMs < endMs)
    return { zone: "during", index: indexOf((atMs - startMs) % DAY_MS, endMs - startMs) };
  return { zone: "lag", index: indexOf(atMs - endMs, lagMs) };
}

function indexOf(offsetMs: number, lengthMs: number): number {
  const wide = lengthMs > NARROW_MS;
  const index = Math.max(0, Math.floor(offsetMs / (wide ? HOUR_MS : CELL_MS)));
  return wide ? WIDE_INDEX + index : index;
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
