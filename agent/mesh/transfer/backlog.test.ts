import fc from "fast-check";
import { expect, test } from "vitest";
import { refuses, UNIT_REQUESTS, unitsOf } from "./backlog.ts";

test("backlog: an idle host refuses nobody, who has much to send whoever begins a unit", () => {
  fc.assert(
    fc.property(fc.nat(100), fc.nat(100), (others, own) => {
      const units = others + unitsOf(own);
      const refused = refuses({ units, own });
      if (units <= 4) expect(refused).toBe(false);
      if (refused) expect(refuses({ units: units + 1, own })).toBe(true);
      if (own > 0 && own < UNIT_REQUESTS) expect(refused).toBe(false);
    }),
  );
  expect(refuses({ units: 20, own: 0 })).toBe(true);
});
