import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { activeAt, activeInOrder, type PlacedEvent, Timeline } from "./timeline.ts";
import { windowFromMs, windowToMs } from "./window.ts";

const event = fc.record({
  signal: fc.constantFrom("s", "t"),
  id: fc.uuid(),
  startMs: fc.integer({ min: 0, max: 1_000 }),
  length: fc.integer({ min: 0, max: 300 }),
  leadMs: fc.integer({ min: 0, max: 50 }),
  lagMs: fc.integer({ min: 0, max: 50 }),
  targets: fc.array(
    fc.record({
      workload: fc.constantFrom(null, "v", "w"),
      category: fc.constantFrom(null, "a", "b"),
    }),
    { minLength: 1, maxLength: 3 },
  ),
});
const events = fc.array(
  event.map(({ length, ...e }): PlacedEvent => ({ ...e, endMs: e.startMs + length })),
  { maxLength: 30 },
);

describe("timeline", () => {
  test("finds what looking at every event finds", () => {
    fc.assert(
      fc.property(events, fc.nat(1_200), fc.nat(200), (list, fromMs, span) => {
        const timeline = new Timeline();
        timeline.set("one", list.slice(0, 10));
        timeline.set("two", list.slice(10));
        const found = timeline.around("w", "a", fromMs, fromMs + span);
        const plain = list.filter(
          (e) =>
            windowFromMs(e) < fromMs + span &&
            windowToMs(e) > fromMs &&
            e.targets.some(
              (t) =>
                (t.workload === null || t.workload === "w") &&
                (t.category === null || t.category === "a"),
            ),
        );
        expect(found.map((e) => e.id).toSorted()).toEqual(plain.map((e) => e.id).toSorted());
      }),
    );
  });

  test("one occurrence of a signal holds a moment (overlapping ones)", () => {
    fc.assert(
      fc.property(events, fc.nat(1_200), (list, atMs) => {
        const active = activeAt(list, atMs);
        expect(new Set(active.map((e) => e.signal)).size).toBe(active.length);
        const one = new Set(
          list.filter((e) => activeAt([e], atMs).length > 0).map((e) => e.signal),
        );
        expect(active.length).toBe(one.size);
      }),
    );
  });

  test("asked in order, the same is on as when asked alone", () => {
    fc.assert(
      fc.property(events, fc.integer({ min: 1, max: 40 }), (list, step) => {
        const on = activeInOrder(list);
        for (let atMs = 0; atMs < 1_500; atMs += step) {
          const names = (found: readonly PlacedEvent[]) => found.map((e) => e.id).toSorted();
          expect(names(on(atMs))).toEqual(names(activeAt(list, atMs)));
        }
      }),
    );
  });

  test("a source's new list replaces its old one", () => {
    const timeline = new Timeline();
    const [first] = fc.sample(event, { numRuns: 1, seed: 1 });
    if (!first) throw new Error("no sample");
    timeline.set("one", [{ ...first, endMs: first.startMs }]);
    timeline.set("one", []);
    expect(timeline.size).toBe(0);
    expect(timeline.around("w", "a", 0, 2_000)).toEqual([]);
  });
});
