import fc from "fast-check";
import { expect, test } from "vitest";
import { Hedge } from "./hedge.ts";
import { LEVELS } from "./levels.ts";

const L = LEVELS.length;
const MEDIAN = LEVELS.indexOf(0.5);
const SILENT = Number.NaN;

const rows = (...values: number[]) =>
  Float64Array.from({ length: values.length * L }, (_, i) => values[Math.floor(i / L)] ?? 0);

function leaned(hedge: Hedge, ...values: number[]): number {
  const into = new Float64Array(L);
  hedge.lean(rows(...values), into);
  return into[MEDIAN] ?? Number.NaN;
}

/** Two experts and what others make of them; `round` gives forecasts and what came. */
function taught(rounds: number, round: (t: number) => [number[], number], hedge = fresh()): Hedge {
  for (let t = 0; t < rounds; t++) {
    const [forecasts, actual] = round(t);
    hedge.learn(rows(...forecasts), actual, 1);
  }
  return hedge;
}
const fresh = () => new Hedge([1, 1]);
const timer = (t: number) => (t % 10 === 0 ? 3 : 0);

test("hedge: starts with the combined forecast, by nine parts in ten", () => {
  expect(leaned(fresh(), 0, 0, 10)).toBeCloseTo(9);
});

test("hedge: one that is always right speaks alone (a hundred rounds, ten of them busy)", () => {
  const hedge = taught(100, (t) => [[timer(t), 0.3, 0.2], timer(t)]);
  expect(leaned(hedge, 1, 0, 0)).toBeGreaterThan(0.9999);
});

test("hedge: the combined forecast speaks alone when it is better than each", () => {
  const hedge = taught(300, (t) => [[1, 1.5, 2], 2 + 0.1 * (-1) ** t]);
  expect(leaned(hedge, 0, 0, 1)).toBeGreaterThan(0.99);
});

test("hedge: those who are far behind are not felt (ten of them, forty rounds)", () => {
  const others = Array.from({ length: 10 }, () => 0.3);
  const hedge = new Hedge(Array.from({ length: 11 }, () => 1));
  taught(40, (t) => [[timer(t), ...others, 0.2], timer(t)], hedge);
  expect(leaned(hedge, 1, ...others, 0)).toBe(1);
});

test("hedge: the one that was always right is left soon (after a thousand rounds it is wrong)", () => {
  const hedge = taught(1000, (t) => [[timer(t), 1, 1], timer(t)]);
  taught(60, (t) => [[timer(t), timer(t + 5), 1], timer(t + 5)], hedge);
  expect(leaned(hedge, 0, 1, 0)).toBeGreaterThan(0.9);
});

test("hedge: one that slept has as much to say as before, and is not read", () => {
  const round = (t: number): [number[], number] => [[0.5, 1, 0.7], timer(t)];
  const before = leaned(taught(100, round), 1, 0, 0);
  const hedge = taught(40, (t) => [[SILENT, 1, SILENT], timer(t)], taught(100, round));
  expect(leaned(hedge, 1, 0, 0)).toBeCloseTo(before, 1);
  expect(leaned(hedge, SILENT, 4, SILENT)).toBe(4);
});

test("hedge: units do not matter (counts a trillion times as large, or as small)", () => {
  const play = (unit: number) =>
    leaned(
      taught(50, (t) => [[2 * unit, unit, 1.4 * unit], timer(t) * unit]),
      1,
      0,
      0.5,
    );
  expect(play(1e12)).toBeCloseTo(play(1), 9);
  expect(play(1e-12)).toBeCloseTo(play(1), 9);
});

test("hedge: stays within what the rows say, and a number (whatever came, for ever)", () => {
  const count = fc.oneof(fc.constant(0), fc.double({ min: 0, max: 1e15, noNaN: true }));
  const forecast = fc.tuple(fc.oneof(fc.constant(SILENT), count), count, count);
  fc.assert(
    fc.property(
      fc.array(fc.tuple(forecast, count), { maxLength: 30 }),
      fc.double({ min: 0, max: 1e6, noNaN: true }),
      (rounds, bins) => {
        const hedge = fresh();
        for (const [forecasts, actual] of rounds) hedge.learn(rows(...forecasts), actual, bins);
        const middle = leaned(hedge, 1, 2, 3);
        expect(middle).toBeGreaterThanOrEqual(1);
        expect(middle).toBeLessThanOrEqual(3);
      },
    ),
  );
});
