import fc from "fast-check";
import { expect, test } from "vitest";
import { DemandHistory } from "./history.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const bin = (minute: number, count: number, host = "a", category = "c") => ({
  workload: "w",
  category,
  host,
  startMs: minute * MINUTE,
  count,
});

test("history: series are gap-free and add up increments (two reports of one bin)", () => {
  const history = new DemandHistory();
  for (const b of [bin(10, 2), bin(13, 1), bin(10, 3, "b")]) history.add(b);
  expect(history.series("w", "c", null)).toEqual({
    startMs: 10 * MINUTE,
    binMs: MINUTE,
    counts: Float64Array.of(5, 0, 0, 1),
  });
  expect([...history.series("w", "c", "b").counts]).toEqual([3]);
  const range = { fromMs: 8 * MINUTE, toMs: 11 * MINUTE };
  expect([...history.series("w", "c", null, range).counts]).toEqual([0, 0, 5]);
  expect(history.lastArrivalMs("w", "c")).toBe(13 * MINUTE);
  expect(history.keys()).toEqual([{ workload: "w", category: "c" }]);
});

test("history: what was never seen is empty (unknown category and host)", () => {
  const history = new DemandHistory();
  history.add(bin(0, 0));
  expect(history.keys()).toEqual([]);
  expect(history.series("w", "c", null).counts).toHaveLength(0);
  expect([...history.series("w", "c", null, { fromMs: 0, toMs: 2 * MINUTE }).counts]).toEqual([
    0, 0,
  ]);
  expect(history.lastArrivalMs("w", "c")).toBeNull();
  expect(history.hostShare("w", "c").size).toBe(0);
});

test("history: host shares sum to 1 and forget (a host that moved a day ago)", () => {
  const history = new DemandHistory();
  history.add(bin(0, 10, "old"));
  history.add(bin(1440, 10, "new"));
  const shares = history.hostShare("w", "c");
  expect(shares.get("new")).toBeCloseTo(2 / 3);
  expect(shares.get("old")).toBeCloseTo(1 / 3);
});

test("history: old minutes become hours only, very old ones are dropped and counted", () => {
  const history = new DemandHistory({ keepMs: 2 * DAY, keepHoursMs: 10 * DAY });
  const day = 1440;
  history.add(bin(0, 1));
  history.add(bin(5 * day, 4));
  history.add(bin(20 * day, 1));
  history.add(bin(1, 1));
  expect(history.dropped).toBe(1);
  history.prune(0);
  expect(history.series("w", "c", null).startMs).toBeGreaterThanOrEqual(17 * DAY);
  const hours = history.hours("w", "c", { fromMs: 0 });
  expect(hours.binMs).toBe(HOUR);
  history.prune(30 * DAY);
  expect(history.keys()).toEqual([]);
});

test("history: memory is bounded (more categories and hosts than the limits)", () => {
  const history = new DemandHistory({ categoriesMax: 3, hostsMax: 2 });
  for (let i = 0; i < 10; i++) history.add(bin(i, 1, `h${i}`, `c${i}`));
  expect(history.keys()).toHaveLength(3);
  expect(history.dropped).toBe(7);
  for (let i = 0; i < 10; i++) history.add(bin(i, 1, `h${i}`, "c0"));
  expect(history.hostShare("w", "c0").size).toBe(2);
  expect([...history.series("w", "c0", null).counts].reduce((a, b) => a + b)).toBe(11);
});

test("history: the order of reports does not matter", () => {
  const bins = fc.array(
    fc.record({
      minute: fc.nat(3000),
      count: fc.integer({ min: 1, max: 9 }),
      host: fc.constantFrom("a", "b"),
    }),
    { minLength: 1, maxLength: 30 },
  );
  fc.assert(
    fc.property(bins, (rows) => {
      const forward = new DemandHistory();
      const backward = new DemandHistory();
      for (const { minute, count, host } of rows) forward.add(bin(minute, count, host));
      for (const { minute, count, host } of rows.toReversed())
        backward.add(bin(minute, count, host));
      expect(backward.series("w", "c", null)).toEqual(forward.series("w", "c", null));
      expect(backward.lastArrivalMs("w", "c")).toBe(forward.lastArrivalMs("w", "c"));
      for (const [host, share] of forward.hostShare("w", "c")) {
        expect(backward.hostShare("w", "c").get(host)).toBeCloseTo(share, 9);
      }
    }),
  );
});

test("history: what is removed was never there (any bins, any order)", () => {
  const one = fc.record({
    minute: fc.nat(2800),
    count: fc.integer({ min: 1, max: 9 }),
    host: fc.constantFrom("a", "b"),
    category: fc.constantFrom("c", "d"),
  });
  const many = fc.array(one, { maxLength: 20 });
  fc.assert(
    fc.property(many, many, (kept, removed) => {
      const both = new DemandHistory();
      const only = new DemandHistory();
      const binOf = ({ minute, count, host, category }: (typeof kept)[number]) =>
        bin(minute, count, host, category);
      for (const b of removed) both.add(binOf(b));
      for (const b of kept) {
        both.add(binOf(b));
        only.add(binOf(b));
      }
      for (const b of removed) both.remove(binOf(b));
      both.forgetEmpty();
      expect(
        both
          .keys()
          .map((k) => k.category)
          .sort(),
      ).toEqual(
        only
          .keys()
          .map((k) => k.category)
          .sort(),
      );
      const range = { fromMs: 0, toMs: 3001 * 60_000 };
      for (const category of ["c", "d"]) {
        for (const host of [null, "a", "b"])
          expect(both.series("w", category, host, range)).toEqual(
            only.series("w", category, host, range),
          );
        expect(both.lastArrivalMs("w", category)).toBe(only.lastArrivalMs("w", category));
        const shares = both.hostShare("w", category);
        expect([...shares.keys()].sort()).toEqual([...only.hostShare("w", category).keys()].sort());
        for (const [host, share] of only.hostShare("w", category))
          expect(shares.get(host)).toBeCloseTo(share, 6);
      }
    }),
  );
});
