import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  FORGET_MS,
  LIES_MAX,
  REFUSALS_PER_LIE,
  Reputation,
  SHUN_MS,
  SHUN_MS_MAX,
} from "./reputation.ts";

describe("reputation", () => {
  test("a peer is cut off at its second lie, and told once", () => {
    const known = new Reputation();
    expect([known.lied("x", 0), known.lied("x", 1), known.lied("x", 2)]).toEqual([
      false,
      true,
      false,
    ]);
    expect(known.liars()).toEqual([
      { host: "x", lies: 3, strikes: 1, lastMs: 2, untilMs: 1 + SHUN_MS },
    ]);
  });

  test("it comes back with one lie left, and is kept off longer each time, up to a limit", () => {
    const known = new Reputation();
    let nowMs = 0;
    known.lied("x", nowMs);
    const offMs: number[] = [];
    for (let i = 0; i < 8; i++) {
      expect(known.lied("x", nowMs)).toBe(true);
      const untilMs = known.liars()[0]?.untilMs ?? 0;
      offMs.push(untilMs - nowMs);
      expect(known.released(untilMs - 1)).toEqual([]);
      expect(known.released(untilMs)).toEqual(["x"]);
      expect(known.released(untilMs)).toEqual([]);
      nowMs = untilMs;
    }
    expect(offMs.slice(0, 3)).toEqual([SHUN_MS, 4 * SHUN_MS, 16 * SHUN_MS]);
    expect(Math.max(...offMs)).toBe(SHUN_MS_MAX);
  });

  test("refusals of what it said it has count when there is nothing else (a race is no lie)", () => {
    const known = new Reputation();
    const refuse = (times: number) =>
      Array.from({ length: times }, () => known.refused("x", 0)).some(Boolean);
    for (let i = 0; i < 20; i++) {
      expect(refuse(REFUSALS_PER_LIE - 1)).toBe(false);
      known.delivered("x");
    }
    expect(known.liars()).toEqual([]);
    expect(refuse(LIES_MAX * REFUSALS_PER_LIE - 1)).toBe(false);
    expect(refuse(1)).toBe(true);
  });

  test("a lie is forgotten after a day", () => {
    const known = new Reputation();
    known.lied("x", 0);
    known.released(FORGET_MS);
    expect(known.liars()).toEqual([]);
    expect(known.lied("x", FORGET_MS)).toBe(false);
  });

  test("who never lies is never cut off, and nothing is kept of them", () => {
    const host = fc.constantFrom("a", "b", "liar");
    fc.assert(
      fc.property(fc.array(fc.tuple(host, fc.boolean()), { maxLength: 200 }), (steps) => {
        const known = new Reputation();
        for (const [who, right] of steps)
          if (who === "liar") known.lied(who, 0);
          else if (right) known.delivered(who);
          else known.refused(who, 0) && known.delivered(who);
        const lies = steps.filter(([who]) => who === "liar").length;
        const off = known.liars().filter((l) => l.untilMs !== null && l.host === "liar").length;
        expect(off).toBe(lies >= LIES_MAX ? 1 : 0);
      }),
    );
  });
});
