import fc from "fast-check";
import { expect, test } from "vitest";
import { neighboursOf } from "./neighbours.ts";

const names = fc.uniqueArray(fc.stringMatching(/^[a-z0-9]{1,12}$/), {
  minLength: 34,
  maxLength: 120,
});
const without = (all: readonly string[], one: string) => all.filter((host) => host !== one);

/** Hosts that the first one reaches over connections that either end keeps. */
function reached(hosts: readonly string[]): number {
  const edges = new Map(hosts.map((host) => [host, new Set<string>()]));
  for (const host of hosts)
    for (const other of neighboursOf(host, without(hosts, host))) {
      edges.get(host)?.add(other);
      edges.get(other)?.add(host);
    }
  const seen = new Set(hosts.slice(0, 1));
  for (const host of seen) for (const other of edges.get(host) ?? []) seen.add(other);
  return seen.size;
}

test("neighbours: a small site knows everybody", () => {
  const others = Array.from({ length: 32 }, (_, i) => `h${i}`);
  expect(neighboursOf("me", others)).toEqual(others);
});

test("neighbours: a site stays in one piece (any names, any two hosts gone)", () => {
  fc.assert(
    fc.property(names, fc.nat(), fc.nat(), (hosts, i, j) => {
      expect(reached(hosts)).toBe(hosts.length);
      const left = hosts.filter((_, k) => k !== i % hosts.length && k !== j % hosts.length);
      expect(reached(left)).toBe(left.length);
    }),
    { numRuns: 20 },
  );
});

test("neighbours: names that follow one another are connected like any others (200 hosts)", () => {
  const hosts = Array.from({ length: 200 }, (_, i) => `edge-${String(i).padStart(3, "0")}`);
  const degree = new Map(hosts.map((host) => [host, 0]));
  for (const host of hosts)
    for (const other of neighboursOf(host, without(hosts, host)))
      degree.set(other, (degree.get(other) ?? 0) + 1);
  expect(Math.min(...degree.values())).toBeGreaterThan(4);
  expect(Math.max(...degree.values())).toBeLessThan(40);
});

test("neighbours: a host that leaves takes only its own connections with it (any names)", () => {
  fc.assert(
    fc.property(names, fc.nat(), (hosts, i) => {
      const gone = hosts[i % hosts.length] ?? "";
      const left = without(hosts, gone);
      if (left.length <= 33) return;
      for (const host of left) {
        const before = neighboursOf(host, without(hosts, host));
        const after = neighboursOf(host, without(left, host));
        const lost = before.filter((other) => !after.includes(other));
        expect(lost).toEqual(before.includes(gone) ? [gone] : []);
      }
    }),
    { numRuns: 20 },
  );
});
