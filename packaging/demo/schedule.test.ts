import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { seededRandom } from "../../shared/runtime/random.ts";
import { schedule, waterLevel } from "./schedule.ts";
import { MINUTE_MS, type Series, type Window } from "./selection.ts";

const WINDOW: Window = {
  fromMs: 0,
  runInMs: 10 * MINUTE_MS,
  playMs: 12 * MINUTE_MS,
  endMs: 20 * MINUTE_MS,
  binned: true,
};
const OPTIONS = { hosts: 4, speed: 60, ratePerSecond: 150 };

function series(workload: string, counts: Record<number, number>, origin = ""): Series {
  const rows = Object.entries(counts).map(([minute, count]) => ({
    timestampMs: Number(minute) * MINUTE_MS,
    workload,
    category: "default",
    origin,
    count,
  }));
  return { workload, category: "default", rows };
}

describe("schedule", () => {
  test("plays every request after the start of the run-in once, in its minute", () => {
    const { requests, thinned } = schedule(
      [series("a", { 5: 7, 10: 3, 12: 2, 19: 1 })],
      WINDOW,
      OPTIONS,
      seededRandom(1),
    );
    expect(thinned).toBe(0);
    expect(requests.map((r) => Math.floor(r.atMs / MINUTE_MS))).toEqual([10, 10, 10, 12, 12, 19]);
    expect(requests.map((r) => r.measured)).toEqual([false, false, false, true, true, true]);
  });

  test("spreads a minute's requests over the minute", () => {
    const { requests } = schedule([series("a", { 12: 100 })], WINDOW, OPTIONS, seededRandom(1));
    const inMinute = requests.map((r) => r.atMs - 12 * MINUTE_MS);
    expect(Math.min(...inMinute)).toBeLessThan(5_000);
    expect(Math.max(...inMinute)).toBeGreaterThan(55_000);
  });

  test("takes recorded moments as they are (a trace that is not binned)", () => {
    const row = { timestampMs: 725_123, workload: "a", category: "default", origin: "", count: 1 };
    const moments = { workload: "a", category: "default", rows: [row] };
    const window = { ...WINDOW, binned: false };
    const { requests } = schedule([moments], window, OPTIONS, seededRandom(1));
    expect(requests.map((r) => r.atMs)).toEqual([725_123]);
  });

  test("sends most requests of a series to one host, and those of one origin to one", () => {
    const { requests } = schedule([series("a", { 12: 140 })], WINDOW, OPTIONS, seededRandom(1));
    const byHost = [0, 1, 2, 3].map((h) => requests.filter((r) => r.entry === h).length);
    expect(Math.max(...byHost)).toBeGreaterThan(0.7 * 140);
    expect(byHost.filter((n) => n > 0).length).toBeGreaterThan(1);

    const same = schedule([series("a", { 12: 50 }, "berlin")], WINDOW, OPTIONS, seededRandom(1));
    expect(new Set(same.requests.map((r) => r.entry)).size).toBe(1);
  });

  test("leaves out requests of the busy, none of the sparse (over the rate)", () => {
    const busy = series("busy", { 12: 5_000, 13: 5_000 });
    const sparse = series("sparse", { 12: 1, 13: 2 });
    const { requests, thinned } = schedule([busy, sparse], WINDOW, OPTIONS, seededRandom(1));
    expect(requests.filter((r) => r.workload === "sparse")).toHaveLength(3);
    expect(requests).toHaveLength(300);
    expect(thinned).toBe(10_003 - 300);
  });

  test("is the same for one seed, ordered, and within the rate (any counts)", () => {
    const counts = fc.dictionary(
      fc.integer({ min: 10, max: 19 }).map(String),
      fc.integer({ min: 1, max: 400 }),
    );
    fc.assert(
      fc.property(fc.array(counts, { minLength: 1, maxLength: 6 }), fc.integer(), (all, seed) => {
        const given = all.map((c, i) => series(`w${i}`, c));
        const one = schedule(given, WINDOW, OPTIONS, seededRandom(seed));
        expect(schedule(given, WINDOW, OPTIONS, seededRandom(seed))).toEqual(one);
        const times = one.requests.map((r) => r.atMs);
        expect(times).toEqual(times.toSorted((a, b) => a - b));
        for (let minute = 10; minute < 20; minute++) {
          const inMinute = times.filter((t) => Math.floor(t / MINUTE_MS) === minute);
          expect(inMinute.length).toBeLessThanOrEqual(150);
        }
        const asked = all.flatMap((c) => Object.values(c)).reduce((a, b) => a + b, 0);
        expect(one.requests.length + one.thinned).toBe(asked);
      }),
      { numRuns: 50 },
    );
  });

  test("fills to the cap and no more (water level, any counts)", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 1_000 }), { minLength: 1, maxLength: 20 }),
        fc.integer({ min: 20, max: 2_000 }),
        (counts, cap) => {
          const level = waterLevel(counts, cap);
          const kept = counts.map((c) => Math.min(c, level)).reduce((a, b) => a + b, 0);
          expect(kept).toBeLessThanOrEqual(cap);
          if (level !== Number.POSITIVE_INFINITY) expect(kept).toBeGreaterThan(cap - counts.length);
        },
      ),
    );
  });
});
