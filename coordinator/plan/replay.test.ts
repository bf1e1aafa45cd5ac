import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fixedKeepAlive, hazardPolicy, type MinuteSeries, recordCurves, replay } from "./replay.ts";

const series = (counts: number[], over: Partial<MinuteSeries> = {}): MinuteSeries => ({
  key: "w/c",
  counts,
  startMinute: 0,
  missCost: 1,
  memoryGb: 0.5,
  leadMinutes: 1,
  ...over,
});

describe("fixed keep-alive", () => {
  test("replay: is cold exactly after a longer gap than it keeps (gaps around 3)", () => {
    const result = replay(series([1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 1]), fixedKeepAlive(3));
    expect(result).toMatchObject({ arrivalMinutes: 4, coldMinutes: 3, loads: 3, wastedLoads: 0 });
  });

  test("replay: counts memory while it is kept (one arrival, then silence)", () => {
    const result = replay(series([1, 0, 0, 0, 0, 0]), fixedKeepAlive(2));
    expect(result.loadedMinutes).toBe(3);
    expect(result.loadedGbMinutes).toBeCloseTo(1.5);
  });

  test("replay: keeping longer is never colder and never cheaper (any series)", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 2 })), fc.nat(20), (counts, minutes) => {
        const short = replay(series(counts), fixedKeepAlive(minutes));
        const long = replay(series(counts), fixedKeepAlive(minutes + 1));
        expect(long.coldMinutes).toBeLessThanOrEqual(short.coldMinutes);
        expect(long.loadedMinutes).toBeGreaterThanOrEqual(short.loadedMinutes);
      }),
    );
  });
});

/** Knows that something comes every `period` minutes, once it has seen one arrival. */
function timerSource(period: number) {
  let last: number | null = null;
  return {
    observe(_key: string, minute: number, count: number) {
      if (count > 0) last = minute;
    },
    curve(_key: string, minute: number) {
      const hazardPerMinute = Array.from({ length: 120 }, (_, k) =>
        last !== null && (minute + k - last) % period === 0 ? 1 : 0,
      );
      return { hazardPerMinute, probabilityWithin: () => 0 };
    },
  };
}

test("replay: a timer is met by starting ahead, at a tenth of the memory (every 20 minutes)", () => {
  const counts = Array.from({ length: 400 }, (_, i) => (i % 20 === 0 ? 1 : 0));
  const one = series(counts);
  const [curves] = recordCurves([one], timerSource(20));
  const ahead = replay(
    one,
    hazardPolicy(one, curves ?? { hazards: [], peaks: new Float32Array() }, 2.4),
  );
  const fixed = replay(one, fixedKeepAlive(10));
  expect(ahead.coldMinutes).toBe(1);
  expect(ahead.wastedLoads).toBe(0);
  expect(fixed.coldMinutes).toBe(20);
  expect(ahead.loadedMinutes).toBeLessThan(fixed.loadedMinutes / 5);
});

test("replay: what comes later changes nothing before it (any two futures)", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 1 }), { minLength: 10, maxLength: 60 }),
      fc.array(fc.integer({ min: 0, max: 1 }), { maxLength: 60 }),
      (past, future) => {
        const run = (counts: number[]) => {
          const s = series(counts);
          const recorded = recordCurves([s], timerSource(4))[0];
          const hold: boolean[] = [];
          const policy = hazardPolicy(s, recorded ?? { hazards: [], peaks: new Float32Array() }, 1);
          replay(s, {
            hold: (i, idle) => {
              hold[i] = policy.hold(i, idle);
              return hold[i] === true;
            },
            start: (i) => {
              hold[i] = policy.start(i);
              return hold[i] === true;
            },
          });
          return hold.slice(0, past.length);
        };
        expect(run([...past, ...future])).toEqual(run(past));
      },
    ),
  );
});

test("replay: curves of one series see nothing of another's later minutes (shared source)", () => {
  const asked: string[] = [];
  const a = series([1, 1, 1], { key: "a" });
  const b = series([1, 1, 1], { key: "b" });
  recordCurves([a, b], {
    observe: (key, minute) => asked.push(`observe ${key}${minute}`),
    curve: (key, minute) => {
      asked.push(`curve ${key}${minute}`);
      return { hazardPerMinute: [], probabilityWithin: () => 0 };
    },
  });
  expect(asked.slice(0, 5)).toEqual([
    "curve a0",
    "curve b0",
    "observe a0",
    "observe b0",
    "curve a1",
  ]);
});
