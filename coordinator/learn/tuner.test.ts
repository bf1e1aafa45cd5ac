import { expect, test } from "vitest";
import { seededRandom } from "../../shared/runtime/random.ts";
import { ARMS, Bandit, START_ARM } from "./bandit.ts";
import { regretOf } from "./regret.ts";
import { DEFAULT_TUNER, type Paper, Tuner } from "./tuner.ts";

/** Each minute costs every arm what the minute says; remembers the arm each epoch began from. */
type Run = { costs: number[]; begun: number[] };
const paper: Paper<Run, number[]> = {
  begin: (run, arm) => ({ costs: ARMS.map(() => 0), begun: [...(run?.begun ?? []), arm] }),
  minute: (run, costs) => ({ ...run, costs: run.costs.map((c, a) => c + (costs[a] ?? 0)) }),
  costs: (run) => run.costs,
};
const context = () => [1, 0, 0, 0, 0];
const make = (options = DEFAULT_TUNER) =>
  new Tuner({ bandit: new Bandit(), paper, random: seededRandom("t") }, options);
/** `cheap` costs nothing, the others a miss per ten minutes. */
const minute = (cheap: number) => ARMS.map((_, arm) => (arm === cheap ? 0 : 0.1));

test("tuner: plays the starting arm until an epoch taught better (first and second epoch)", () => {
  const tuner = make();
  expect(tuner.arm("a")).toEqual({ threshold: 1, lead: 1 });
  for (let i = 0; i < DEFAULT_TUNER.epochMinutes; i++) {
    expect(tuner.current("a").arm).toBe(START_ARM);
    tuner.minute("a", minute(4), 1, context);
  }
  for (let i = 0; i < 200; i++) tuner.minute("a", minute(4), 1, context);
  expect(tuner.current("a")).toEqual({ arm: 4, context: [1, 0, 0, 0, 0] });
});

test("tuner: the context is asked once an epoch (ten minutes)", () => {
  const tuner = make();
  let asked = 0;
  const counting = () => {
    asked++;
    return context();
  };
  for (let i = 0; i < 30; i++) tuner.minute("a", minute(4), 1, counting);
  expect(asked).toBe(4);
});

test("tuner: holds no more categories than its bound, and counts the others (two of one)", () => {
  const tuner = make({ ...DEFAULT_TUNER, categoriesMax: 1 });
  tuner.minute("a", minute(0), 1, context);
  tuner.minute("b", minute(0), 1, context);
  expect(tuner.dropped).toBe(1);
  tuner.retain(new Set());
  tuner.minute("b", minute(0), 1, context);
  expect(tuner.dropped).toBe(1);
});

test("tuner: says what its choices have cost (regret after a change of arm)", () => {
  const tuner = make();
  for (let i = 0; i < 200; i++) tuner.minute("a", minute(4), 1, context);
  const { epochs, played, arms, regret } = tuner.regret.summary();
  expect(epochs).toBe(20);
  expect(arms[4]).toBe(0);
  expect(regret).toBeCloseTo(played, 9);
  expect(played).toBeLessThan(arms[START_ARM] ?? 0);
});

test("regret: against the best arm of each category (two that differ)", () => {
  const regret = regretOf(2);
  regret.add("a", [1, 3], 1);
  regret.add("b", [5, 2], 1);
  expect(regret.summary()).toEqual({
    epochs: 2,
    played: 5,
    arms: [6, 5],
    bestPerCategory: 3,
    regret: 2,
  });
});
