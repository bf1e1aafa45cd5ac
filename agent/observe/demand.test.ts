import fc from "fast-check";
import { expect, test } from "vitest";
import { DEMAND_BIN_MS, DemandBin } from "../../shared/domain.ts";
import { DemandCounter } from "./demand.ts";

const request = fc.record({
  workload: fc.constantFrom("a", "b"),
  category: fc.constantFrom("x", "y/z".replace("/", "-")),
  atMs: fc.nat(10 * DEMAND_BIN_MS),
  take: fc.boolean(),
});

test("demand: bins add up to what was counted, however often they are taken", () => {
  fc.assert(
    fc.property(fc.array(request, { maxLength: 100 }), (requests) => {
      const counter = new DemandCounter("h1");
      const rows: DemandBin[] = [];
      for (const { workload, category, atMs, take } of requests) {
        counter.count(workload, category, atMs);
        if (take) rows.push(...counter.take());
      }
      rows.push(...counter.take());
      expect(rows.reduce((sum, row) => sum + row.count, 0)).toBe(requests.length);
      expect(counter.total).toBe(requests.length);
      for (const row of rows) {
        expect(DemandBin.safeParse(row).success).toBe(true);
        expect(row.startMs % DEMAND_BIN_MS).toBe(0);
      }
      expect(counter.take()).toEqual([]);
    }),
  );
});

test("demand: is bounded and says what it dropped", () => {
  const counter = new DemandCounter("h1", { rowsMax: 2 });
  for (const category of ["a", "b", "c", "a"]) counter.count("w", category, 0);
  expect(counter.take().map((row) => [row.category, row.count])).toEqual([
    ["a", 2],
    ["b", 1],
  ]);
  expect([counter.total, counter.dropped]).toEqual([4, 1]);
});
