import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { IdleTimes, PUBLISHED, wants } from "./keep-alive.ts";

function learned(gaps: readonly number[], over = {}): IdleTimes {
  const idle = new IdleTimes({ ...PUBLISHED, ...over });
  for (const gap of gaps) idle.learn(gap);
  return idle;
}

describe("hybrid histogram", () => {
  const table: [string, number[], { from: number; to: number }][] = [
    ["nothing seen: the standard keep-alive", [], { from: 0, to: 240 }],
    ["a timer: its period, a tenth off on either side", [30, 30, 30, 30], { from: 27, to: 33 }],
    ["most gaps out of range: the standard keep-alive", [500, 500, 30], { from: 0, to: 240 }],
    [
      "no shape at all: the standard keep-alive",
      Array.from({ length: 240 }, (_, i) => i + 1),
      { from: 0, to: 240 },
    ],
    ["a burst and its pauses: from the first minute", [1, 1, 1, 1, 60], { from: 0, to: 66 }],
  ];
  test.each(table)("window: %s", (_, gaps, window) => {
    expect(learned(gaps).window).toEqual(window);
  });

  test("window: holds the gaps between its percentiles (any gaps in range)", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 240 }), { minLength: 1 }), (gaps) => {
        const { from, to } = learned(gaps, { head: 0, tail: 1, variationMin: 0 }).window;
        expect(from).toBeLessThanOrEqual(Math.min(...gaps));
        expect(to).toBeGreaterThanOrEqual(Math.max(...gaps));
      }),
    );
  });

  test("wanted: from a lead ahead of the window to its end (27 to 33, lead 2)", () => {
    const wanted = Array.from({ length: 40 }, (_, idle) => wants({ from: 27, to: 33 }, idle, 2));
    expect(wanted.flatMap((yes, idle) => (yes ? [idle] : []))).toEqual([
      25, 26, 27, 28, 29, 30, 31, 32, 33,
    ]);
  });
});
