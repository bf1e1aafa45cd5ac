import { describe, expect, test } from "vitest";
import { nextCronMs, parseTime, TimeZone } from "./calendar-time.ts";

const utc = (text: string) => Date.parse(`${text}Z`);
const next = (expression: string, timeZone: string, after: string) =>
  new Date(nextCronMs({ expression, timeZone }, utc(after)) ?? 0).toISOString().slice(0, 16);

describe("cron in a time zone", () => {
  test.each([
    ["0 3 * * *", "UTC", "2026-11-27T21:00", "2026-11-28T03:00"],
    ["0 3 * * *", "Europe/Berlin", "2026-11-27T21:00", "2026-11-28T02:00"],
    ["0 3 * * *", "Europe/Berlin", "2026-07-01T21:00", "2026-07-02T01:00"],
    ["*/15 9-17 * * 1-5", "America/New_York", "2026-11-27T22:59", "2026-11-30T14:00"],
    ["0 0 1 1 *", "Asia/Kolkata", "2026-11-27T21:00", "2026-12-31T18:30"],
  ])("%s in %s after %s", (expression, zone, after, expected) => {
    expect(next(expression, zone, after)).toBe(expected);
  });

  test("comes once in the night that has an hour twice, and in the one that lacks it", () => {
    const daily = { expression: "30 2 * * *", timeZone: "Europe/Berlin" };
    const runs = (from: string, to: string) => {
      const found: number[] = [];
      for (let at = nextCronMs(daily, utc(from)); at !== null && at < utc(to); )
        at = nextCronMs(daily, found[found.push(at) - 1] ?? 0);
      return found.length;
    };
    expect(runs("2026-10-24T12:00", "2026-10-25T12:00")).toBe(1);
    expect(runs("2026-03-28T12:00", "2026-03-29T12:00")).toBe(1);
  });

  test("what is no cron is refused with what is wrong; what never comes gives null", () => {
    const at = (expression: string) => () => nextCronMs({ expression, timeZone: "UTC" }, 0);
    expect(at("61 * * * *")).toThrow(/61/);
    expect(at("* * * * * *")).toThrow(/cron/);
    expect(at("nonsense")).toThrow(/cron/);
    expect(at("0 0 30 2 *")()).toBe(null);
    expect(TimeZone.safeParse("Mars/Base").success).toBe(false);
  });
});

describe("times as people type them", () => {
  const now = utc("2026-11-27T21:00");
  test.each([
    ["2026-11-28T03:00", "Europe/Berlin", "2026-11-28T02:00"],
    ["2026-11-28 03:00:30", "UTC", "2026-11-28T03:00:30"],
    ["2026-11-28T03:00Z", "Europe/Berlin", "2026-11-28T03:00"],
    ["2026-11-28T03:00+05:30", "UTC", "2026-11-27T21:30"],
    ["2026-11-28", "UTC", "2026-11-28T00:00"],
    ["03:00", "Europe/Berlin", "2026-11-28T02:00"],
    ["21:30", "UTC", "2026-11-27T21:30"],
    ["90m", "UTC", "2026-11-27T22:30"],
  ])("%s in %s", (text, zone, expected) => {
    expect(parseTime(text, "--at", zone, now)).toBe(utc(expected));
  });

  test.each(["soon", "25:00", "2026-13-01", "2026-11-28T03", ""])("%j is none", (text) => {
    expect(() => parseTime(text, "--at", "UTC", now)).toThrow(/--at/);
  });
});
