import fc from "fast-check";
import { expect, test } from "vitest";
import { area, coldAt, dominated, hull, type Point } from "./frontier.ts";

const point = (waste: number, cold: number, loads = 1): Point => ({
  name: `${waste}/${cold}`,
  waste,
  cold,
  loads,
});

test("frontier: is the lower left hull (one point above a line, one behind)", () => {
  const points = [point(0, 10), point(1, 8), point(2, 2), point(3, 3), point(4, 1)];
  expect(hull(points).map((p) => p.waste)).toEqual([0, 2, 4]);
  expect(coldAt(hull(points), 1)).toBeCloseTo(6, 12);
  expect(coldAt(hull(points), 9)).toBe(1);
});

test("frontier: its area is the mean of the line (from 10 to 0 over 0 to 2)", () => {
  expect(area([point(0, 10), point(2, 0)], 0, 2)).toBeCloseTo(5, 3);
  expect(area([point(0, 10), point(2, 0)], 1, 2)).toBeCloseTo(2.5, 3);
});

test("frontier: another setting never makes it worse (any points)", () => {
  const points = fc.array(
    fc
      .tuple(fc.double({ min: 0, max: 3, noNaN: true }), fc.double({ min: 0, max: 3, noNaN: true }))
      .map(([waste, cold]) => point(waste, cold)),
    { minLength: 1, maxLength: 12 },
  );
  fc.assert(
    fc.property(points, points, (some, more) => {
      const base = [point(0, 10), ...some];
      for (const waste of [0.3, 1, 2.2])
        expect(coldAt(hull([...base, ...more]), waste)).toBeLessThanOrEqual(
          coldAt(hull(base), waste) + 1e-9,
        );
    }),
  );
});

test("frontier: dominated is who is beaten in all three (loads tell)", () => {
  const mine = [point(1, 1, 2), point(2, 0.5, 1)];
  const others = [point(1, 1, 1), point(2, 0.5, 1)];
  expect(dominated(mine, others).map(({ point: p }) => p.loads)).toEqual([2]);
});
