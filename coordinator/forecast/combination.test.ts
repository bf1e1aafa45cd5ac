import fc from "fast-check";
import { expect, test } from "vitest";
import { Combination } from "./combination.ts";
import { LEVELS } from "./levels.ts";

const L = LEVELS.length;

/** What each of three experts weighs at the median, of those that are awake. */
function weightsOf(combination: Combination, awake = [1, 1, 1]): number[] {
  const weights = combination.weighNow(Uint8Array.from(awake));
  return awake.map((_, e) => weights[e * L + 4] ?? Number.NaN);
}

/** Rounds in which expert e forecasts `forecasts[e]` and 10 comes; mean absolute loss. */
function play(
  combination: Combination,
  forecasts: readonly number[],
  rounds: number,
  bins = 1,
): number {
  const rows = Float64Array.from({ length: 3 * L }, (_, i) => forecasts[Math.floor(i / L)] ?? 0);
  const mixed = new Float64Array(L);
  let loss = 0;
  for (let i = 0; i < rounds; i++) {
    combination.weigh(Uint8Array.from(forecasts, (one) => (Number.isNaN(one) ? 0 : 1)));
    combination.combine(combination.learning, 0, rows, 0, mixed, 0);
    loss += Math.abs(10 - (mixed[4] ?? Number.NaN));
    const gradients = mixed.map((value) => Math.sign(value - 10));
    combination.learn(0, gradients, mixed, 0, rows, 0, bins);
  }
  return loss / rounds;
}

test("combination: weights are those of the awake and sum to one (whatever was learned)", () => {
  const forecast = fc.oneof(fc.double({ min: -50, max: 50, noNaN: true }), fc.constant(Number.NaN));
  const round = fc.tuple(forecast, forecast, fc.double({ min: -50, max: 50, noNaN: true }));
  fc.assert(
    fc.property(fc.array(round, { maxLength: 20 }), (rounds) => {
      const combination = new Combination(1, [1, 2, 3]);
      for (const forecasts of rounds) play(combination, forecasts, 1);
      const weights = weightsOf(combination, [1, 0, 1]);
      expect(weights[1]).toBe(0);
      expect((weights[0] ?? 0) + (weights[2] ?? 0)).toBeCloseTo(1, 9);
    }),
  );
});

test("combination: comes near the best expert, and does not listen to the worst", () => {
  const combination = new Combination(1, [1, 1, 1]);
  expect(play(combination, [10.5, 30, 40], 400)).toBeLessThan(1.5);
  expect(weightsOf(combination)[0]).toBeGreaterThan(0.9);
});

test("combination: turns to another expert when the best one fails", () => {
  const combination = new Combination(1, [1, 1, 1]);
  play(combination, [10.2, 14, 30], 300);
  expect(play(combination, [30, 10.2, 14], 600)).toBeLessThan(4);
});

test("combination: turns to another expert later when a round is worth fewer bins", () => {
  const turned = [1, 0.1].map((bins) => {
    const combination = new Combination(1, [1, 1, 1]);
    play(combination, [10.2, 14, 30], 1500, bins);
    return play(combination, [30, 10.2, 14], 600, bins);
  });
  expect(turned[1]).toBeGreaterThan(1.2 * (turned[0] ?? Number.NaN));
});

test("combination: an expert that slept keeps its weight", () => {
  const combination = new Combination(1, [1, 1, 1]);
  play(combination, [10.2, 14, 30], 300);
  const before = weightsOf(combination);
  play(combination, [Number.NaN, 14, Number.NaN], 100);
  expect(weightsOf(combination)[0]).toBeCloseTo(before[0] ?? 0, 1);
});
