import { describe, expect, test } from "vitest";
import { type PromNames, PromRows } from "./prometheus-rows.ts";
import type { PromKind, PromSeries } from "./prometheus-series.ts";

const MINUTE = 60_000;

function series(
  metric: Record<string, string>,
  first: number,
  values: readonly number[],
): PromSeries {
  return { metric, values: values.map((value, i) => [(first + i) * 60, String(value)]) };
}

function read(
  names: PromNames,
  all: readonly PromSeries[],
  kind: PromKind = "counter",
  fromMs = 0,
) {
  const rows = new PromRows(names, kind, { stepMs: MINUTE });
  const chunk = { fromMs, toMs: 100 * MINUTE, stepMs: MINUTE, series: [...all] };
  return { rows, list: [...rows.rows(chunk, fromMs)].flat() };
}

describe("prometheus rows", () => {
  test.each<[string, PromNames, { workload: string; category: string; origin: string }]>([
    [
      "by labels, without the exporter's port",
      { labelWorkload: "service", labelCategory: "route", labelHost: "instance" },
      { workload: "shop", category: "a-cart", origin: "10.0.0.7" },
    ],
    [
      "fixed names before labels",
      { workload: "w", labelWorkload: "service", category: "c", host: "h" },
      { workload: "w", category: "c", origin: "h" },
    ],
    [
      "a label that is not there",
      { labelWorkload: "service", labelCategory: "none" },
      { workload: "shop", category: "default", origin: "" },
    ],
  ])("are named %s", (_, names, expected) => {
    const metric = { service: "Shop", route: "a/cart", instance: "10.0.0.7:9100" };
    const { list } = read(names, [series(metric, 1, [5, 8])]);
    expect(list).toEqual([{ ...expected, timestampMs: MINUTE, count: 3 }]);
  });

  test("series without the workload's label are counted once and shown", () => {
    const metric = { __name__: "http_requests_total", code: "200" };
    const { rows, list } = read({ labelWorkload: "service" }, [series(metric, 1, [5, 8, 9])]);
    expect(list).toEqual([]);
    expect([rows.unnamed, rows.unnamedExamples]).toEqual([1, ['http_requests_total{code="200"}']]);
  });

  test("cover what there were points of, and nothing before the range", () => {
    const some = [series({}, 10, [1, 2, 3]), series({ a: "b" }, 12, [1, 1, 1, 1])];
    const minutes = ({ rows }: ReturnType<typeof read>) =>
      rows.covers && [rows.covers.fromMs / MINUTE, rows.covers.toMs / MINUTE];
    expect(minutes(read({ workload: "w" }, some))).toEqual([10, 15]);
    // A gauge's first point tells of the step before it.
    expect(minutes(read({ workload: "w" }, some, "gauge"))).toEqual([9, 15]);
    const cut = read({ workload: "w" }, some, "gauge", 10 * MINUTE);
    expect(minutes(cut)).toEqual([10, 15]);
    expect(Math.min(...cut.list.map((row) => row.timestampMs))).toBe(10 * MINUTE);
    expect(minutes(read({ workload: "w" }, []))).toBeNull();
  });
});
