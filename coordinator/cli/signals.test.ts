import { describe, expect, test } from "vitest";
import { eventOf, eventsText, signalsText } from "./signals.ts";

const now = Date.UTC(2026, 10, 27, 12);
const options = { start: "now", source: "events", workload: [], tag: [] };

describe("events add", () => {
  test("times: with an offset, now, from now; how long or until when", () => {
    const event = (more: object) => eventOf("Sale", { ...options, ...more }, now);
    expect(event({ start: "2026-11-27T18:00+01:00", for: "2h" })).toMatchObject({
      start: Date.UTC(2026, 10, 27, 17),
      end: Date.UTC(2026, 10, 27, 19),
    });
    expect(event({ start: "+2h", end: "+3h" })).toMatchObject({
      start: now + 7_200_000,
      end: now + 10_800_000,
    });
    expect(event({})).toMatchObject({ start: now, end: now });
    for (const bad of [
      { start: "2026-11-27T18:00" },
      { start: "tomorrow" },
      { end: "2020-01-01T00:00Z" },
      { end: "+2h", for: "2h" },
    ])
      expect(() => event(bad)).toThrow();
  });

  test("the same event has the same id; targets are workloads and categories", () => {
    const of = { ...options, start: "2026-11-27T18:00Z", workload: ["shop", "maps/eu"] };
    expect(eventOf("Sale", of, now).id).toBe(eventOf("Sale", of, now + 5_000).id);
    expect(eventOf("Sale", of, now).targets).toEqual([
      { workload: "shop" },
      { workload: "maps", category: "eu" },
    ]);
  });
});

describe("signals", () => {
  test("shows sources, what is wrong with them, and what was learned", () => {
    const text = signalsText(
      {
        sources: [
          {
            ...{
              name: "matches",
              type: "calendar",
              address: "https://x.example/…",
              state: "failing",
            },
            ...{ okMs: now - 3_600_000, triedMs: now, nextMs: now + 1 },
            error: { code: "UNAVAILABLE", message: "https://x.example answered 503" },
            problems: ["1 events not read: time zone Nowhere is not known"],
            events: { known: 12, coming: 3, unmatched: 2 },
          },
        ],
        effects: [
          {
            ...{ signal: "matches: match day #", workload: "maps", category: "eu", occurrences: 5 },
            zones: [
              { zone: "lead", factor: 1.2, certainty: 0.01 },
              { zone: "during", factor: 3.04, certainty: 0.97 },
            ],
          },
        ],
      },
      now,
    );
    expect(text).toMatch(/matches +calendar +failing +60 min ago +12 +3 +https:\/\/x.example\/…/);
    expect(text).toContain("matches: https://x.example answered 503");
    expect(text).toContain("time zone Nowhere");
    expect(text).toContain("2 events that no rule takes");
    expect(text).toMatch(/match day # +maps\/eu +during +×3.04 +97.0 % +5/);
    expect(text).not.toContain("before");
  });

  test("nothing declared, nothing known", () => {
    expect(signalsText({ sources: [], effects: [] }, now)).toContain("no source is declared");
    expect(eventsText({ events: [] })).toBe("no event is known\n");
  });
});
