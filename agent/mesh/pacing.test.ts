import fc from "fast-check";
import { expect, test } from "vitest";
import { PACE_MAX } from "./frames.ts";
import { Pacing } from "./pacing.ts";

test("pacing: what all peers were told never passes the budget, at no moment (any shares)", () => {
  const shares = fc.array(
    fc.tuple(fc.constantFrom("a", "b", "c"), fc.integer({ min: 1, max: 9 })),
    {
      minLength: 1,
    },
  );
  fc.assert(
    fc.property(fc.array(shares, { minLength: 1, maxLength: 8 }), (rounds) => {
      const told = new Map<string, number>();
      const pacing = new Pacing((host, rate) => {
        told.set(host, rate);
        const sum = [...told.values()].reduce((s, r) => s + r, 0);
        expect(sum).toBeLessThanOrEqual(10e6 + 3 * 1024);
      });
      const all = new Map([
        ["a", 1],
        ["b", 1],
        ["c", 1],
      ]);
      for (const round of rounds) pacing.update(10e6, new Map([...all, ...round]));
    }),
  );
});

test("pacing: nobody is told anything without a limit; a limit that goes is taken back", () => {
  const told: [string, number][] = [];
  const pacing = new Pacing((...tell) => void told.push(tell));
  pacing.update(1e12, new Map([["a", 1]]));
  expect(told).toEqual([]);
  pacing.update(1.05e6, new Map([["a", 1]]));
  pacing.update(1e12, new Map([["a", 1]]));
  expect(told).toEqual([
    ["a", 1e6],
    ["a", PACE_MAX],
  ]);
});
