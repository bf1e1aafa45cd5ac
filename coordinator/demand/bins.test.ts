import fc from "fast-check";
import { expect, test } from "vitest";
import { BinCounts } from "./bins.ts";

test("bins: read gives what was added less what was removed (small, large and fractional counts)", () => {
  const count = fc.oneof(
    fc.integer({ min: 1, max: 300 }),
    fc.constant(0.5),
    fc.constant(2 ** 20 + 0.5),
  );
  const change = fc.record({ bin: fc.integer({ min: 0, max: 700 }), count, taken: fc.boolean() });
  fc.assert(
    fc.property(fc.array(change), (changes) => {
      const bins = new BinCounts();
      const expected = new Float64Array(701);
      for (const { bin, count, taken } of changes) {
        bins.add(bin, count);
        if (taken) bins.remove(bin, count);
        else expected[bin] = (expected[bin] ?? 0) + count;
      }
      expect([...bins.read(0, 701)]).toEqual([...expected]);
    }),
  );
});

test("bins: counts up to 255 cost a byte each, larger ones four, in chunks", () => {
  const bins = new BinCounts();
  bins.add(1_000, 255);
  const { bytes } = bins;
  bins.add(1_000, 1);
  expect(bins.bytes).toBe(4 * bytes);
});
