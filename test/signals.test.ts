/** What an announced event must be worth to the real forecaster, and an unrelated one must not cost. */
import { describe, expect, test } from "vitest";
import { benchSignals } from "./bench/signals.ts";

describe("signals and forecasts", () => {
  test("a tripling event that is announced: half the error or less from the fourth time on", () => {
    for (const seed of [1, 2]) {
      const { none, related } = benchSignals({ seed, days: 14, rate: 10, factor: 3, wobble: 0.1 });
      expect(related.event).toBeLessThan(0.5 * none.event);
      expect(related.after).toBeLessThan(0.5 * none.after);
      expect(related.all).toBeLessThan(none.all);
    }
  }, 300_000);

  test("an unrelated calendar: nothing gets worse by more than 1 %", () => {
    for (const factor of [1, 3]) {
      const { none, unrelated } = benchSignals({
        seed: 1,
        days: 14,
        rate: 10,
        factor,
        wobble: 0.1,
      });
      expect(unrelated.all).toBeLessThan(1.01 * none.all);
      expect(unrelated.elsewhere).toBeLessThan(1.01 * none.elsewhere);
    }
  }, 300_000);
});
