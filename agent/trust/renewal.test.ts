import fc from "fast-check";
import { expect, test } from "vitest";
import { seededRandom } from "../../shared/runtime/random.ts";
import { renewalDueMs } from "./renewal.ts";

test("renewal: falls into half-life ±10 % of the life, whatever the dice (property)", () => {
  fc.assert(
    fc.property(
      fc.integer(),
      fc.nat(1e12),
      fc.integer({ min: 1, max: 1e12 }),
      (seed, from, life) => {
        const due = renewalDueMs(from, from + life, seededRandom(seed));
        expect(due).toBeGreaterThanOrEqual(from + life * 0.4 - 1);
        expect(due).toBeLessThanOrEqual(from + life * 0.6 + 1);
      },
    ),
  );
});

test("renewal: spreads a fleet that joined at once (1,000 hosts)", () => {
  const random = seededRandom("fleet");
  const dues = Array.from({ length: 1_000 }, () => renewalDueMs(0, 1_000, random));
  const perTenth = Array.from(
    { length: 10 },
    (_, i) => dues.filter((due) => due >= 400 + i * 20 && due < 420 + i * 20).length,
  );
  expect(Math.min(...perTenth)).toBeGreaterThan(60);
});
