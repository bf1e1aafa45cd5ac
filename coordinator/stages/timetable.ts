/**
 * When a schedule runs. Pure: a schedule and the time go in, the schedule afterwards and what is to
 * be done come out. A run that is late because the coordinator was away is made up for once, for
 * the newest time that passed, if its deadline has not passed as well; older ones fall out and are
 * counted. Refused: running each missed time (ten stagings of one artifact after a long night).
 */
import type { Schedule } from "../../shared/api-stages.ts";
import { nextCronMs } from "../../shared/calendar-time.ts";

/** Later than this a run counts as late. */
export const LATE_MS = 60_000;
/** Missed times are counted up to here. */
const MISSED_MAX = 10_000;

export type Step = {
  schedule: Schedule;
  /** What is to be staged now; the deadline as a time. */
  run: { dueMs: number; late: boolean; deadlineMs: number | null } | null;
  /** Runs that fall out with this step. */
  missed: number;
};

export function firstRunMs(schedule: Pick<Schedule, "at" | "cron">, nowMs: number): number | null {
  return schedule.cron ? nextCronMs(schedule.cron, nowMs) : schedule.at;
}

export function step(schedule: Schedule, nowMs: number): Step {
  const { nextMs, cron } = schedule;
  if (nextMs === null || nowMs < nextMs) return { schedule, run: null, missed: 0 };
  let dueMs = nextMs;
  let missed = 0;
  let followingMs = cron ? nextCronMs(cron, dueMs) : null;
  while (cron && followingMs !== null && followingMs <= nowMs && missed < MISSED_MAX) {
    missed++;
    dueMs = followingMs;
    followingMs = nextCronMs(cron, dueMs);
  }
  if (cron && followingMs !== null && followingMs <= nowMs) followingMs = nextCronMs(cron, nowMs);
  const deadlineMs = deadlineOf(schedule, dueMs);
  const tooLate = deadlineMs !== null && deadlineMs <= nowMs;
  if (tooLate) missed++;
  const after = {
    ...schedule,
    nextMs: followingMs,
    lastDueMs: dueMs,
    missed: schedule.missed + missed,
    lastMissedMs: missed > 0 ? nowMs : schedule.lastMissedMs,
  };
  if (tooLate) return { schedule: after, run: null, missed };
  const run = { dueMs, late: nowMs - dueMs > LATE_MS, deadlineMs };
  return { schedule: { ...after, lastRunMs: nowMs }, run, missed };
}

function deadlineOf({ deadline }: Schedule, startMs: number): number | null {
  if (deadline === null) return null;
  return "byMs" in deadline ? deadline.byMs : startMs + deadline.withinMs;
}
