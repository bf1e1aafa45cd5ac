import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Schedule } from "../../shared/api-stages.ts";
import { firstRunMs, step } from "./timetable.ts";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const T0 = Date.UTC(2026, 10, 27);
const blank = { id: "s", artifact: { name: "maps", version: null, tag: "latest" }, hosts: null };
const never = { lastDueMs: null, lastRunMs: null, lastStage: null, problem: null };
const rest = { deadline: null, holdMs: null, createdMs: T0, createdBy: "user:ann" };
const counts = { missed: 0, lastMissedMs: null };
const schedule = (over: Partial<Schedule>): Schedule => {
  const made = {
    ...blank,
    ...never,
    ...rest,
    ...counts,
    at: null,
    cron: null,
    nextMs: null,
    ...over,
  };
  return { ...made, nextMs: firstRunMs(made, T0) };
};
const nightly = (over: Partial<Schedule> = {}) =>
  schedule({ cron: { expression: "0 3 * * *", timeZone: "UTC" }, ...over });

describe("timetable", () => {
  test("nothing before its time, then one run, then the next day's", () => {
    const first = nightly();
    expect(step(first, T0 + 3 * HOUR - 1).run).toBe(null);
    const at = step(first, T0 + 3 * HOUR);
    expect(at.run).toEqual({ dueMs: T0 + 3 * HOUR, late: false, deadlineMs: null });
    expect(at.schedule.nextMs).toBe(T0 + DAY + 3 * HOUR);
    expect(step(at.schedule, T0 + 4 * HOUR).run).toBe(null);
  });

  test("a run at a time comes once, also late (the coordinator was away)", () => {
    const once = schedule({ at: T0 + HOUR });
    const late = step(once, T0 + 9 * HOUR);
    expect(late.run).toEqual({ dueMs: T0 + HOUR, late: true, deadlineMs: null });
    expect(late.schedule.nextMs).toBe(null);
    expect(step(late.schedule, T0 + 99 * HOUR)).toMatchObject({ run: null, missed: 0 });
  });

  test("after three nights away it runs once, for the newest, and tells of the others", () => {
    const back = step(nightly(), T0 + 2 * DAY + 5 * HOUR);
    expect(back.run).toMatchObject({ dueMs: T0 + 2 * DAY + 3 * HOUR, late: true });
    expect(back).toMatchObject({ missed: 2, schedule: { missed: 2 } });
    expect(back.schedule.nextMs).toBe(T0 + 3 * DAY + 3 * HOUR);
  });

  test("what would be too late anyway falls out", () => {
    const within = nightly({ deadline: { withinMs: HOUR } });
    expect(step(within, T0 + 3.5 * HOUR).run).toMatchObject({ deadlineMs: T0 + 4 * HOUR });
    const tooLate = step(within, T0 + 5 * HOUR);
    expect(tooLate).toMatchObject({ run: null, missed: 1, schedule: { missed: 1 } });
    const by = schedule({ at: T0 + HOUR, deadline: { byMs: T0 + 2 * HOUR } });
    expect(step(by, T0 + 3 * HOUR)).toMatchObject({
      run: null,
      missed: 1,
      schedule: { nextMs: null },
    });
  });

  test("however it is looked at, each due time is run or counted, once (any pauses)", () => {
    const hour = { cron: { expression: "0 * * * *", timeZone: "UTC" } };
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 7 * HOUR }), { maxLength: 30 }), (pauses) => {
        let now = T0;
        let state = schedule(hour);
        let runs = 0;
        for (const pause of pauses) {
          now += pause;
          const done = step(state, now);
          if (done.run) runs++;
          state = done.schedule;
        }
        expect(runs + state.missed).toBe(Math.floor((now - T0) / HOUR));
        expect(state.nextMs).toBeGreaterThan(now);
      }),
    );
  });
});
