import { describe, expect, test } from "vitest";
import { systemClock } from "../../shared/runtime/clock.ts";
import { EVENTS_MAX } from "./event.ts";
import { readEvents } from "./reader.ts";

const span = { fromMs: Date.UTC(2026, 0, 1), toMs: Date.UTC(2026, 1, 1) };
const calendar = (...lines: string[]) => ({
  ...span,
  kind: "calendar" as const,
  timeZone: undefined,
  body: Buffer.from(
    ["BEGIN:VCALENDAR", "BEGIN:VEVENT", "UID:x", "DTSTART:20260101T000000Z", "SUMMARY:x", ...lines]
      .concat(["END:VEVENT", "END:VCALENDAR"])
      .join("\r\n"),
  ),
});
const limits = { clock: systemClock, timeoutMs: 60_000, signal: new AbortController().signal };

describe("reader: in a thread of its own", () => {
  test("gives events in order, each once, no more than are taken", async () => {
    const { events, problems } = await readEvents(calendar("RRULE:FREQ=MINUTELY"), limits);
    expect(events.length).toBe(EVENTS_MAX);
    expect(events.every((e, i) => i === 0 || e.startMs > (events[i - 1]?.startMs ?? 0))).toBe(true);
    expect(problems.join()).toContain("left out");
  }, 60_000);

  test("reads holidays", async () => {
    const of = {
      country: "FR",
      state: undefined,
      region: undefined,
      kinds: ["public" as const],
      timeZone: undefined,
    };
    const { events } = await readEvents({ ...span, kind: "holidays", of }, limits);
    expect(events.map((e) => e.startMs)).toEqual([Date.UTC(2025, 11, 31, 23)]);
  }, 60_000);

  test("what cannot be read says so, what takes too long is ended", async () => {
    const bad = { ...calendar(), body: Buffer.from("hello") };
    await expect(readEvents(bad, limits)).rejects.toMatchObject({ code: "CORRUPT" });
    await expect(
      readEvents(calendar("RRULE:FREQ=SECONDLY"), { ...limits, timeoutMs: 1 }),
    ).rejects.toMatchObject({ code: "TIMEOUT" });
  }, 60_000);

  test("an abort is passed on", async () => {
    const control = new AbortController();
    const reading = readEvents(calendar(), { ...limits, signal: control.signal });
    control.abort(new Error("stopping"));
    await expect(reading).rejects.toThrow("stopping");
  }, 60_000);
});
