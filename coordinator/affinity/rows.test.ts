import { describe, expect, test } from "vitest";
import { FEATURES } from "../../shared/affinity.ts";
import { seededRandom } from "../../shared/runtime/random.ts";
import { RETRAIN_RULE, retrainReason, TrainingRows } from "./rows.ts";

const row = (target: number) => ({ features: FEATURES.map(() => 0.5), target });

describe("retraining", () => {
  test.each([
    ["few rows, whatever the loss", { newRows: 99, recentLoss: 1, trainedLoss: 0.001 }, null],
    ["some rows and no drift", { newRows: 500, recentLoss: 0.02, trainedLoss: 0.02 }, null],
    ["many rows", { newRows: 2000, recentLoss: 0.02, trainedLoss: 0.02 }, "rows"],
    ["drift", { newRows: 100, recentLoss: 0.04, trainedLoss: 0.02 }, "drift"],
    ["a large ratio of tiny losses", { newRows: 100, recentLoss: 0.009, trainedLoss: 1e-6 }, null],
  ] as const)("is decided by %s", (_, seen, reason) => {
    expect(retrainReason(seen, RETRAIN_RULE)).toBe(reason);
  });

  test("is asked for soon after the fleet changed", () => {
    const rows = new TrainingRows(seededRandom(1));
    for (let i = 0; i < 1000; i++) rows.add(row(0.5), 0.55);
    const reason = () =>
      retrainReason({ newRows: rows.newRows, recentLoss: rows.recentLoss, trainedLoss: 0.0025 });
    expect(reason()).toBeNull();
    for (let i = 0; i < 50; i++) rows.add(row(0.1), 0.55);
    expect(reason()).toBe("drift");
    rows.trained();
    expect(reason()).toBeNull();
  });
});

test("rows never exceed their capacity, and new ones are taken", () => {
  const rows = new TrainingRows(seededRandom(1), 10);
  for (let i = 0; i < 100; i++) rows.add(row(i / 100), 0.5);
  expect(rows.rows).toHaveLength(10);
  expect(Math.max(...rows.rows.map((r) => r.target))).toBeGreaterThan(0.8);
});
