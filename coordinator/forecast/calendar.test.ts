import { describe, expect, test } from "vitest";
import { seededRandom } from "../../shared/runtime/random.ts";
import { BinCalendar, type Calendar, calendarOf, UTC_CALENDAR } from "./calendar.ts";
import { Ensemble } from "./ensemble.ts";
import { LEVELS } from "./levels.ts";

const HOUR_MS = 3_600_000;
const DAY = 24;
const MEDIAN = LEVELS.indexOf(0.5);
const berlin = calendarOf("Europe/Berlin");
const WORKING_ONLY: Calendar = { isDayOff: () => false, aheadMs: null };

describe("a calendar", () => {
  test.each([
    ["Friday, Saturday in Berlin already", "2026-11-27T23:30:00Z", false, true],
    ["Sunday", "2026-11-29T12:00:00Z", true, true],
    ["Sunday, Monday in Berlin already", "2026-11-29T23:00:00Z", true, false],
    ["Wednesday", "2026-11-25T12:00:00Z", false, false],
    ["before 1970", "1969-12-28T12:00:00Z", true, true],
  ])("knows Saturdays and Sundays of its zone (%s)", (_, at, utc, zoned) => {
    expect(UTC_CALENDAR.isDayOff(Date.parse(at))).toBe(utc);
    expect(berlin.isDayOff(Date.parse(at))).toBe(zoned);
  });

  test("counts holidays as days off, by the zone's date", () => {
    const christmas = Math.floor(Date.UTC(2026, 11, 25) / (DAY * HOUR_MS));
    const calendar = calendarOf("Europe/Berlin", (day) => day === christmas);
    expect(calendar.isDayOff(Date.parse("2026-12-24T22:59:59Z"))).toBe(false);
    expect(calendar.isDayOff(Date.parse("2026-12-24T23:00:00Z"))).toBe(true);
  });

  test("says by how many bins clocks were moved (end of summer time)", () => {
    const bins = new BinCalendar({ startMs: Date.UTC(2026, 9, 20), binMs: HOUR_MS / 2 }, berlin);
    const change = (Date.UTC(2026, 9, 25, 1) - Date.UTC(2026, 9, 20)) / (HOUR_MS / 2);
    expect([bins.shift(0), bins.shift(change - 1), bins.shift(change)]).toEqual([0, 0, -2]);
  });
});

/** Counts of hours about what `mean` says. */
function hours(startMs: number, bins: number, seed: string, mean: (ms: number) => number) {
  const random = seededRandom(seed);
  return Float64Array.from({ length: bins }, (_, t) => {
    const rate = mean(startMs + t * HOUR_MS);
    return Math.max(0, Math.round(rate + Math.sqrt(2 * rate) * random.normal()));
  });
}

/** Mean distance of the medians of the next day from what is true, at each of the last `days`. */
function errorOf(
  { startMs, counts }: { startMs: number; counts: Float64Array },
  { from, mean }: { from: number; mean: (ms: number) => number },
  calendar: Calendar,
): number {
  const past = { startMs, binMs: HOUR_MS, counts: counts.subarray(0, from) };
  const fitted = Ensemble.fit(past, DAY, calendar);
  let error = 0;
  for (let t = from; t + DAY <= counts.length; t++) {
    if ((t - from) % 6 === 0) {
      const rows = fitted.predict(DAY);
      for (let i = 0; i < DAY; i++) {
        const truth = mean(startMs + (t + i) * HOUR_MS);
        error += Math.abs((rows[i * LEVELS.length + MEDIAN] ?? 0) - truth);
      }
    }
    fitted.update(counts[t] ?? 0);
  }
  return error;
}

const daily = (ms: number) => 200 + 150 * Math.sin((2 * Math.PI * ms) / (DAY * HOUR_MS));

describe("forecasts by the calendar", () => {
  test("know days off once two weekends were seen (half as busy, another shape)", () => {
    const startMs = Date.UTC(2026, 9, 5);
    const mean = (ms: number) =>
      UTC_CALENDAR.isDayOff(ms) ? 0.5 * daily(ms - 3 * HOUR_MS) : daily(ms);
    const series = { startMs, counts: hours(startMs, 21 * DAY, "days off", mean) };
    const truth = { from: 13 * DAY, mean };
    const without = errorOf(series, truth, WORKING_ONLY);
    expect(errorOf(series, truth, UTC_CALENDAR)).toBeLessThan(0.85 * without);
  });

  test("keep to the clock on the wall in the days after it was put back", () => {
    const startMs = Date.UTC(2026, 9, 12);
    const mean = (ms: number) => daily(ms + (berlin.aheadMs?.(ms) ?? 0));
    const series = { startMs, counts: hours(startMs, 16 * DAY, "clocks", mean) };
    const truth = { from: 13 * DAY + 6, mean };
    const without = errorOf(series, truth, UTC_CALENDAR);
    expect(errorOf(series, truth, berlin)).toBeLessThan(0.85 * without);
  });

  test("cost next to nothing where all days are alike", () => {
    const startMs = Date.UTC(2026, 9, 5);
    const series = { startMs, counts: hours(startMs, 28 * DAY, "alike", daily) };
    const truth = { from: 14 * DAY, mean: daily };
    const without = errorOf(series, truth, WORKING_ONLY);
    expect(errorOf(series, truth, UTC_CALENDAR)).toBeLessThan(1.05 * without);
  });
});
