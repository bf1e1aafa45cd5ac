import { expect, test } from "vitest";
import { Taking } from "./taking.ts";

test("taking: only who stages from its own site alone for a while takes nothing (lulls, a new start)", () => {
  const taking = new Taking();
  const after = (from: "site" | "outside" | null, ...at: number[]) => {
    for (const nowMs of at) taking.note(from, nowMs);
    return taking.takes(at.at(-1) ?? 0);
  };
  expect(after(null, 0)).toBe(true);
  expect(after("site", 1_000, 3_900)).toBe(true);
  expect(after("site", 4_000)).toBe(false);
  expect(after(null, 5_000, 13_000)).toBe(false);
  expect(after("outside", 13_100)).toBe(true);
  expect(after("site", 13_200, 17_000)).toBe(false);
  expect(after(null, 27_100)).toBe(true);
});
