import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { seededRandom } from "../../shared/runtime/random.ts";
import { ARMS, Bandit, CONTEXT_LENGTH, DEFAULT_BANDIT, START_ARM } from "./bandit.ts";
import { contextOf } from "./context.ts";
import { solvePositive } from "./solve.ts";

const context = [1, 0.2, -0.3, 0.1, 0];
const random = () => seededRandom("bandit");
/** All arms seen: `good` gains, the others lose. */
const seen = (good: number) =>
  ARMS.map((_, arm) => ({ arm, reward: arm === START_ARM ? 0 : arm === good ? 0.5 : -0.5 }));

describe("choosing", () => {
  test("bandit: starts with the arm that changes nothing (nothing learned)", () => {
    const bandit = new Bandit();
    expect(bandit.choose("w/c", context, random())).toBe(START_ARM);
    expect(ARMS[START_ARM]).toEqual({ threshold: 1, lead: 1 });
  });

  test("bandit: finds a category's own arm against what others show (two categories)", () => {
    const bandit = new Bandit();
    for (let i = 0; i < 60; i++) {
      bandit.learn("a", context, seen(0));
      bandit.learn("b", context, seen(4));
    }
    expect(bandit.choose("a", context, random())).toBe(0);
    expect(bandit.choose("b", context, random())).toBe(4);
  });

  test("bandit: a new category starts with what alike ones taught (never seen key)", () => {
    const bandit = new Bandit();
    const reward = (arm: number) => Math.log2(ARMS[arm]?.threshold ?? 1) * 0.3;
    const all = ARMS.map((_, arm) => ({ arm, reward: reward(arm) }));
    for (let i = 0; i < 50; i++) bandit.learn(`w/c${i % 5}`, context, all);
    expect(ARMS[bandit.choose("new", context, random())]?.threshold).toBe(2);
  });

  test("bandit: goes back when the world turns (400 epochs later)", () => {
    const bandit = new Bandit();
    for (let i = 0; i < 200; i++) bandit.learn("a", context, seen(0));
    for (let i = 0; i < 400; i++) bandit.learn("a", context, seen(4));
    expect(bandit.choose("a", context, random())).toBe(4);
  });

  test("bandit: stays with the start where nothing gains (all arms lose)", () => {
    const bandit = new Bandit();
    for (let i = 0; i < 50; i++) bandit.learn("a", context, seen(START_ARM));
    expect(bandit.choose("a", context, random())).toBe(START_ARM);
  });

  test("bandit: moves later the more cautious it is (a small steady gain)", () => {
    const epochsUntilMoved = (caution: number) => {
      const bandit = new Bandit({ ...DEFAULT_BANDIT, caution });
      for (let i = 0; i < 500; i++) {
        if (bandit.choose("a", context, random()) !== START_ARM) return i;
        bandit.learn("a", context, [{ arm: 3, reward: 0.03 }]);
      }
      return 500;
    };
    const [bold, safe] = [epochsUntilMoved(0), epochsUntilMoved(1)];
    expect(bold).toBeLessThan(3);
    expect(safe).toBeGreaterThan(bold + 5);
    expect(safe).toBeLessThan(500);
  });

  test("bandit: explores only when told to (Thompson draws)", () => {
    const bandit = new Bandit({ ...DEFAULT_BANDIT, exploration: 1, caution: 0 });
    const draws = seededRandom("draws");
    const arms = new Set(Array.from({ length: 200 }, () => bandit.choose("a", context, draws)));
    expect(arms.size).toBeGreaterThan(5);
  });
});

