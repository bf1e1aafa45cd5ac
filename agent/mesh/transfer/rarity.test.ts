import fc from "fast-check";
import { expect, test } from "vitest";
import { seededRandom } from "../../../shared/runtime/random.ts";
import { Rarity } from "./rarity.ts";

test("rarity: agrees with sorting after every change (any changes)", () => {
  const change = fc.record({
    what: fc.constantFrom("add", "remove", "raise", "lower"),
    unit: fc.nat(11),
  });
  fc.assert(
    fc.property(fc.array(change, { maxLength: 200 }), fc.integer(), (changes, seed) => {
      const rarity = new Rarity(12, seededRandom(seed));
      const counts = new Array<number>(12).fill(0);
      const open = new Set<number>();
      for (const { what, unit } of changes) {
        const count = counts[unit] ?? 0;
        if (what === "add") open.add(unit);
        if (what === "remove") open.delete(unit);
        if (what === "raise") counts[unit] = count + 1;
        if (what === "lower") counts[unit] = Math.max(0, count - 1);
        rarity[what as "add"](unit);
        const order = Array.from({ length: rarity.size }, (_, i) => rarity.at(i));
        expect(new Set(order)).toEqual(open);
        const seen = order.map((u) => counts[u] ?? 0);
        expect(seen).toEqual(seen.toSorted((a, b) => a - b));
        expect(rarity.orphans).toBe(seen.filter((c) => c === 0).length);
      }
    }),
  );
});

test("rarity: those alike come in another order on every host", () => {
  const firsts = new Set(
    Array.from({ length: 20 }, (_, seed) => {
      const rarity = new Rarity(100, seededRandom(seed));
      for (let unit = 0; unit < 100; unit++) rarity.add(unit);
      return rarity.at(0);
    }),
  );
  expect(firsts.size).toBeGreaterThan(12);
});
