import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CELL_MS } from "./effects.ts";
import { cellAt, type EventWindow, nearer, windowFromMs, windowToMs } from "./window.ts";

const HOUR = 3_600_000;
const event: EventWindow = {
  signal: "s",
  id: "1",
  startMs: 100 * HOUR,
  endMs: 102 * HOUR,
  leadMs: HOUR,
  lagMs: 2 * HOUR,
};

describe("window: where a moment lies", () => {
  test.each([
    ["before the lead", 99 * HOUR - 1, null],
    ["first of the lead", 99 * HOUR, { zone: "lead", index: 3 }],
    ["last of the lead", 100 * HOUR - 1, { zone: "lead", index: 0 }],
    ["the start", 100 * HOUR, { zone: "during", index: 0 }],
    ["the second quarter", 100 * HOUR + CELL_MS, { zone: "during", index: 1 }],
    ["the end", 102 * HOUR, { zone: "lag", index: 0 }],
    ["last of the lag", 104 * HOUR - 1, { zone: "lag", index: 7 }],
    ["after the lag", 104 * HOUR, null],
  ])("%s", (_, atMs, cell) => {
    expect(cellAt(event, atMs)).toEqual(cell);
  });

  test("a moment without duration has lead and lag only", () => {
    const moment = { ...event, endMs: event.startMs };
    expect(cellAt(moment, event.startMs)).toEqual({ zone: "lag", index: 0 });
  });

  test("events of several days have the same cells each day", () => {
    const days = { ...event, endMs: event.startMs + 72 * HOUR };
    expect(cellAt(days, event.startMs + 5 * HOUR)).toEqual(cellAt(days, event.startMs + 53 * HOUR));
  });

  test("a whole day has cells of an hour, told apart from quarters", () => {
    const day = { ...event, endMs: event.startMs + 24 * HOUR };
    expect(cellAt(day, event.startMs + 90 * 60_000)).toEqual({ zone: "during", index: 1_001 });
    expect(cellAt(day, event.startMs - 1)).toEqual({ zone: "lead", index: 0 });
  });

  test("there is a cell exactly within the window, and few cells", () => {
    fc.assert(
      fc.property(fc.integer({ min: 90 * HOUR, max: 110 * HOUR }), (atMs) => {
        const cell = cellAt(event, atMs);
        expect(cell !== null).toBe(atMs >= windowFromMs(event) && atMs < windowToMs(event));
        expect(cell?.index ?? 0).toBeGreaterThanOrEqual(0);
        expect(cell?.index ?? 0).toBeLessThan(8);
      }),
    );
  });

  test("of two occurrences the one that is on, else the nearer, whichever is asked first", () => {
    const next = { ...event, id: "2", startMs: 103 * HOUR, endMs: 104 * HOUR };
    for (const [a, b] of [
      [event, next],
      [next, event],
    ] as const) {
      expect(nearer(a, b, 102 * HOUR - 1).id).toBe("1");
      expect(nearer(a, b, 102 * HOUR + 60_000).id).toBe("1");
      expect(nearer(a, b, 103 * HOUR - 60_000).id).toBe("2");
      expect(nearer(a, b, 103 * HOUR).id).toBe("2");
    }
  });
});
