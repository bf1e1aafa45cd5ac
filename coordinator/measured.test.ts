import { expect, test } from "vitest";
import type { Outcome } from "../shared/domain.ts";
import { MeasuredCosts } from "./measured.ts";

const miss = (workload: string, waitedMs: number): Outcome => ({
  kind: "miss",
  workload,
  category: "default",
  host: "a",
  atMs: 0,
  firstByteMs: waitedMs,
  waitedMs,
  status: 200,
  orderId: null,
  bytes: 0,
  memoryByteMs: 0,
});

test("measured: who never missed is taken to start like the others, not like a guess", () => {
  const measured = new MeasuredCosts();
  const guess = measured.of("quiet").warmMs;
  for (let i = 0; i < 30; i++) measured.learn(miss(`w${i % 5}`, 100));
  expect(measured.of("quiet").warmMs).toBeCloseTo(100);
  expect(guess).toBeGreaterThan(500);
});

test("measured: a start is the quick kind of miss (one waited for its data)", () => {
  const measured = new MeasuredCosts();
  for (const waitedMs of [3_000, 120, 110, 2_500, 100]) measured.learn(miss("w", waitedMs));
  expect(measured.of("w").warmMs).toBeLessThan(700);
  expect(measured.missMs("w")).toBeGreaterThan(700);
});
