import fc from "fast-check";
import { expect, test } from "vitest";
import { Combination } from "./combination.ts";

const AWAKE = Uint8Array.of(1, 1, 1);

/** Rounds in which expert e forecasts `forecasts[e]` and 10 comes; absolute loss. */
function play(combination: Combination, forecasts: readonly number[], rounds: number): number {
  const weights = new Float64Array(3);
  let loss = 0;
  for (let i = 0; i < rounds; i++) {
    const awake = Uint8Array.from(forecasts, (forecast) => (Number.isNaN(forecast) ? 0 : 1));
    combination.weights(0, awake, weights);
    const mixed = forecasts.reduce(
      (sum, forecast, e) => sum + (awake[e] ? (weights[e] ?? 0) * forecast : 0),
      0,
    );
    loss += Math.abs(10 - mixed);
    const gradient = Math.sign(mixed - 10);
    combination.learn(0, gradient, mixed, Float64Array.from(forecasts), 0, 1);
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
      const weights = new Float64Array(3);
      combination.weights(0, Uint8Array.of(1, 0, 1), weights);
      expect(weights[1]).toBe(0);
      expect((weights[0] ?? 0) + (weights[2] ?? 0)).toBeCloseTo(1, 9);
    }),
  );
});

test("combination: comes near the best expert, and does not listen to the worst", () => {
  const combination = new Combination(1, [1, 1, 1]);
  expect(play(combination, [10.5, 30, 40], 400)).toBeLessThan(1.5);
  const weights = new Float64Array(3);
  combination.weights(0, AWAKE, weights);
  expect(weights[0]).toBeGreaterThan(0.9);
});

test("combination: turns to another expert when the best one fails", () => {
  const combination = new Combination(1, [1, 1, 1]);
  play(combination, [10.2, 14, 30], 300);
  expect(play(combination, [30, 10.2, 14], 600)).toBeLessThan(4);
});

test("combination: an expert that slept keeps its weight", () => {
  const combination = new Combination(1, [1, 1, 1]);
  play(combination, [10.2, 14, 30], 300);
  const before = new Float64Array(3);
  combination.weights(0, AWAKE, before);
  play(combination, [Number.NaN, 14, Number.NaN], 100);
  const after = new Float64Array(3);
  combination.weights(0, AWAKE, after);
  expect(after[0]).toBeCloseTo(before[0] ?? 0, 1);
});
