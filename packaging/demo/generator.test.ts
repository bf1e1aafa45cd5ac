import { describe, expect, test } from "vitest";
import { seededRandom } from "../../shared/runtime/random.ts";
import { GENERATED_END_MS, GENERATED_START_MS, generateRows } from "./generator.ts";
import { select, TraceCollector } from "./selection.ts";

const HOUR_MS = 3_600_000;
const rowsOf = (seed: string, workloads: number) => [
  ...generateRows(seededRandom(seed), workloads),
];

describe("generator", () => {
  test("is the same for the same seed, another for another", () => {
    expect(rowsOf("1", 6)).toEqual(rowsOf("1", 6));
    expect(rowsOf("1", 6)).not.toEqual(rowsOf("2", 6));
  });

  test("gives over three days of history before the played hour", () => {
    const rows = rowsOf("1", 12);
    const first = Math.min(...rows.map((r) => r.timestampMs));
    expect(GENERATED_END_MS - HOUR_MS - first).toBeGreaterThan(72 * HOUR_MS);
    expect(rows.every((r) => r.timestampMs < GENERATED_END_MS && r.count > 0)).toBe(true);
    expect(rows.every((r) => (r.timestampMs - GENERATED_START_MS) % 60_000 === 0)).toBe(true);
  });

  test("plays at least six workloads with few requests a second (any of ten seeds)", () => {
    for (let seed = 0; seed < 10; seed++) {
      const trace = new TraceCollector();
      for (const row of rowsOf(String(seed), 12)) trace.add(row);
      const options = { playMinutes: 60, runInMinutes: 10, count: 100, leaveConstant: false };
      const { series, window } = select(trace.finish(), options, seededRandom("s"));
      expect(new Set(series.map((s) => s.workload)).size).toBeGreaterThanOrEqual(6);
      const played = series
        .flatMap((s) => s.rows)
        .filter((r) => r.timestampMs >= window.playMs)
        .reduce((sum, r) => sum + r.count, 0);
      expect(played).toBeGreaterThan(100);
      expect(played).toBeLessThan(3_000);
    }
  });

  test("numbers workloads beyond its list", () => {
    const names = new Set(rowsOf("1", 14).map((r) => r.workload));
    expect(names).toContain("shop-2");
    expect(names.size).toBe(14);
  });
});
