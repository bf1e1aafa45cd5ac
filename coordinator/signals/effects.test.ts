import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type EffectState,
  effectOf,
  forget,
  learn,
  NO_EFFECTS,
  type Occurrence,
  summary,
  ZONES,
  type Zone,
} from "./effects.ts";

const DAY_MS = 86_400_000;
const DURING: { zone: Zone; index: number } = { zone: "during", index: 0 };

function seen(n: number, factor: number, of: Partial<Occurrence> = {}): Occurrence {
  return {
    signal: "s",
    category: "w/c",
    startMs: n * DAY_MS,
    cells: Array.from({ length: 8 }, (_, index) => ({
      zone: "during" as const,
      index,
      actual: 100 * factor,
      expected: 100,
    })),
    placebos: [
      { actual: 700, expected: 800 },
      { actual: 900, expected: 800 },
    ],
    ...of,
  };
}
const learnAll = (occurrences: readonly Occurrence[], from: EffectState = NO_EFFECTS) =>
  occurrences.reduce(learn, from);
const factor = (state: EffectState, signal = "s", category = "w/c", cell = DURING) =>
  Math.exp(effectOf(state, signal, category, cell).log);

describe("effects: one signal", () => {
  test("tripled demand is believed by degrees (one, three, six occurrences)", () => {
    const [one, three, six] = [1, 3, 6].map((n) =>
      factor(learnAll(Array.from({ length: n }, (_, i) => seen(i, 3)))),
    );
    expect(one).toBeGreaterThan(1.3);
    expect(one).toBeLessThan(2.2);
    expect(three).toBeGreaterThan(2.5);
    expect(six).toBeGreaterThan(2.8);
    expect(six).toBeLessThan(3.05);
  });

  test("demand that falls to a third is learned as well", () => {
    const state = learnAll(Array.from({ length: 6 }, (_, i) => seen(i, 1 / 3)));
    expect(factor(state)).toBeCloseTo(1 / 3, 1);
  });

  test("a useless signal has exactly no effect (noise of 15 % around nothing)", () => {
    const state = learnAll(Array.from({ length: 8 }, (_, i) => seen(i, i % 2 === 0 ? 1.15 : 0.87)));
    expect(effectOf(state, "s", "w/c", DURING)).toEqual({ log: 0, sd: 0 });
  });

  test("what was learned is unlearned when it stops being true", () => {
    const learned = learnAll(Array.from({ length: 10 }, (_, i) => seen(i, 3)));
    const later = learnAll(
      Array.from({ length: 12 }, (_, i) => seen(20 + i, 1)),
      learned,
    );
    expect(factor(learned)).toBeGreaterThan(2.8);
    expect(Math.abs(factor(later) - 1)).toBeLessThan(0.05);
  });

  test("noisy categories need more to be convinced than steady ones (the same factor)", () => {
    const noisy = [
      { actual: 200, expected: 800 },
      { actual: 2_400, expected: 800 },
    ];
    const steady = [{ actual: 805, expected: 800 }];
    const certainty = (placebos: Occurrence["placebos"]) =>
      summary(learnAll([0, 1].map((i) => seen(i, 1.4, { placebos }))), "s", "w/c")[0]?.certainty;
    expect(certainty(steady)).toBeGreaterThan((certainty(noisy) ?? 1) + 0.1);
  });

  test("cells differ once there is enough of each (the second half is calm)", () => {
    const halves = (n: number) =>
      seen(n, 1, {
        cells: Array.from({ length: 8 }, (_, index) => ({
          zone: "during" as const,
          index,
          actual: index < 4 ? 4_000 : 1_000,
          expected: 1_000,
        })),
      });
    const state = learnAll(Array.from({ length: 10 }, (_, i) => halves(i)));
    expect(factor(state, "s", "w/c", { zone: "during", index: 1 })).toBeGreaterThan(3.2);
    expect(factor(state, "s", "w/c", { zone: "during", index: 6 })).toBeLessThan(1.6);
  });

  test("occurrences that differ are averaged, the last ones counting most", () => {
    const state = learnAll([2, 4, 2, 4, 2, 4].map((times, i) => seen(i, times)));
    expect(factor(state)).toBeGreaterThan(2.7);
    expect(factor(state)).toBeLessThan(3.4);
  });

  test("what a category has seen does not count twice (the only category)", () => {
    const cells = [{ zone: "during" as const, index: 0, actual: 24, expected: 8 }];
    const state = learn(NO_EFFECTS, seen(0, 3, { cells, placebos: [] }));
    const requests = 8 / (1 + 0.04 * 8);
    const [zone] = summary(state, "s", "w/c");
    expect(zone?.factor).toBeCloseTo((1 + 3 * requests) / (1 + requests), 2);
  });

  test("an occurrence counts once (told again)", () => {
    const once = learn(NO_EFFECTS, seen(1, 3));
    expect(learn(once, seen(1, 3))).toBe(once);
  });
});

