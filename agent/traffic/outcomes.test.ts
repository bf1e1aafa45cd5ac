import fc from "fast-check";
import { expect, test } from "vitest";
import { Outcome } from "../../shared/domain.ts";
import { type Found, foundHeaders, outcomeKind, outcomeOf, readFound } from "./outcomes.ts";

const found: fc.Arbitrary<Found> = fc.record({
  kind: fc.constantFrom("hit", "late", "miss"),
  waitedMs: fc.nat(1e6),
  orderId: fc.option(fc.string({ maxLength: 60 })),
  memoryByteMs: fc.nat(2 ** 50),
});

test("outcomes: what a router tells another in headers comes back the same", () => {
  fc.assert(
    fc.property(found, (one) => {
      const headers = new Map(foundHeaders(one));
      for (const value of headers.values()) expect(value).toMatch(/^[\x20-\x7e]*$/);
      expect(readFound((name) => headers.get(name))).toEqual(one);
    }),
  );
});

test("outcomes: headers of strangers give nothing, or numbers in range", () => {
  fc.assert(
    fc.property(fc.dictionary(fc.constantFrom("prestage-waited-ms", "x"), fc.string()), (bad) => {
      expect(readFound((name) => bad[name])).toBeNull();
      const read = readFound((name) => (name === "prestage-outcome" ? "hit" : bad[name]));
      expect(read?.waitedMs).toBeGreaterThanOrEqual(0);
    }),
  );
  expect(readFound((n) => (n === "prestage-order" ? "%E0%" : "hit"))?.orderId).toBeNull();
});

test("outcomes: every row is valid, and waits no longer than its first byte took", () => {
  fc.assert(
    fc.property(fc.option(found), fc.double({ min: 0, max: 1e6, noNaN: true }), (one, ms) => {
      const row = outcomeOf({
        workload: "shop",
        category: "red",
        host: "h1",
        atMs: 5,
        firstByteMs: ms,
        status: 200,
        found: one,
      });
      expect(Outcome.safeParse(row).success).toBe(true);
      expect(row.waitedMs).toBeLessThanOrEqual(ms);
    }),
  );
});

test("outcomes: warm is a hit, late is late, made is a miss, nothing is a miss", () => {
  expect((["warm", "late", "made"] as const).map(outcomeKind)).toEqual(["hit", "late", "miss"]);
  const request = { workload: "w", category: "c", host: "h", atMs: 0, firstByteMs: 7, status: 503 };
  expect(outcomeOf({ ...request, found: null })).toMatchObject({ kind: "miss", waitedMs: 7 });
});
