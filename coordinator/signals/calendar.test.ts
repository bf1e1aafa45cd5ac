import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { readCalendar } from "./calendar.ts";

const fixture = (name: string) =>
  readFileSync(new URL(`../../test/fixtures/signals/${name}`, import.meta.url), "utf8");
const span = { fromMs: Date.UTC(2026, 0, 1), toMs: Date.UTC(2027, 0, 1), timeZone: undefined };
const times = (text: string, summary: string, options: Partial<typeof span> & object = {}) =>
  readCalendar(text, { ...span, ...options })
    .events.filter((e) => e.summary === summary)
    .map((e) => `${new Date(e.startMs).toISOString()} ${(e.endMs - e.startMs) / 60_000}`);

describe("calendar: recurring.ics", () => {
  const text = fixture("recurring.ics");

  test("a weekly event keeps its hour of the day when clocks change, without what was excluded, with what was added", () => {
    expect(times(text, "Sale")).toEqual([
      "2026-03-16T09:00:00.000Z 120",
      "2026-03-23T09:00:00.000Z 120",
      "2026-04-08T08:00:00.000Z 120",
      "2026-04-20T08:00:00.000Z 120",
    ]);
  });

  test("a changed occurrence has its own time and title, a cancelled one is gone", () => {
    expect(times(text, "Sale, later")).toEqual(["2026-03-30T12:00:00.000Z 60"]);
    expect(times(text, "Never")).toEqual([]);
  });

  test("days are days of the calendar's zone (23 hours when clocks change)", () => {
    expect(times(text, "Open Sunday")).toEqual([
      "2026-03-21T23:00:00.000Z 1440",
      "2026-03-28T23:00:00.000Z 1380",
      "2026-04-04T22:00:00.000Z 1440",
    ]);
  });

  test("times without a zone are of the calendar's, or the one that is asked for", () => {
    expect(times(text, "Briefing")).toEqual(["2026-04-02T07:00:00.000Z 90"]);
    expect(times(text, "Briefing", { timeZone: "America/New_York" } as object)).toEqual([
      "2026-04-02T13:00:00.000Z 90",
    ]);
  });

  test("an event without end is a moment; fields come as plain text", () => {
    expect(times(text, "Release")).toEqual(["2026-04-02T09:00:00.000Z 0"]);
    const [sale] = readCalendar(text, span).events.filter((e) => e.summary === "Sale");
    expect(sale).toMatchObject({ categories: ["shop", "sale"], location: "Berlin, Mitte" });
  });

  test("only what reaches into the time asked for", () => {
    const week = { fromMs: Date.UTC(2026, 3, 8, 9), toMs: Date.UTC(2026, 3, 9) };
    expect(readCalendar(text, { ...span, ...week }).events.map((e) => e.summary)).toEqual(["Sale"]);
  });
});

describe("calendar: odd ones", () => {
  test("a zone of the calendar's own is understood, one that nobody knows is told of", () => {
    const text = fixture("own-zone.ics");
    expect(times(text, "Stand-up")).toEqual([
      "2026-10-24T07:00:00.000Z 30",
      "2026-10-25T08:00:00.000Z 30",
      "2026-10-26T08:00:00.000Z 30",
    ]);
    expect(readCalendar(text, span).problems).toEqual([
      "1 events not read: time zone Nowhere is not known",
    ]);
  });

  test("a rule without end is read up to the time asked for", () => {
    const text = `BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:x\r\nDTSTART:20100101T000000Z\r\nRRULE:FREQ=DAILY\r\nSUMMARY:x\r\nEND:VEVENT\r\nEND:VCALENDAR`;
    expect(readCalendar(text, span).events.length).toBe(365);
  });

  test("one event that cannot be read does not hide the others", () => {
    const seconds = "DURATION:PT90M\nRRULE:FREQ=SECONDLY";
    const text = fixture("recurring.ics").replace("DURATION:PT90M", seconds);
    const { events, problems } = readCalendar(text, span);
    expect(events.length).toBeGreaterThan(5);
    expect(problems.join()).toContain("occurrences");
  });

  test.each(["", "hello", "BEGIN:VCARD\r\nEND:VCARD", "<html></html>"])(
    "no calendar: %j",
    (text) => {
      expect(() => readCalendar(text, span)).toThrow();
    },
  );
});