describe("effects: a signal's categories", () => {
  const others = (n: number, times: number) =>
    Array.from({ length: n }, (_, c) =>
      Array.from({ length: 4 }, (_, i) => seen(i, times, { category: `w/${c}` })),
    ).flat();

  test("a category that never saw the event gets what the others saw", () => {
    const state = learnAll(others(6, 3));
    expect(factor(state, "s", "w/new")).toBeGreaterThan(2);
    expect(factor(state, "another", "w/new")).toBe(1);
  });

  test("useless to the others means nothing to a new one", () => {
    expect(factor(learnAll(others(6, 1)), "s", "w/new")).toBe(1);
  });

  test("own experience outweighs the others'", () => {
    const own = Array.from({ length: 6 }, (_, i) => seen(10 + i, 1, { category: "w/own" }));
    const state = learnAll([...others(6, 3), ...own]);
    expect(factor(state, "s", "w/own")).toBeLessThan(1.1);
    expect(factor(state, "s", "w/0")).toBeGreaterThan(2.7);
  });
});

describe("effects: whatever is seen", () => {
  const count = fc.oneof(
    fc.integer({ min: 0, max: 5 }),
    fc.double({ min: 0, max: 1e15, noNaN: true }),
  );
  const occurrence = fc.record({
    signal: fc.constantFrom("s", "t"),
    category: fc.constantFrom("w/a", "w/b", "w/c"),
    startMs: fc.integer({ min: 0, max: 50 }).map((day) => day * DAY_MS),
    cells: fc.array(
      fc.record({
        zone: fc.constantFrom(...ZONES),
        index: fc.integer({ min: 0, max: 95 }),
        actual: count,
        expected: count,
      }),
      { maxLength: 12 },
    ),
    placebos: fc.array(fc.record({ actual: count, expected: count }), { maxLength: 4 }),
  });

  test("effects are finite and bounded, the state is JSON and loses nothing by it", () => {
    fc.assert(
      fc.property(fc.array(occurrence, { maxLength: 30 }), (list) => {
        const state = learnAll(list);
        const again: EffectState = JSON.parse(JSON.stringify(state));
        for (const signal of ["s", "t", "u"])
          for (const zone of ZONES)
            for (const index of [0, 5, 95]) {
              const effect = effectOf(state, signal, "w/a", { zone, index });
              expect(Number.isFinite(effect.log) && Number.isFinite(effect.sd)).toBe(true);
              expect(Math.abs(effect.log)).toBeLessThanOrEqual(Math.log(1_000) + 1e-9);
              expect(effect.sd).toBeGreaterThanOrEqual(0);
              expect(effectOf(again, signal, "w/a", { zone, index })).toEqual(effect);
            }
      }),
    );
  });

  test("signals never touch one another's effects", () => {
    fc.assert(
      fc.property(fc.array(occurrence, { maxLength: 20 }), (list) => {
        // Noise belongs to the category, so it is kept the same.
        const plain = list.map((o) => ({ ...o, placebos: [] }));
        const alone = learnAll(plain.filter((o) => o.signal === "s"));
        expect(learnAll(plain).signals.s).toEqual(alone.signals.s);
      }),
    );
  });

  test("forgetting drops what was not seen since", () => {
    const state = learnAll([seen(1, 3), seen(50, 3, { signal: "t" })]);
    expect(Object.keys(forget(state, 10 * DAY_MS).signals)).toEqual(["t"]);
    expect(forget(state, 0)).toBe(state);
  });
});
