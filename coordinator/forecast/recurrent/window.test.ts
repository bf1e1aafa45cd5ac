import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { seededRandom } from "../../../shared/runtime/random.ts";
import { LEVELS } from "../levels.ts";
import { initialWeights, RecurrentNetwork } from "./network.ts";
import { CONTEXT, filled, PAST_MIN, windowOf } from "./window.ts";

const BIN_MS = 3_600_000;
const network = new RecurrentNetwork(initialWeights(seededRandom("windows")));
const counts = fc.array(fc.integer({ min: 0, max: 1000 }), {
  minLength: PAST_MIN,
  maxLength: 400,
});
const AHEADS = [1, 2, 7, 30];
const series = (values: readonly number[]) => ({
  startMs: 0,
  binMs: BIN_MS,
  values: Float64Array.from(values),
});

describe("a window", () => {
  test("sees nothing of what comes after (any past, any future)", () => {
    fc.assert(
      fc.property(counts, counts, (past, future) => {
        const alone = windowOf(series(past), past.length, AHEADS);
        const within = windowOf(series([...past, ...future]), past.length, AHEADS);
        expect(within).toEqual(alone);
      }),
    );
  });

  test("is the same for a series in another unit, but for whole counts", () => {
    fc.assert(
      fc.property(counts, (past) => {
        // Halves, so that neither is of whole counts.
        const halves = past.map((value) => value + 0.5);
        const one = windowOf(series(halves), past.length, AHEADS);
        const other = windowOf(series(halves.map((value) => value * 64.25)), past.length, AHEADS);
        expect(other?.level).toBeCloseTo((one?.level ?? 0) * 64.25, 3);
        other?.steps.forEach((value, i) => {
          expect(value).toBeCloseTo(one?.steps[i] ?? Number.NaN, 3);
        });
      }),
    );
  });

  test("gives finite quantiles that do not cross (any past, extreme values)", () => {
    const extreme = fc.array(fc.constantFrom(0, 1, 1e-9, 3, 1e15), {
      minLength: PAST_MIN,
      maxLength: 200,
    });
    fc.assert(
      fc.property(fc.oneof(counts, extreme), (past) => {
        const window = windowOf(series(past), past.length, AHEADS);
        expect(window).not.toBeNull();
        for (const quantiles of window ? network.predict(window) : []) {
          expect(quantiles).toHaveLength(LEVELS.length);
          expect(quantiles.every(Number.isFinite)).toBe(true);
          expect([...quantiles].sort((a, b) => a - b)).toEqual(quantiles);
        }
      }),
    );
  });

  test("is none for a past that is too short", () => {
    expect(windowOf(series(new Array(CONTEXT).fill(1)), CONTEXT, [1])).toBeNull();
  });

  test("has yesterday's value among the simple forecasts (a day of hours, exactly repeated)", () => {
    const day = Array.from({ length: 24 }, (_, i) => (i * 7) % 24);
    const past = [...day, ...day, ...day];
    const window = windowOf(series(past), past.length, [1, 5, 29]);
    window?.bins.forEach(({ candidates }, i) => {
      const actual = day[(([1, 5, 29][i] ?? 0) % 24) - 1] ?? Number.NaN;
      expect(window.level + window.scale * (candidates[6] ?? 0)).toBeCloseTo(actual, 4);
    });
  });
});

describe("missing bins", () => {
  test("get what was there a day before, else the last known value", () => {
    const past = Array.from({ length: 48 }, (_, i) => i);
    past[3] = Number.NaN;
    past[30] = Number.NaN;
    const values = filled(past, BIN_MS);
    expect(values[3]).toBe(2);
    expect(values[30]).toBe(6);
    expect(values[47]).toBe(47);
  });
});
