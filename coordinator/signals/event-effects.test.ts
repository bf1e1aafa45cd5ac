import { describe, expect, test } from "vitest";
import { seededRandom } from "../../shared/runtime/random.ts";
import { type EventDemand, EventEffects } from "./event-effects.ts";
import type { PlacedEvent } from "./timeline.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const startMs = Date.UTC(2026, 0, 5);

function event(day: number, of: Partial<PlacedEvent> = {}): PlacedEvent {
  const at = startMs + day * DAY + 15 * HOUR;
  return {
    signal: "s",
    id: `${day}`,
    startMs: at,
    endMs: at + 2 * HOUR,
    leadMs: HOUR,
    lagMs: HOUR,
    targets: [{ workload: "w", category: "c" }],
    ...of,
  };
}

/** Ten a minute, times what the events make of it. */
function demandWith(events: readonly PlacedEvent[], factor: number, days = 20): EventDemand {
  const random = seededRandom(7);
  const counts = Float64Array.from({ length: days * 1440 }, (_, minute) => {
    const atMs = startMs + minute * MINUTE;
    const on = events.some((e) => atMs >= e.startMs && atMs < e.endMs);
    return Math.max(0, Math.round((on ? factor : 1) * (10 + 3 * random.normal())));
  });
  return {
    keys: () => [{ workload: "w", category: "c" }],
    series: (_w, _c, _host, { fromMs, toMs }) => {
      const first = Math.max(0, Math.round((fromMs - startMs) / MINUTE));
      const last = Math.max(first, Math.round((toMs - startMs) / MINUTE));
      return {
        startMs: startMs + first * MINUTE,
        binMs: MINUTE,
        counts: counts.slice(first, last),
      };
    },
  };
}
const endOf = (day: number) => startMs + (day + 1) * DAY;

describe("event effects", () => {
  const days = [4, 6, 9, 11, 14];
  const events = days.map((day) => event(day));

  test("are learned when the window is over, and apply to the next event only in its time", () => {
    const effects = new EventEffects();
    effects.setEvents("a", [...events, event(19)]);
    const demand = demandWith(events, 3);
    expect(effects.learnDue(demand, event(4).endMs, 100)).toBe(0);
    expect(effects.learnDue(demand, endOf(14), 100)).toBe(5);
    expect(effects.learnDue(demand, endOf(14), 100)).toBe(0);
    const next = effects.eventEffect("w", "c", event(19).startMs - 2 * HOUR, MINUTE, 6 * 60);
    const log = next?.logEffect ?? [];
    expect(log[30]).toBe(0);
    expect(Math.abs(log[90] ?? 1)).toBeLessThan(0.05);
    for (const minute of [120, 180, 239]) expect(Math.exp(log[minute] ?? 0)).toBeCloseTo(3, 0);
    expect(Math.abs(log[250] ?? 1)).toBeLessThan(0.05);
    expect(next?.sd[180]).toBeGreaterThan(0);
    expect(effects.eventEffect("w", "other", event(19).startMs, MINUTE, 60)).toBeNull();
    expect(effects.eventEffect("w", "c", endOf(25), MINUTE, 60)).toBeNull();
  });

  test("are the same whether learned as it happens or afterwards", () => {
    const demand = demandWith(events, 3);
    const [live, later] = [new EventEffects(), new EventEffects()];
    for (const effects of [live, later]) effects.setEvents("a", events);
    for (let day = 0; day < 16; day++) live.learnDue(demand, endOf(day), 1);
    later.learnDue(demand, endOf(16), 100);
    expect(later.state).toEqual(live.state);
  });

  test("are told apart where events overlap (the known one takes its part)", () => {
    const effects = new EventEffects();
    const other = [
      event(14, { signal: "t" }),
      event(16, { signal: "t" }),
      event(18, { signal: "t" }),
    ];
    effects.setEvents("a", events);
    effects.setEvents("b", other);
    const demand = demandWith(events, 3);
    effects.learnDue(demand, endOf(19), 100);
    const only = effects.eventEffect("w", "c", event(18).startMs, MINUTE, 120);
    expect(Math.abs(only?.logEffect[60] ?? 1)).toBeLessThan(0.1);
  });

  test("a newcomer that only ever comes with a known event gets nothing of it", () => {
    const effects = new EventEffects();
    const known = [3, 4, 6, 7, 9, 10, 12, 14, 16].map((day) => event(day));
    effects.setEvents("a", known);
    effects.setEvents(
      "b",
      [12, 14, 16, 19].map((day) => event(day, { signal: "t" })),
    );
    effects.learnDue(demandWith(known, 3), endOf(17), 100);
    const only = effects.eventEffect("w", "c", event(19).startMs, MINUTE, 120);
    expect(Math.abs(only?.logEffect[60] ?? 1)).toBeLessThan(0.1);
  });

  test("an event of every day is told from the days it was on", () => {
    const effects = new EventEffects();
    const daily = Array.from({ length: 13 }, (_, i) => event(3 + i));
    effects.setEvents("a", [...daily, event(17)]);
    effects.learnDue(demandWith(daily, 3), endOf(15), 100);
    const next = effects.eventEffect("w", "c", event(17).startMs, MINUTE, 120);
    expect(Math.exp(next?.logEffect[60] ?? 0)).toBeGreaterThan(2.6);
  });

  test("hours get the mean of their quarters", () => {
    const effects = new EventEffects();
    effects.setEvents("a", [...events, event(19)]);
    effects.learnDue(demandWith(events, 3), endOf(14), 100);
    const half = effects.eventEffect("w", "c", event(19).startMs - HOUR / 2, HOUR, 2);
    expect(Math.exp(half?.logEffect[0] ?? 0)).toBeCloseTo(2, 0);
    expect(Math.exp(half?.logEffect[1] ?? 0)).toBeCloseTo(3, 0);
  });

  test("wait for history that is not there, and take it when it was imported", () => {
    const effects = new EventEffects();
    effects.setEvents("a", [event(4)]);
    const empty: EventDemand = {
      keys: () => [{ workload: "w", category: "c" }],
      series: (_w, _c, _h, { fromMs }) => ({
        startMs: fromMs,
        binMs: MINUTE,
        counts: new Float64Array(0),
      }),
    };
    effects.learnDue(empty, endOf(5), 10);
    expect(effects.state.signals).toEqual({});
    const demand = demandWith([event(4)], 3);
    expect(effects.learnDue(demand, endOf(5), 10)).toBe(0);
    effects.retry();
    expect(effects.learnDue(demand, endOf(5), 10)).toBe(1);
    expect(Object.keys(effects.state.signals)).toEqual(["s"]);
  });
});
