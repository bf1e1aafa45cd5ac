import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  assign,
  FAILOVER_MS,
  FAILURES_MAX,
  HOSTS_TRIED_MAX,
  type Placement,
  UNPLACED,
} from "./assign.ts";

const well = () => 0;
const on = (host: string | null): Placement => ({ ...UNPLACED, host });
const hosts = (...names: string[]) => new Set(names);

describe("assign: a followed tag", () => {
  test("stays where it is while that host is there", () => {
    const next = assign(new Map([["a:x", on("two")]]), hosts("one", "two"), well, 1_000);
    expect(next.get("a:x")).toEqual(on("two"));
  });

  test("waits for its host, then goes to another, and does not come back by itself", () => {
    let now = new Map([["a:x", on("gone")]]);
    now = assign(now, hosts("one"), well, 1_000);
    expect(now.get("a:x")?.host).toBe("gone");
    now = assign(now, hosts("one"), well, 1_000 + FAILOVER_MS - 1);
    expect(now.get("a:x")?.host).toBe("gone");
    now = assign(now, hosts("one"), well, 1_000 + FAILOVER_MS);
    expect(now.get("a:x")).toEqual(on("one"));
    now = assign(now, hosts("one", "gone"), well, 100_000);
    expect(now.get("a:x")?.host).toBe("one");
  });

  test("is not moved by a host that comes back in time", () => {
    let now = assign(new Map([["a:x", on("two")]]), hosts("one"), well, 0);
    now = assign(now, hosts("one", "two"), well, FAILOVER_MS - 1);
    now = assign(now, hosts("one"), well, FAILOVER_MS + 1);
    expect(now.get("a:x")?.host).toBe("two");
  });

  test("goes where looks may succeed, and stays when they fail everywhere", () => {
    const live = hosts("one", "two");
    const failing = () => FAILURES_MAX;
    let now = assign(new Map([["a:x", on("one")]]), live, failing, 0);
    expect(now.get("a:x")).toEqual({ host: "two", lostMs: null, failedOn: ["one"] });
    now = assign(now, live, failing, 1);
    expect(now.get("a:x")).toEqual({ host: "two", lostMs: null, failedOn: ["one", "two"] });
    expect(assign(now, live, failing, 2)).toEqual(now);
  });

  test("does not go round a whole fleet (the source is down)", () => {
    const live = new Set(Array.from({ length: 100 }, (_, i) => `h${i}`));
    let now = new Map([["a:x", on("h0")]]);
    const seen = new Set<string | null>();
    for (let i = 0; i < 100; i++) {
      now = assign(now, live, () => FAILURES_MAX, i);
      seen.add(now.get("a:x")?.host ?? null);
    }
    expect(seen.size).toBeLessThanOrEqual(HOSTS_TRIED_MAX);
  });

  test("has a host whenever one is there, and all share the work (any fleet, any number)", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 8 }),
        fc.integer({ min: 1, max: 60 }),
        (hostCount, count) => {
          const live = new Set(Array.from({ length: hostCount }, (_, i) => `h${i}`));
          const all = new Map(Array.from({ length: count }, (_, i) => [`n${i}:t`, UNPLACED]));
          const placed = assign(all, live, well, 0);
          const loads = [...live].map(
            (host) => [...placed.values()].filter((p) => p.host === host).length,
          );
          expect(loads.reduce((a, b) => a + b)).toBe(count);
          expect(Math.max(...loads) - Math.min(...loads)).toBeLessThanOrEqual(1);
          expect(assign(placed, live, well, 1)).toEqual(placed);
        },
      ),
    );
  });

  test("has none when nobody is there", () => {
    expect(assign(new Map([["a:x", UNPLACED]]), hosts(), well, 5).get("a:x")?.host).toBe(null);
  });
});
