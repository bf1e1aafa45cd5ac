import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { LEVELS } from "./levels.ts";
import { mixtureOf } from "./siblings.ts";

const rowOf = (middle: number, spread: number) =>
  Float64Array.from(LEVELS, (level) => Math.max(0, middle + spread * (level - 0.5)));

describe("siblings", () => {
  test("of one alone is what that one is forecast", () => {
    expect([...mixtureOf([rowOf(10, 4)], 1)]).toEqual([...rowOf(10, 4)]);
  });

  test("two that differ: the lower half is the one's, the upper half the other's", () => {
    const row = mixtureOf([rowOf(10, 1), rowOf(1000, 1)], 1);
    expect(row[LEVELS.indexOf(0.25)]).toBeCloseTo(10, 0);
    expect(row[LEVELS.indexOf(0.75)]).toBeCloseTo(1000, 0);
  });

  test("silent ones count as zero", () => {
    const row = mixtureOf([null, null, null, rowOf(50, 1)], 1);
    expect(row[LEVELS.indexOf(0.5)]).toBe(0);
    expect(row[LEVELS.indexOf(0.9)]).toBeCloseTo(50, 0);
  });

  test("quantiles rise, within what the siblings have, in any order of them", () => {
    const rows = fc.array(fc.tuple(fc.nat(500), fc.nat(100)), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(rows, (of) => {
        const all = of.map(([middle, spread]) => rowOf(middle, spread));
        const row = mixtureOf(all, 1);
        expect([...mixtureOf(all.toReversed(), 1)]).toEqual([...row]);
        for (const [l, value] of row.entries())
          expect(value).toBeGreaterThanOrEqual(row[l - 1] ?? 0);
        expect(row[0]).toBeGreaterThanOrEqual(Math.min(...all.map((one) => one[0] ?? 0)));
      }),
    );
  });
});