describe("state", () => {
  test("bandit: goes on from its saved state as if it had not stopped (through JSON)", () => {
    const first = new Bandit();
    for (let i = 0; i < 20; i++) first.learn(`w/c${i % 3}`, context, seen(i % 10));
    const again = new Bandit(DEFAULT_BANDIT, JSON.parse(JSON.stringify(first.state())));
    for (const bandit of [first, again]) bandit.learn("w/c0", context, seen(1));
    expect(again.state()).toEqual(first.state());
  });

  test("bandit: a saved state of another shape is not taken over (older version)", () => {
    const odd = { version: 1 as const, gram: [1], moments: [1], categories: {} };
    expect(new Bandit(DEFAULT_BANDIT, odd).state()).toEqual(new Bandit().state());
  });

  test("bandit: stays finite and bounded whatever it is told (any rewards)", () => {
    const anyReward = fc.oneof(fc.double(), fc.constantFrom(1e300, -1e300, Number.NaN));
    const anyContext = fc.array(fc.double({ min: -3, max: 3, noNaN: true }), {
      minLength: CONTEXT_LENGTH,
      maxLength: CONTEXT_LENGTH,
    });
    fc.assert(
      fc.property(fc.array(fc.tuple(anyContext, fc.nat(9), anyReward)), (epochs) => {
        const bandit = new Bandit();
        for (const [x, arm, reward] of epochs) {
          bandit.learn("a", x, [{ arm, reward }]);
          expect(Math.abs(bandit.expected("a", x, arm))).toBeLessThan(100);
          expect(ARMS[bandit.choose("a", x, random())]).toBeDefined();
        }
      }),
    );
  });

  test("bandit: forgets categories that are gone (retain)", () => {
    const bandit = new Bandit();
    bandit.learn("a", context, seen(0));
    bandit.learn("b", context, seen(0));
    bandit.retain(new Set(["b"]));
    expect(Object.keys(bandit.state().categories)).toEqual(["b"]);
  });
});

test("context: five bounded numbers for any demand (any counts)", () => {
  fc.assert(
    fc.property(
      fc.array(fc.nat(5), { maxLength: 200 }),
      fc.double({ min: 0, max: 1e9, noNaN: true }),
      fc.double({ min: 0, max: 1e9, noNaN: true }),
      (counts, missCost, holdCost) => {
        const x = contextOf({ counts, missCost, holdCost });
        expect(x.length).toBe(CONTEXT_LENGTH);
        for (const value of x) expect(Math.abs(value)).toBeLessThan(7);
      },
    ),
  );
});

test("context: tells a timer from bursts (every 10 minutes, and clumps)", () => {
  const at = (minutes: number[]) => {
    const counts = new Array<number>(120).fill(0);
    for (const minute of minutes) counts[minute] = 1;
    return contextOf({ counts, missCost: 1, holdCost: 0.01 });
  };
  const timer = at(Array.from({ length: 12 }, (_, i) => i * 10));
  const bursts = at([0, 1, 2, 50, 51, 52, 53, 100, 101, 103, 104, 106]);
  expect(timer[2]).toBeCloseTo(-0.7, 6);
  expect(timer[3]).toBeCloseTo(0.6, 6);
  expect(bursts[2]).toBeGreaterThan(timer[2] ?? 0);
  expect(bursts[3]).toBeLessThan(timer[3] ?? 0);
});

test("solve: gives back the solution it was made from (any positive definite matrix)", () => {
  const numbers = fc.array(fc.double({ min: -2, max: 2, noNaN: true }), {
    minLength: 12,
    maxLength: 12,
  });
  fc.assert(
    fc.property(numbers, (values) => {
      const n = 3;
      const matrix = new Float64Array(n * n);
      for (let i = 0; i < n; i++)
        for (let j = 0; j < n; j++) {
          let sum = i === j ? 1 : 0;
          for (let k = 0; k < n; k++) sum += (values[i * n + k] ?? 0) * (values[j * n + k] ?? 0);
          matrix[i * n + j] = sum;
        }
      const wanted = values.slice(9, 12);
      const right = new Float64Array(n);
      for (let i = 0; i < n; i++)
        for (let j = 0; j < n; j++)
          right[i] = (right[i] ?? 0) + (matrix[i * n + j] ?? 0) * (wanted[j] ?? 0);
      const solved = solvePositive(matrix, right);
      wanted.forEach((value, i) => {
        expect(solved[i]).toBeCloseTo(value, 6);
      });
    }),
  );
});
