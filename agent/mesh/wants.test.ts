import { expect, test } from "vitest";
import { newWant, rank } from "./wants.ts";

test("wants: hosts with names alike begin far apart (six hosts, 400 chunks)", () => {
  const chunks = Array.from({ length: 400 }, (_, i) => ({ hash: `h${i}`, bytes: 1 }));
  const urgency = { priority: 1, deadlineMs: 0, foreground: false, hasOrigin: false };
  const first = Array.from({ length: 6 }, (_, i) => {
    const want = newWant({ id: "m", chunks, ...urgency }, 0);
    rank(want, [], () => true, `host-${i + 1}`);
    return want.orphans[0] ?? 0;
  });
  const sorted = first.toSorted((a, b) => a - b);
  const gaps = sorted.map((at, i) => (sorted[i + 1] ?? (sorted[0] ?? 0) + 400) - at);
  expect(Math.min(...gaps)).toBeGreaterThan(5);
  expect(Math.max(...gaps)).toBeLessThan(250);
});
