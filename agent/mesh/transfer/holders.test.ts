import fc from "fast-check";
import { expect, test } from "vitest";
import { Holders } from "./holders.ts";

test("holders: agrees with a set per host after every change (any number of hosts)", () => {
  const change = fc.record({ unit: fc.nat(6), host: fc.oneof(fc.nat(34), fc.nat(200)) });
  fc.assert(
    fc.property(fc.array(change, { maxLength: 120 }), (changes) => {
      const holders = new Holders(7);
      const sets = new Map<number, Set<number>>();
      for (const { unit, host } of changes) {
        const set = sets.get(host) ?? new Set();
        sets.set(host, set);
        expect(holders.has(unit, host)).toBe(set.has(unit));
        if (set.delete(unit)) holders.clear(unit, host);
        else {
          set.add(unit);
          holders.set(unit, host);
        }
        const having: number[] = [];
        for (let h = holders.next(unit, 0); h >= 0; h = holders.next(unit, h + 1)) having.push(h);
        const expected = [...sets].filter(([, s]) => s.has(unit)).map(([h]) => h);
        expect(having).toEqual(expected.sort((a, b) => a - b));
        expect(holders.hosts).toBe([...sets.values()].filter((s) => s.size > 0).length);
      }
    }),
  );
});
