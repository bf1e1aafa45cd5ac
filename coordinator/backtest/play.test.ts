import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { capacityFor, GreedyDual, Lru } from "./caches.ts";
import { coldRequests, type Policy, playAll, type Series } from "./play.ts";
import { fixed, oracle, windowed } from "./policies.ts";

const one = (counts: number[], over: Partial<Series> = {}): Series => ({
  key: "w/c",
  counts,
  memoryGb: 0.5,
  startSeconds: 5,
  artifactBytes: 1000,
  runSeconds: 0,
  ...over,
});
const played = (series: Series[], policy: Policy, warmUpMinutes = 0) => {
  const [result] = playAll(series, [policy], { warmUpMinutes });
  if (!result) throw new Error("nothing played");
  return result;
};
const minutes = (max = 3) => fc.array(fc.integer({ min: 0, max }), { minLength: 1, maxLength: 80 });

describe("fixed keep-alive", () => {
  test("play: cold, idle and loads are what its gaps say (any series and keep-alive)", () => {
    fc.assert(
      fc.property(minutes(), fc.integer({ min: 0, max: 20 }), (counts, keep) => {
        const at = counts.flatMap((count, minute) => (count > 0 ? [minute] : []));
        const gaps = at.slice(1).map((minute, i) => minute - (at[i] ?? 0));
        const tail = at.length > 0 ? counts.length - 1 - (at.at(-1) ?? 0) : 0;
        const cold = gaps.filter((gap) => gap > keep).length + Math.min(1, at.length);
        const idle = gaps.reduce((sum, gap) => sum + Math.min(gap - 1, keep), Math.min(tail, keep));
        const { total } = played([one(counts)], fixed(keep, 1));
        expect(total).toMatchObject({
          arrivalMinutes: at.length,
          coldMinutes: cold,
          idleMinutes: idle,
          loads: cold,
          bytesMoved: cold * 1000,
          wastedLoads: 0,
        });
      }),
    );
  });
});

test("play: the warm-up is played and not counted (an arrival on either side)", () => {
  const { total } = played([one([1, 0, 0, 1, 0])], fixed(10, 1), 2);
  expect(total).toMatchObject({ arrivalMinutes: 1, coldMinutes: 0, loads: 0, idleMinutes: 2 });
});

test("play: a load takes its whole minutes, and all that come meanwhile wait (150 s)", () => {
  const series = [one([4, 2, 1, 1], { startSeconds: 150 })];
  const { total } = played(series, fixed(10, 1));
  expect(total).toMatchObject({ coldMinutes: 3, coldRequests: 7, loads: 1 });
});

test("play: of a cold minute those wait that come while it starts (61 requests, 5 s)", () => {
  expect(coldRequests(61, 5, false)).toBe(6);
  expect(coldRequests(1, 5, false)).toBe(1);
  expect(coldRequests(10, 300, false)).toBe(10);
});

test("play: a load made ahead and dropped unused was for nothing (one minute early and late)", () => {
  const ahead = (from: number, to: number): Policy => ({
    name: "ahead",
    wants: (_, minute) => minute >= from && minute < to,
    observe: () => {},
  });
  expect(played([one([0, 0, 0, 1, 0])], ahead(2, 5)).total).toMatchObject({
    coldMinutes: 0,
    loads: 1,
    wastedLoads: 0,
    idleMinutes: 2,
  });
  expect(played([one([0, 0, 0, 0, 1])], ahead(1, 3)).total).toMatchObject({
    coldMinutes: 1,
    loads: 2,
    wastedLoads: 1,
  });
});

test("windowed: loads again a lead ahead of its window (after 20 minutes, kept for 5)", () => {
  const counts = Array.from({ length: 101 }, (_, i) => (i % 25 === 0 ? 1 : 0));
  const windows = { window: () => ({ from: 24, to: 30 }), learn: () => {} };
  const { total } = played([one(counts)], windowed("w", [one(counts)], windows));
  expect(total).toMatchObject({ coldMinutes: 1, loads: 5, idleMinutes: 8 });
});

