import { describe, expect, test } from "vitest";
import { onTime, Pace, priorityOf, remainingMs, STAGE_PRIORITY } from "./pace.ts";

const held = (bytesHave: number) => ({ manifestHash: "m", bytesHave, bytes: 1e9 });

describe("pace", () => {
  test("is of the last seconds (steady, then stopped)", () => {
    const pace = new Pace();
    for (let s = 0; s <= 10; s++) pace.note("a", [held(s * 1_000)], s * 1_000);
    expect(pace.bytesPerSecond("a", "m", 10_000)).toBe(1_000);
    for (let s = 11; s <= 30; s++) pace.note("a", [held(10_000)], s * 1_000);
    expect(pace.bytesPerSecond("a", "m", 30_000)).toBe(0);
  });

  test("is nothing for what nobody reported, or only once", () => {
    const pace = new Pace();
    expect(pace.bytesPerSecond("a", "m", 0)).toBe(0);
    pace.note("a", [held(5)], 0);
    expect(pace.bytesPerSecond("a", "m", 100)).toBe(0);
  });

  test("a version that began anew has no rate of before", () => {
    const pace = new Pace();
    for (const [i, bytes] of [900, 100, 200].entries()) pace.note("a", [held(bytes)], i * 1_000);
    expect(pace.bytesPerSecond("a", "m", 2_000)).toBe(100);
  });

  test("what is left takes as long as the slowest; who does not move makes it unknown", () => {
    const fast = { missing: 100, bytesPerSecond: 100 };
    expect(remainingMs([fast, { missing: 500, bytesPerSecond: 100 }])).toBe(5_000);
    expect(remainingMs([fast, { missing: 1, bytesPerSecond: 0 }])).toBe(null);
    expect(remainingMs([{ missing: 0, bytesPerSecond: 0 }])).toBe(0);
  });

  test.each([
    [null, 5_000, null],
    [10_000, 5_000, true],
    [4_000, 5_000, false],
    [4_000, null, null],
    [-1, null, false],
  ])("a deadline at %s with %s ms left is met: %s", (deadline, remaining, met) => {
    expect(onTime(deadline, remaining, 0)).toBe(met);
  });

  test("priority rises as the deadline comes near, never falls for it", () => {
    const at = (deadlineMs: number) => priorityOf(deadlineMs, 10_000, 0, 0);
    const priorities = [100_000, 50_000, 25_000, 14_000, 9_000, -5].map(at);
    expect(priorities).toEqual([STAGE_PRIORITY, 600, 700, 800, 900, 900]);
    expect(priorityOf(null, 10, 10, 0)).toBe(STAGE_PRIORITY);
    expect(priorityOf(5_000, null, 10_000, 0)).toBe(900);
  });
});
