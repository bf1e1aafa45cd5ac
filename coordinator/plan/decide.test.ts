import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decideKeep, decideStart, type Economics, shouldHold } from "./decide.ts";

const economics = (over: Partial<Economics> = {}): Economics => ({
  missCost: 1,
  holdCost: 0.01,
  startCost: 0,
  leadMinutes: 1,
  ...over,
});
const constant = (h: number) => new Array<number>(120).fill(h);
/** Certain in minute `at`, never before. */
const timer = (at: number) => Array.from({ length: 120 }, (_, k) => (k === at ? 1 : 0));

describe("keeping", () => {
  const table: [string, number[], Partial<Economics>, boolean][] = [
    ["hazard over the price", constant(0.02), {}, true],
    ["hazard under the price", constant(0.005), {}, false],
    ["no demand at all", constant(0), {}, false],
    ["a timer too far to start again in time for", timer(2), { leadMinutes: 3 }, true],
    ["a timer that can be started again in time", timer(60), {}, false],
    ["memory that is free", constant(0.001), { holdCost: 0 }, true],
    ["a miss that costs nothing", constant(0.9), { missCost: 0 }, false],
    ["no curve", [], {}, false],
  ];
  test.each(table)("decision: keeps only what pays (%s)", (_, hazard, over, act) => {
    expect(decideKeep(hazard, economics(over)).act).toBe(act);
  });

  test("decision: stops holding where the hazard falls under the price (a burst's tail)", () => {
    const hazard = constant(0).map((_, k) => (k < 5 ? 0.1 : 0));
    const decision = decideKeep(hazard, economics());
    expect(decision.windowMinutes).toBe(5);
    expect(decision.probability).toBeCloseTo(1 - 0.9 ** 5, 9);
  });
});

describe("starting", () => {
  test("decision: starts a timer's environment exactly its lead ahead (lead 1 to 5)", () => {
    for (let lead = 1; lead <= 5; lead++) {
      const e = economics({ leadMinutes: lead });
      expect(decideStart(timer(lead), e).act).toBe(true);
      expect(decideStart(timer(lead + 1), e).act).toBe(false);
      expect(decideStart(timer(lead - 1), e).act).toBe(false);
    }
  });

  test("decision: weighs the cost of starting (many bytes to move)", () => {
    expect(decideStart(timer(1), economics({ startCost: 0.9 })).act).toBe(true);
    expect(decideStart(timer(1), economics({ startCost: 1.1 })).act).toBe(false);
  });
});

const hazards = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), {
  minLength: 1,
  maxLength: 120,
});
const anyEconomics = fc.record({
  missCost: fc.double({ min: 0, max: 10, noNaN: true }),
  holdCost: fc.double({ min: 0.0001, max: 2, noNaN: true }),
  startCost: fc.double({ min: 0, max: 1, noNaN: true }),
  leadMinutes: fc.integer({ min: 1, max: 10 }),
});

describe("support of simple policies", () => {
  const free = economics();
  const table: [string, number, number, boolean][] = [
    ["the program alone, against it", 1, 0, false],
    ["most of the weight for it", 0.4, 0.6, true],
    ["just half of the weight for it", 0.5, 0.5, false],
  ];
  test.each(table)(
    "decision: does what most of the weight wants (%s)",
    (_, program, wanted, act) => {
      expect(decideKeep(constant(0), free, { program, wanted }).act).toBe(act);
      expect(decideStart(constant(0), free, { program, wanted }).act).toBe(act);
    },
  );

  test("decision: the program is overruled by most of the weight (a timer, nobody for it)", () => {
    const alone = decideStart(timer(1), free);
    const overruled = decideStart(timer(1), free, { program: 0.4, wanted: 0.1 });
    expect([alone.act, overruled.act]).toEqual([true, false]);
    expect(overruled.gain).toBeLessThan(0);
  });
});

test("decision: never starts what it would not keep (any hazard)", () => {
  fc.assert(
    fc.property(hazards, anyEconomics, (hazard, e) => {
      const start = decideStart(hazard, e);
      if (start.act) expect(start.gain).toBeGreaterThan(0);
      expect(start.probability).toBeLessThanOrEqual(1);
      if (start.act) expect(decideKeep(hazard, e).gain).toBeGreaterThan(-1e-9);
    }),
  );
});

test("decision: always keeps what pays in the very next minute (any later hazard)", () => {
  const share = fc.double({ min: 0.01, max: 0.99, noNaN: true });
  fc.assert(
    fc.property(hazards, share, share, anyEconomics, (later, first, part, e) => {
      const missCost = e.missCost + 0.1;
      const pays = { ...e, missCost, holdCost: first * missCost * part };
      expect(decideKeep([first, ...later], pays).act).toBe(true);
    }),
  );
});

test("decision: the shortcuts of a replay agree with the whole program (any hazard)", () => {
  fc.assert(
    fc.property(hazards, anyEconomics, fc.boolean(), (hazard, e, isReady) => {
      const peak = Math.max(...hazard);
      const whole = isReady ? decideKeep(hazard, e) : decideStart(hazard, e);
      if (Math.abs(whole.gain) > 1e-9) expect(shouldHold(hazard, peak, isReady, e)).toBe(whole.act);
    }),
  );
});

test("decision: agrees with trying every course (tiny windows)", () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 1, maxLength: 6 }),
      fc.record({
        missCost: fc.double({ min: 0, max: 10, noNaN: true }),
        holdCost: fc.double({ min: 0.001, max: 2, noNaN: true }),
        startCost: fc.double({ min: 0, max: 1, noNaN: true }),
        leadMinutes: fc.integer({ min: 1, max: 3 }),
      }),
      (hazard, e) => {
        const best = (first: "hold" | "drop") => bestCourse(hazard, e, first);
        const gain = best("drop") - best("hold");
        expect(decideKeep(hazard, e).gain).toBeCloseTo(gain, 8);
      },
    ),
    { numRuns: 300 },
  );
});

/** Cost of the best course by plain enumeration, the first minute's act given. */
function bestCourse(hazard: number[], e: Economics, first: "hold" | "drop"): number {
  const run = (k: number, state: "ready" | "absent" | number, forced?: "hold" | "drop"): number => {
    if (k >= hazard.length && typeof state !== "number") return 0;
    const h = hazard[k] ?? 0;
    if (typeof state === "number") {
      const then = run(k + 1, state === 1 ? "ready" : state - 1);
      return h * e.missCost + (1 - h) * (e.holdCost + then);
    }
    const wait = () => h * e.missCost + (1 - h) * run(k + 1, "absent");
    const start = () => e.startCost + run(k, e.leadMinutes);
    const hold = () => (1 - h) * (e.holdCost + run(k + 1, "ready"));
    if (forced === "hold") return hold();
    if (forced === "drop") return Math.min(wait(), start());
    return state === "ready" ? Math.min(hold(), wait()) : Math.min(wait(), start());
  };
  return run(0, "ready", first);
}
