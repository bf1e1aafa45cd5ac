import fc from "fast-check";
import { expect, test } from "vitest";
import { Aggregate } from "./aggregate.ts";
import type { TraceRow } from "./csv-rows.ts";

const MINUTE = 60_000;
const row = (minute: number, count: number, category = "c", origin = "o"): TraceRow => ({
  ...{ timestampMs: minute * MINUTE + 5, workload: "w", category, origin, count },
});

function all(rows: readonly TraceRow[], group: number, host: string | null = null) {
  const aggregate = new Aggregate(host);
  const parts: TraceRow[][] = [];
  for (let from = 0; from < rows.length; from += group)
    parts.push(...aggregate.add(rows.slice(from, from + group)));
  parts.push(...aggregate.end());
  return { parts, summary: aggregate.summary() };
}

test("aggregate: a minute of a series is one row, at its start (origins apart)", () => {
  const { parts, summary } = all([row(1, 2), row(1, 3), row(1, 1, "c", "p"), row(0, 1, "d")], 10);
  expect(parts).toEqual([
    [
      { ...row(1, 5), timestampMs: MINUTE },
      { ...row(1, 1, "c", "p"), timestampMs: MINUTE },
      { ...row(0, 1, "d"), timestampMs: 0 },
    ],
  ]);
  expect(summary).toEqual({
    ...{ requests: 7, bins: 3, unlisted: 0, span: { fromMs: 0, toMs: 2 * MINUTE } },
    series: [
      { workload: "w", category: "c", requests: 6 },
      { workload: "w", category: "d", requests: 1 },
    ],
  });
});

test("aggregate: one host for all origins", () => {
  const { parts } = all([row(1, 2), row(1, 3, "c", "p")], 10, "edge");
  expect(parts).toEqual([[{ ...row(1, 5, "c", "edge"), timestampMs: MINUTE }]]);
});

test("aggregate: parts are bounded, and the same however the rows are grouped", () => {
  const rows = Array.from({ length: 50_000 }, (_, i) => row(i % 45_000, 1 + (i % 3)));
  const { parts, summary } = all(rows, 997);
  expect(parts.map((part) => part.length)).toEqual([20_000, 20_000, 10_000]);
  expect(all(rows, 50_000).parts).toEqual(parts);
  expect(parts.flat().reduce((sum, { count }) => sum + count, 0)).toBe(summary.requests);
});

test("aggregate: nothing is lost or made (any rows)", () => {
  const any = fc.record({
    minute: fc.nat(5),
    count: fc.integer({ min: 1, max: 9 }),
    category: fc.constantFrom("c", "d"),
  });
  fc.assert(
    fc.property(fc.array(any), fc.integer({ min: 1, max: 7 }), (list, group) => {
      const rows = list.map(({ minute, count, category }) => row(minute, count, category));
      const { parts, summary } = all(rows, group);
      const sum = (of: readonly TraceRow[]) => of.reduce((total, { count }) => total + count, 0);
      expect(sum(parts.flat())).toBe(sum(rows));
      expect(summary.series.reduce((total, s) => total + s.requests, 0)).toBe(sum(rows));
    }),
  );
});
