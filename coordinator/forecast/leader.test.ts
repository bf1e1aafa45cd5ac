import { expect, test } from "vitest";
import { Leader } from "./leader.ts";
import { LEVELS } from "./levels.ts";

const L = LEVELS.length;
const SLOPES = new Float64Array(L).fill(1);
const rows = (...values: number[]) =>
  Float64Array.from({ length: values.length * L }, (_, i) => values[Math.floor(i / L)] ?? 0);

function leaned(experts: Float64Array, mix: number, actual: number, rounds: number): number {
  const leader = new Leader(1, experts.length / L, 1);
  const mixed = rows(mix);
  for (let i = 0; i < rounds; i++) leader.learn(0, actual, SLOPES, mixed, 0, experts, 0);
  leader.lean(0, experts, 0, mixed, 0);
  return mixed[4] ?? Number.NaN;
}

test("leader: speaks alone when it has been clearly better than the mix", () => {
  expect(leaned(rows(10, 30), 20, 10.5, 100)).toBe(10);
});

test("leader: leaves the mix alone (it is the best; too few rounds; the leader sleeps)", () => {
  expect(leaned(rows(10, 30), 20, 20, 100)).toBe(20);
  expect(leaned(rows(10, 30), 20, 10.5, 20)).toBe(20);
  expect(leaned(rows(Number.NaN, 30), 20, 10.5, 100)).toBe(20);
});
