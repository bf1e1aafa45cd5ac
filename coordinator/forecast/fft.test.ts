import fc from "fast-check";
import { expect, test } from "vitest";
import { autocorrelation, autocorrelationAt } from "./fft.ts";

test("autocorrelation: one lag alone is as among all of them (any series)", () => {
  fc.assert(
    fc.property(fc.array(fc.nat({ max: 1000 }), { minLength: 2, maxLength: 80 }), (values) => {
      const series = Float64Array.from(values);
      const all = autocorrelation(series, values.length - 1);
      for (const [lag, correlation] of all.entries())
        expect(autocorrelationAt(series, lag)).toBeCloseTo(correlation, 9);
    }),
  );
});
