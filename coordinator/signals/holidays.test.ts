import { describe, expect, test } from "vitest";
import { holidayDays, readHolidays } from "./holidays.ts";

const year = { fromMs: Date.UTC(2026, 0, 2), toMs: Date.UTC(2026, 11, 31) };
const of = { state: undefined, region: undefined, kinds: ["public" as const], timeZone: undefined };

describe("holidays", () => {
  test("by the day: of the country, and of a state of it", () => {
    const at = (month: number, date: number) =>
      Math.floor(Date.UTC(2026, month, date) / 86_400_000);
    const germany = holidayDays("de");
    expect([germany(at(11, 24)), germany(at(11, 25)), germany(at(0, 6))]).toEqual([
      false,
      true,
      false,
    ]);
    expect(holidayDays("DE", "BY")(at(0, 6))).toBe(true);
    expect(() => holidayDays("DE", "XX")).toThrow("no holidays are known of DE, state XX");
  });

  test("are whole days of the country's zone, moving ones too", () => {
    const { events } = readHolidays({ ...of, country: "de", state: "by" }, year);
    const [epiphany] = events.filter((e) => new Date(e.startMs).getUTCMonth() === 0);
    expect(new Date(epiphany?.startMs ?? 0).toISOString()).toBe("2026-01-05T23:00:00.000Z");
    const ascension = events.find((e) => e.startMs === Date.UTC(2026, 4, 13, 22));
    expect(ascension?.endMs).toBe(Date.UTC(2026, 4, 14, 22));
    expect(ascension?.categories).toEqual(["public"]);
    expect(events.length).toBe(11);
  });

  test("differ by state, kind and zone", () => {
    const all = readHolidays({ ...of, country: "DE" }, year).events;
    expect(all.length).toBeLessThan(11);
    const more = readHolidays(
      { ...of, country: "DE", kinds: ["public", "observance"] },
      year,
    ).events;
    expect(more.length).toBeGreaterThan(all.length);
    const west = readHolidays(
      { ...of, country: "US", timeZone: "America/Los_Angeles" },
      year,
    ).events;
    expect(west.some((e) => e.startMs === Date.UTC(2026, 6, 4, 7))).toBe(true);
  });

  test.each([
    [{ country: "XX" }, /country XX/],
    [{ country: "DE", state: "ZZ" }, /state ZZ/],
    [{ country: "DE", state: "BY", region: "QQ" }, /region QQ/],
  ])("%j is not known", (place, message) => {
    expect(() => readHolidays({ ...of, ...place }, year)).toThrow(message);
  });
});
