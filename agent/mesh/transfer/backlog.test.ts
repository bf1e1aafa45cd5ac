import fc from "fast-check";
import { expect, test } from "vitest";
import { refuses, UNIT_REQUESTS } from "./backlog.ts";

test("backlog: an idle host refuses nobody, and who has much open is refused before who goes on", () => {
  const open = fc.integer({ min: 0, max: 200 });
  fc.assert(
    fc.property(open, open, (others, own) => {
      const all = others + own;
      const refused = refuses({ all, own });
      if (all < 4 * UNIT_REQUESTS) expect(refused).toBe(false);
      if (refused) expect(refuses({ all: all + 1, own })).toBe(true);
      if (own > 0 && own < UNIT_REQUESTS) expect(refused).toBe(false);
    }),
  );
  expect(refuses({ all: 200, own: 0 })).toBe(true);
});
