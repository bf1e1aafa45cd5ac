import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DemandHistory } from "./demand/history.ts";
import { adjustCurve, EventForecaster, withoutEvents } from "./event-forecaster.ts";

const MINUTE = 60_000;
const startMs = Date.UTC(2026, 0, 5);

const steady = (hazard: number) => ({
  hazardPerMinute: new Array<number>(120).fill(hazard),
  probabilityWithin: (ms: number) => 1 - (1 - hazard) ** (ms / MINUTE),
  lastArrivalMs: null,
});

describe("event forecaster: arrival curves", () => {
  test("a rate times three from the tenth minute on", () => {
    const log = new Float64Array(120).fill(Math.log(3), 10);
    const curve = adjustCurve(steady(0.02), log, 0);
    expect(curve.hazardPerMinute[9]).toBeCloseTo(0.02, 9);
    expect(curve.hazardPerMinute[10]).toBeCloseTo(1 - 0.98 ** 3, 9);
    expect(curve.probabilityWithin(10 * MINUTE)).toBeCloseTo(1 - 0.98 ** 10, 9);
    expect(curve.probabilityWithin(20 * MINUTE)).toBeCloseTo(1 - 0.98 ** 40, 9);
    expect(curve.probabilityWithin(200 * MINUTE)).toBeCloseTo(1 - 0.98 ** (10 + 330 + 80), 9);
  });

  test("probabilities rise, stay in 0..1, and are the base's without effect", () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: -5, max: 5, noNaN: true }), { minLength: 120, maxLength: 120 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.nat(59_999),
        (logs, hazard, elapsed) => {
          const curve = adjustCurve(steady(hazard), Float64Array.from(logs), elapsed);
          let before = 0;
          for (let ms = 0; ms < 130 * MINUTE; ms += 7 * MINUTE) {
            const p = curve.probabilityWithin(ms);
            expect(p).toBeGreaterThanOrEqual(before);
            expect(p).toBeLessThanOrEqual(1);
            before = p;
          }
          const plain = adjustCurve(steady(hazard), new Float64Array(120), elapsed);
          expect(plain.probabilityWithin(5 * MINUTE)).toBeCloseTo(1 - (1 - hazard) ** 5, 6);
        },
      ),
      { numRuns: 50 },
    );
  });
});

describe("event forecaster: over a history", () => {
  const history = new DemandHistory();
  for (let minute = 0; minute < 600; minute++)
    history.add({
      workload: "w",
      category: "c",
      host: "h",
      startMs: startMs + minute * MINUTE,
      count: 12,
    });
  const now = startMs + 600 * MINUTE;
  const during = (fromMs: number, toMs: number, factor: number) => {
    return (_w: string, _c: string, at: number, binMs: number, bins: number) => ({
      logEffect: Float64Array.from({ length: bins }, (_, i) => {
        const ms = at + i * binMs;
        return ms >= fromMs && ms < toMs ? Math.log(factor) : 0;
      }),
      sd: new Float64Array(bins),
    });
  };

  test("a coming event lifts its minutes and no others", () => {
    const plain = new EventForecaster(() => null);
    const told = new EventForecaster(during(now + 10 * MINUTE, now + 20 * MINUTE, 3));
    for (const forecaster of [plain, told]) forecaster.update(history, now);
    const [base, lifted] = [plain, told].map((f) => f.forecast("w", "c", null, now, 30).quantiles);
    for (const minute of [0, 9, 20, 29]) expect(lifted?.[minute]).toEqual(base?.[minute]);
    for (const [j, q] of (lifted?.[15] ?? []).entries())
      expect(q).toBeCloseTo(3 * (base?.[15]?.[j] ?? 0), 6);
  });

  test("models see past events' minutes as they would have been", () => {
    const clean = withoutEvents(history, during(startMs, startMs + 60 * MINUTE, 3));
    const { counts } = clean.series("w", "c", null, { fromMs: startMs, toMs: now });
    expect(counts[0]).toBeCloseTo(4, 9);
    expect(counts[59]).toBeCloseTo(4, 9);
    expect(counts[60]).toBe(12);
  });
});
