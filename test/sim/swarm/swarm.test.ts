import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { SWARM_DEFAULTS, type SwarmOptions } from "./plan.ts";
import { Soak } from "./soak.ts";
import { Swarm } from "./swarm.ts";

/** Simulated time over payload/rate; the machine's own time plays no part. */
function ratios(options: Partial<SwarmOptions>, seed = 1) {
  const all = { ...SWARM_DEFAULTS, bytes: 200e6, ...options };
  const result = new Swarm(seed, all).run();
  const idealMs = (all.bytes / all.linkBytesPerSecond) * 1000;
  const at = (q: number) =>
    (result.doneMs[Math.ceil(q * result.doneMs.length) - 1] ?? 1e9) / idealMs;
  const share = (bytes: number) => bytes / all.bytes;
  return {
    ...result,
    p50: at(0.5),
    p99: at(0.99),
    last: at(1),
    origin: share(result.originBytes),
    thin: share(result.thinBytes),
  };
}

describe("a version to many hosts from one", () => {
  test("is there in little more than the time of one copy (200 hosts, 200 MB)", () => {
    const r = ratios({ hosts: 200 });
    expect(r.unfinished).toBe(0);
    expect(r.p50).toBeLessThan(1.28);
    expect(r.last).toBeLessThan(1.4);
    expect(r.twiceBytes).toBeLessThan(0.01 * r.hosts * 200e6);
    expect(r.controlBytes).toBeLessThan(0.005 * r.hosts * 200e6);
  });

  test.each([
    { hosts: 8, linkBytesPerSecond: 25e6 },
    { hosts: 60, linkBytesPerSecond: 1e9, bytes: 400e6 },
  ])("is as near to it at other rates ($hosts hosts, $linkBytesPerSecond bytes/s)", (options) => {
    expect(ratios(options).last).toBeLessThan(1.5);
  });

  test("comes whole to all others though some lie, die or are slow (80 hosts, 10 % of each)", () => {
    const r = ratios({ hosts: 80, lying: 0.1, dying: 0.1, slow: 0.1, bytes: 100e6 });
    expect(r.unfinished).toBe(0);
    expect(r.p50).toBeLessThan(1.9);
  });

  test("crosses the thin link of a site once (three sites of 15 hosts)", () => {
    const r = ratios({ hosts: 45, sites: 3, thinBytesPerSecond: 50e6, bytes: 50e6 });
    expect(r.unfinished).toBe(0);
    expect(r.thin).toBeLessThan(2.1);
  });

  test.each([
    { hosts: 8, bytes: 2e5 },
    { hosts: 8, bytes: 5e6 },
    { hosts: 200, bytes: 2e6 },
  ])("leaves it once when it is small ($hosts hosts, $bytes bytes)", (options) => {
    const r = ratios({ ...options, linkBytesPerSecond: 25e6 });
    expect(r.unfinished).toBe(0);
    expect(r.seedBytes).toBeLessThan(1.05 * options.bytes);
    expect(r.doneMs.at(-1)).toBeLessThan(1_500);
  });

  test.each([
    { hosts: 4, bytes: 30e6 },
    { hosts: 16, spreadMs: 2_000 },
    { hosts: 60, neighbours: 24 },
    { hosts: 60, neighbours: 24, originBytesPerSecond: 5e6 },
    { hosts: 100, neighbours: 8, spreadMs: 500 },
    { hosts: 12, sites: 12 },
    { hosts: 60, sites: 5, spreadMs: 500 },
    { hosts: 60, sites: 5, thinBytesPerSecond: 20e6, originBytesPerSecond: 10e6 },
    { hosts: 40, sites: 10, thinBytesPerSecond: 20e6, originBytesPerSecond: 100e6 },
  ])("comes from the origin once (cold hosts: %j)", (options) => {
    const r = ratios({ seeders: 0, bytes: 100e6, ...options });
    expect(r.unfinished).toBe(0);
    expect(r.origin).toBeLessThan(1.05);
  });

  test("comes from the origin little more than once when a fetching host dies (any)", () => {
    const hosts = fc.integer({ min: 3, max: 50 });
    const killAt = fc.double({ min: 0.05, max: 0.95, noNaN: true });
    fc.assert(
      fc.property(hosts, killAt, fc.nat(100), (n, share, seed) => {
        const r = ratios({ hosts: n, seeders: 0, killAt: share, bytes: 60e6 }, seed);
        expect(r).toMatchObject({ hosts: n - 1, unfinished: 0 });
        expect(r.origin).toBeLessThan(1.15);
      }),
      { numRuns: 15 },
    );
  });

  test("the same seed gives the same run", () => {
    const [a, b] = [
      ratios({ hosts: 30, spreadMs: 500 }, 7),
      ratios({ hosts: 30, spreadMs: 500 }, 7),
    ];
    expect(a).toEqual(b);
  });
});

describe("hours of a site whose hosts come and go", () => {
  test("leave nothing behind, and every want ends (20 hosts, 2 hours)", () => {
    const result = new Soak({ hosts: 20, hours: 2, seed: 1 }, () => 0).run();
    expect(result.completed).toBeGreaterThan(200);
    expect(result.joined).toBeGreaterThan(20);
    expect(result).toMatchObject({ unfinished: 0, left: 0 });
  });
});
