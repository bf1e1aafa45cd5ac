import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Name } from "../../shared/domain.ts";
import { seededRandom } from "../../shared/runtime/random.ts";
import { MINUTE_MS, plainName, type Row, select, TraceCollector } from "./selection.ts";

const OPTIONS = { playMinutes: 60, runInMinutes: 10, count: 10, leaveConstant: true };

/** Rows of one series at the given minutes of an eight-hour trace. */
const at = (workload: string, minutes: number[], count = 1): Row[] =>
  minutes.map((m) => ({
    timestampMs: m * MINUTE_MS,
    workload,
    category: "default",
    origin: "",
    count,
  }));
const every = (n: number) => Array.from({ length: 480 }, (_, m) => m).filter((m) => m % n === 0);

function collected(...rows: Row[][]) {
  const trace = new TraceCollector();
  for (const row of rows.flat()) trace.add(row);
  return trace.finish();
}
const frame = at("frame", [0, 479]);

describe("selection", () => {
  test("leaves out what is constant or silent", () => {
    const trace = collected(
      frame,
      at("constant", every(1)),
      at("silent-now", [5, 10, 15]),
      at("new", [450, 460]),
      at("good", every(20)),
    );
    const chosen = select(trace, OPTIONS, seededRandom(1));
    expect(chosen.series.map((s) => s.workload)).toEqual(["good"]);
    // `frame` has one request of history only.
    expect(chosen.left).toEqual({ constant: 1, silent: 3, notChosen: 0 });
  });

  test("keeps constant series where they are wanted (access logs)", () => {
    const trace = collected(frame, at("constant", every(1)));
    const chosen = select(trace, { ...OPTIONS, leaveConstant: false }, seededRandom(1));
    expect(chosen.series.map((s) => s.workload)).toEqual(["constant"]);
  });

  test("cuts history, run-in and played part without a gap", () => {
    const { window } = select(collected(frame, at("good", every(20))), OPTIONS, seededRandom(1));
    expect(window).toEqual({
      fromMs: 0,
      runInMs: 410 * MINUTE_MS,
      playMs: 420 * MINUTE_MS,
      endMs: 480 * MINUTE_MS,
      binned: true,
    });
  });

  test("says what to do when nothing is left", () => {
    const trace = collected(frame, at("silent-now", [5, 10]));
    expect(() => select(trace, OPTIONS, seededRandom(1))).toThrow(/another --duration or trace/);
  });

  test("refuses a trace that is all played part", () => {
    expect(() => select(collected(at("a", [0, 30])), OPTIONS, seededRandom(1))).toThrow(
      /too short/,
    );
  });

  test("gives the same for one seed, whatever the order of the rows", () => {
    const names = Array.from({ length: 30 }, (_, i) => at(`w${i}`, every(7 + i)));
    fc.assert(
      fc.property(fc.shuffledSubarray(names, { minLength: 30 }), fc.integer(), (order, seed) => {
        const one = select(collected(frame, ...names), OPTIONS, seededRandom(seed));
        const two = select(collected(...order, frame), OPTIONS, seededRandom(seed));
        expect(two.series.map((s) => s.workload)).toEqual(one.series.map((s) => s.workload));
        expect(one.series).toHaveLength(10);
      }),
      { numRuns: 20 },
    );
  });

  test("makes names that artifacts and URLs can carry (any text)", () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), (text) => {
        const name = plainName(text, 30);
        expect(Name.safeParse(name).success).toBe(true);
        expect(name.length).toBeLessThanOrEqual(30);
        expect(plainName(name, 30)).toBe(name);
      }),
    );
  });

  test("tells different long names apart", () => {
    const long = "f".repeat(64);
    expect(plainName(`${long}a`, 30)).not.toBe(plainName(`${long}b`, 30));
  });
});
