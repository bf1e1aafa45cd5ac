import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { seededRandom } from "../../../shared/runtime/random.ts";
import { LEVELS } from "../levels.ts";
import { RecurrentExpert, RecurrentState } from "./expert.ts";
import { initialWeights, SIZES, toState } from "./network.ts";
import { PAST_MIN } from "./window.ts";

const BIN_MS = 3_600_000;
const weights = toState(initialWeights(seededRandom("expert")), SIZES);
const awake = () => {
  const expert = new RecurrentExpert();
  expert.use({ weights, aheadMax: 6 });
  return expert;
};
const count = fc.oneof(fc.integer({ min: 0, max: 500 }), fc.constant(Number.NaN));
const past = (counts: readonly number[]) => ({
  startMs: 0,
  binMs: BIN_MS,
  counts: Float64Array.from(counts),
});

describe("the recurrent expert", () => {
  test("forecasts the same bin by bin as from the whole past (any counts, gaps among them)", () => {
    const long = fc.array(count, { minLength: PAST_MIN, maxLength: 700 });
    fc.assert(
      fc.property(long, fc.nat(), (counts, cut) => {
        const expert = awake();
        const whole = expert.fit(past(counts));
        const grown = expert.fit(past(counts.slice(0, cut % counts.length)));
        for (const value of counts.slice(cut % counts.length)) grown.update(value);
        expect(grown.predict(6)).toEqual(whole.predict(6));
      }),
    );
  });

  test("forecasts the same from the days it keeps as from all (a month)", () => {
    const random = seededRandom("month");
    const counts = Array.from({ length: 30 * 24 }, () => random.int(100));
    const expert = awake();
    const dropped = 20 * 24;
    const recent = {
      startMs: dropped * BIN_MS,
      binMs: BIN_MS,
      counts: Float64Array.from(counts.slice(dropped)),
    };
    expect(expert.fit(recent).predict(6)).toEqual(expert.fit(past(counts)).predict(6));
  });

  test("gives rising, non-negative rows up to the distance it knows, NaN beyond", () => {
    fc.assert(
      fc.property(fc.array(count, { minLength: PAST_MIN, maxLength: 200 }), (counts) => {
        const rows = awake().fit(past(counts)).predict(8);
        for (let ahead = 0; ahead < 8; ahead++) {
          const row = [...rows.subarray(ahead * LEVELS.length, (ahead + 1) * LEVELS.length)];
          // A series that is mostly silent is left to others.
          if (ahead >= 6 || row.every(Number.isNaN)) expect(row.every(Number.isNaN)).toBe(true);
          else expect(row).toEqual([...row].map((q) => Math.max(0, q)).sort((a, b) => a - b));
        }
      }),
    );
  });

  test("sleeps without weights and without a past", () => {
    const asleep = new RecurrentExpert();
    expect(asleep.awake).toBe(false);
    expect(
      asleep
        .fit(past(new Array(100).fill(3)))
        .predict(2)
        .every(Number.isNaN),
    ).toBe(true);
    expect(
      awake()
        .fit(past([1, 2]))
        .predict(2)
        .every(Number.isNaN),
    ).toBe(true);
  });

  test("sleeps while a series is mostly silent, and wakes with it", () => {
    const fitted = awake().fit(past(Array.from({ length: 200 }, (_, i) => (i % 3 === 0 ? 1 : 0))));
    expect(fitted.predict(2).every(Number.isNaN)).toBe(true);
    for (let i = 0; i < 100; i++) fitted.update(1);
    expect(fitted.predict(2).every(Number.isFinite)).toBe(true);
  });

  test("comes back from its state, and refuses one of another shape", () => {
    const expert = awake();
    const state = RecurrentState.parse(JSON.parse(JSON.stringify(expert.state())));
    const again = new RecurrentExpert();
    expect(again.use(state)).toBe(true);
    const counts = past(Array.from({ length: 60 }, (_, i) => i % 24));
    expect(again.fit(counts).predict(6)).toEqual(expert.fit(counts).predict(6));
    const sizes = { ...state.weights.sizes, hidden: state.weights.sizes.hidden + 1 };
    expect(again.use({ ...state, weights: { ...state.weights, sizes } })).toBe(false);
  });
});
