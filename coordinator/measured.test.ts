import { expect, test } from "vitest";
import type { EnvironmentStatus } from "../shared/domain.ts";
import { MeasuredCosts } from "./measured.ts";

const started = (id: string, workload: string, startMs: number | null): EnvironmentStatus => ({
  id,
  workload,
  category: "default",
  state: "warm",
  sinceMs: 0,
  verdict: null,
  lastUsedMs: null,
  planned: true,
  memoryBytes: 0,
  restarts: 0,
  startMs,
});

test("measured: who never started is taken to start like the others, not like a guess", () => {
  const measured = new MeasuredCosts();
  const guess = measured.of("quiet").warmMs;
  measured.reported(Array.from({ length: 30 }, (_, i) => started(`e${i}`, `w${i % 5}`, 100)));
  expect(measured.of("quiet").warmMs).toBeCloseTo(100);
  expect(guess).toBeGreaterThan(500);
});

test("measured: one start counts once (reported again and again)", () => {
  const measured = new MeasuredCosts();
  measured.reported([started("a", "w", 100)]);
  for (let i = 0; i < 50; i++) measured.reported([started("b", "w", 1_000)]);
  expect(measured.of("w").warmMs).toBeCloseTo(280);
});

test("measured: a start that is under way teaches nothing", () => {
  const measured = new MeasuredCosts();
  const before = measured.of("w").warmMs;
  measured.reported([started("a", "w", null)]);
  expect(measured.of("w").warmMs).toBe(before);
});
