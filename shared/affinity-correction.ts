/**
 * How measured latency moves a score at once, before any training: a running log-ratio of real to
 * expected first-byte time per (application, host), turned into a bounded push up or down.
 *
 * It fades with time as well as with good requests: a host that lost its place gets no more
 * requests, and would otherwise never be tried again.
 */
import { LATENCY_LOG2_MAX, UNFELT_MS } from "./affinity.ts";

export type LatencyRecord = {
  /** Running log2 of real over expected; 0 = as expected, 1 = twice as slow. */
  log2Ratio: number;
  /** Failures, each fading to half in `FADE_HALF_MS`. */
  failures: number;
  /** Running log2 of the latency itself, as felt: what to expect when nobody says. */
  log2BaselineMs: number;
  observed: number;
  atMs: number;
};

/** Bound of the push either way. */
export const CORRECTION_MAX = 0.5;
/** Push per doubling of the latency. */
const PER_DOUBLING = 0.25;
/** Weight of the newest request: after three slow ones 78 % of the push is there. */
const BLEND = 0.4;
/** Weight of the newest request in the baseline, once there are many. */
const BASELINE_BLEND = 0.02;
/** Time in which an unused record fades to half. */
export const FADE_HALF_MS = 60_000;
/** What a failed request counts as: as slow as counts. */
const FAILED_LOG2 = LATENCY_LOG2_MAX;

/** log2 of a latency as people feel it: 2 ms or 20 ms are no reason to move an application. */
function felt(latencyMs: number): number {
  return Math.log2(Math.max(0, latencyMs) + UNFELT_MS);
}

export function emptyRecord(nowMs: number): LatencyRecord {
  return { log2Ratio: 0, failures: 0, log2BaselineMs: 0, observed: 0, atMs: nowMs };
}

/**
 * The record after one more request. Give only requests that found a warm environment: waiting for
 * staging and warming says nothing of the host. `expectedMs` null compares with this host's own
 * past instead of the fleet's, which sees a host become slow but not one that always was.
 */
export function observed(
  record: LatencyRecord,
  request: { latencyMs: number; expectedMs: number | null; failed: boolean },
  nowMs: number,
): LatencyRecord {
  const faded = fadedTo(record, nowMs);
  const log2Ms = felt(request.latencyMs);
  const first = faded.observed === 0;
  const expected =
    request.expectedMs === null
      ? first
        ? log2Ms
        : faded.log2BaselineMs
      : felt(request.expectedMs);
  const ratio = request.failed ? FAILED_LOG2 : bounded(log2Ms - expected, LATENCY_LOG2_MAX);
  const baselineBlend = request.failed ? 0 : Math.max(BASELINE_BLEND, 1 / (faded.observed + 1));
  return {
    log2Ratio: faded.log2Ratio + BLEND * (ratio - faded.log2Ratio),
    failures: faded.failures + (request.failed ? 1 : 0),
    log2BaselineMs: faded.log2BaselineMs + baselineBlend * (log2Ms - faded.log2BaselineMs),
    observed: faded.observed + (request.failed ? 0 : 1),
    atMs: nowMs,
  };
}

/** The record with what time has taken from it. */
export function fadedTo(record: LatencyRecord, nowMs: number): LatencyRecord {
  const left = 0.5 ** (Math.max(0, nowMs - record.atMs) / FADE_HALF_MS);
  return {
    ...record,
    log2Ratio: record.log2Ratio * left,
    failures: record.failures * left,
    atMs: Math.max(nowMs, record.atMs),
  };
}

/** How far the score moves, −0.5…0.5; negative for a slow host. Ask of a faded record. */
export function correction(record: LatencyRecord): number {
  return bounded(-PER_DOUBLING * record.log2Ratio, CORRECTION_MAX);
}

/** The score after the correction, 0..1, and the part of it that was added or taken. */
export function corrected(
  score: number,
  record: LatencyRecord,
): { score: number; correction: number } {
  const moved = Math.min(1, Math.max(0, score + correction(record)));
  return { score: moved, correction: bounded(moved - score, CORRECTION_MAX) };
}

function bounded(value: number, max: number): number {
  return Math.min(max, Math.max(-max, value));
}