describe("caches", () => {
  const many = fc.integer({ min: 2, max: 6 }).chain((size) =>
    fc.array(
      fc.record({
        counts: fc.array(fc.integer({ min: 0, max: 2 }), { minLength: 40, maxLength: 40 }),
        memoryGb: fc.constantFrom(0.25, 0.5, 1),
      }),
      { minLength: size, maxLength: size },
    ),
  );

  test("cache: only what is in use may exceed its size (any demand)", () => {
    fc.assert(
      fc.property(many, fc.constantFrom("lru", "greedy-dual"), (all, kind) => {
        const series = all.map((s, i) => one(s.counts, { key: `w/${i}`, memoryGb: s.memoryGb }));
        const policy = kind === "lru" ? new Lru(series, 1) : new GreedyDual(series, 1);
        const result = played(series, policy);
        for (let minute = 0; minute < 40; minute++) {
          // What a minute leaves behind is brought under the size before the next one.
          const used = (m: number) =>
            series.reduce((sum, s) => sum + ((s.counts[m] ?? 0) > 0 ? s.memoryGb : 0), 0);
          const before = minute > 0 ? Math.max(1, used(minute - 1)) : 0;
          expect(result.gbByMinute[minute]).toBeLessThanOrEqual(before + used(minute) + 1e-6);
        }
      }),
    );
  });

  test("greedy-dual: keeps what is asked for more (one must go)", () => {
    const series = [one([9, 0, 0, 0, 1]), one([0, 1, 0, 0, 1]), one([0, 0, 3, 0, 1])];
    const { categories } = played(series, new GreedyDual(series, 1));
    expect(categories.map((c) => c.coldMinutes)).toEqual([1, 2, 1]);
  });

  test("greedy-dual: keeps what is small, and slow to start (one must go)", () => {
    const small = one([1, 0, 0, 0, 1], { memoryGb: 0.25 });
    const large = one([0, 2, 0, 0, 1], { memoryGb: 0.75 });
    const slow = one([0, 2, 0, 0, 1], { memoryGb: 0.75, startSeconds: 30 });
    const third = one([0, 0, 1, 0, 0], { memoryGb: 0.25 });
    const cold = (series: Series[]) =>
      played(series, new GreedyDual(series, 1)).categories.map((c) => c.coldMinutes);
    expect(cold([small, large, third])).toEqual([1, 2, 1]);
    expect(cold([small, slow, third])).toEqual([2, 1, 1]);
  });

  test("lru: keeps what was used last (one must go)", () => {
    const series = [one([9, 0, 0, 1]), one([0, 1, 0, 0]), one([0, 0, 1, 1])];
    const { categories } = played(series, new Lru(series, 1));
    expect(categories.map((c) => c.coldMinutes)).toEqual([2, 1, 1]);
  });

  test("cache: its size for some memory-time is under it and near it (five categories)", () => {
    const series = Array.from({ length: 5 }, (_, i) =>
      one(Array.from({ length: 400 }, (_, m) => (m % (7 + 9 * i) === 0 ? 1 : 0))),
    );
    const make = (all: readonly Series[], gb: number) => new Lru(all, gb);
    const wanted = 500;
    const reached = played(series, make(series, capacityFor(make, series, wanted, 0)));
    expect(reached.total.loadedGbMinutes).toBeLessThanOrEqual(wanted);
    expect(reached.total.loadedGbMinutes).toBeGreaterThan(wanted * 0.7);
  });
});

test("oracle: no policy costs less than it (any series, worth and keep-alive)", () => {
  fc.assert(
    fc.property(
      minutes(1),
      fc.integer({ min: 1, max: 60 }),
      fc.integer({ min: 0, max: 30 }),
      (counts, worth, keep) => {
        const series = [one([0, ...counts])];
        const cost = (policy: Policy) => {
          const { coldMinutes, idleMinutes, loads } = played(series, policy).total;
          return coldMinutes * worth + idleMinutes + (loads - coldMinutes) * 0.1 * worth;
        };
        // What is still held when the recording ends is nobody's fault.
        expect(cost(oracle(worth, series, 0.1))).toBeLessThanOrEqual(cost(fixed(keep, 1)) + 1e-9);
      },
    ),
  );
});
