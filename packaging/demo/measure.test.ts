import { describe, expect, test } from "vitest";
import { figures, quantile, type Served, type Totals } from "./measure.ts";
import { type DemoReport, introText, ratiosOf, reportText } from "./report.ts";

const served = (outcome: Served["outcome"], firstByteMs: number, measured = true): Served => ({
  outcome,
  firstByteMs,
  measured,
  status: outcome === "failed" ? 503 : 200,
});
const NOTHING: Totals = { originBytes: 0, peerBytes: 0, wastedBytes: 0, memoryByteMs: 0 };

describe("measure", () => {
  test("counts only what is measured, and failures apart from cold ones", () => {
    const run = figures(
      [
        served("miss", 900, false),
        served("hit", 2),
        served("hit", 4),
        served("late", 100),
        served("miss", 800),
        served("failed", 60_000),
      ],
      { ...NOTHING, originBytes: 5e6 },
      { originBytes: 25e6, peerBytes: 3e6, wastedBytes: 1e6, memoryByteMs: 2 * 1e9 * 3_600_000 },
    );
    expect(run).toMatchObject({
      requests: 5,
      failed: 1,
      hits: 2,
      late: 1,
      misses: 1,
      coldShare: 0.5,
      p50Ms: 4,
      p99Ms: 800,
      originBytes: 20e6,
      memoryGbHours: 2,
    });
  });

  test.each([
    [[1, 2, 3, 4], 0.5, 2],
    [[1, 2, 3, 4], 0.51, 3],
    [[1, 2, 3, 4], 1, 4],
    [[7], 0.99, 7],
    [[], 0.5, 0],
  ])("quantile of %j at %d is %d", (sorted, q, expected) => {
    expect(quantile(sorted, q)).toBe(expected);
  });

  test("has figures of a run without requests", () => {
    expect(figures([], NOTHING, NOTHING)).toMatchObject({ requests: 0, coldShare: 0, p99Ms: 0 });
  });
});

describe("report", () => {
  const reactive = figures([served("miss", 800), served("hit", 4)], NOTHING, NOTHING);
  const prestage = figures([served("hit", 3), served("hit", 4)], NOTHING, NOTHING);
  const report: DemoReport = {
    seed: "1",
    trace: null,
    hosts: 4,
    speed: 60,
    playedMinutes: 60,
    runInMinutes: 20,
    historyHours: 109.8,
    workloads: 12,
    categories: 14,
    artifactBytes: 380e6,
    diskBytesPerHost: 160e6,
    originBytesPerSecond: 24e6,
    thinned: 7,
    left: { constant: 0, silent: 0, notChosen: 0 },
    reactive,
    prestage,
    ratios: ratiosOf(reactive, prestage),
    calibration: { coverage90: 0.91, samples: 840 },
    tookSeconds: 170,
  };

  test("puts the runs side by side with their ratios", () => {
    expect(reportText(report).split("\n").slice(0, 8)).toEqual([
      "                              REACTIVE   PRESTAGE  RATIO",
      "requests                             2          2",
      "failed                               0          0",
      "cold (late or miss)                  1          0",
      "cold share                      50.0 %      0.0 %  0.00×",
      "time to first byte p50          4.0 ms     3.0 ms  0.75×",
      "time to first byte p95          800 ms     4.0 ms  0.01×",
      "time to first byte p99          800 ms     4.0 ms  0.01×",
    ]);
    expect(reportText(report)).toContain("90 % intervals held 91.0 % of 840 bins");
    expect(reportText(report)).toContain("7 requests of the busiest were left out");
  });

  test("has no ratio to nothing", () => {
    expect(ratiosOf(prestage, reactive).coldShare).toBeNull();
  });

  test("says beforehand what is going to be played", () => {
    expect(introText(report)).toContain("12 workloads, 14 categories, 109.8 h of history");
  });
});
