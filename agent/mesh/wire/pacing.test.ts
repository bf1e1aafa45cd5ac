import fc from "fast-check";
import { expect, test } from "vitest";
import { PACE_MAX } from "./frames.ts";
import { Pacing } from "./pacing.ts";

const isOutside = (host: string) => host.startsWith("far");
const receivedBytes = () => null;
const NAMES = ["near1", "near2", "near3", "far1", "far2"];
const anyStep = fc.oneof(
  fc.record({
    total: fc.constantFrom(0, 1e6, 4e6),
    outside: fc.constantFrom(1e5, 1e6, 1e12),
    open: fc.dictionary(fc.constantFrom(...NAMES), fc.integer({ min: 1, max: 1e7 })),
  }),
  fc.record({ hears: fc.constantFrom(...NAMES) }),
);

/** Hosts that hear what they are told in order and when they like, and go by it then. */
class Hosts {
  readonly sent = new Map<string, number[]>();
  readonly goesBy = new Map<string, number>();
  open: ReadonlySet<string> = new Set();

  rate(counts: (host: string) => boolean): number {
    let sum = 0;
    for (const host of this.open) if (counts(host)) sum += this.goesBy.get(host) ?? PACE_MAX;
    return sum;
  }

  hears(host: string): number | undefined {
    const rate = this.sent.get(host)?.shift();
    if (rate !== undefined) this.goesBy.set(host, rate);
    return rate;
  }
}

test("pacing: what hosts go by never passes a budget that stays (they hear late, or not at all)", () => {
  fc.assert(
    fc.property(fc.array(anyStep, { maxLength: 80 }), (steps) => {
      const hosts = new Hosts();
      const pacing = new Pacing({
        tell: (host, rate) => {
          hosts.sent.set(host, [...(hosts.sent.get(host) ?? []), rate]);
        },
        isOutside,
        receivedBytes,
      });
      for (const step of steps) {
        if ("hears" in step) {
          const rate = hosts.hears(step.hears);
          if (rate !== undefined) pacing.heard(step.hears, rate);
        } else {
          const open = new Map(Object.entries(step.open));
          // A request comes after all that was said before it.
          pacing.update({ total: 4e6, outside: 1e6 }, open, 0);
          for (const host of open.keys())
            if (!hosts.open.has(host)) while (hosts.hears(host) !== undefined);
          hosts.open = new Set(open.keys());
        }
        expect(hosts.rate(() => true)).toBeLessThanOrEqual(4e6);
        expect(hosts.rate(isOutside)).toBeLessThanOrEqual(1e6);
      }
    }),
  );
});

test("pacing: all of the budget is given out once everybody heard (any changes before)", () => {
  fc.assert(
    fc.property(fc.array(anyStep, { maxLength: 30 }), (steps) => {
      const told = new Map<string, number[]>();
      const pacing = new Pacing({
        tell: (host, rate) => void told.set(host, [...(told.get(host) ?? []), rate]),
        isOutside,
        receivedBytes,
      });
      for (const step of steps)
        if ("open" in step) pacing.update(step, new Map(Object.entries(step.open)), 0);
      const open = new Map(NAMES.map((name, i) => [name, 1 + i]));
      for (let round = 0; round < 4; round++) {
        pacing.update({ total: 4e6, outside: 1e6 }, open, 0);
        for (const [host, rates] of told) for (const rate of rates) pacing.heard(host, rate);
      }
      const last = (host: string) => told.get(host)?.at(-1) ?? 0;
      const sum = NAMES.reduce((s, host) => s + last(host), 0);
      expect(sum).toBeGreaterThan(0.8 * 4e6);
      for (const name of NAMES) expect(last(name)).toBeGreaterThan(0);
    }),
  );
});

test("pacing: nobody is told anything without a limit; a limit that goes is taken back", () => {
  const told: [string, number][] = [];
  const tell = (...one: [string, number]) => void told.push(one);
  const pacing = new Pacing({ tell, isOutside, receivedBytes });
  const unlimited = { total: 1e12, outside: 1e12 };
  const open = new Map([["near1", 1]]);
  pacing.update(unlimited, open, 0);
  expect(told).toEqual([]);
  pacing.update({ ...unlimited, total: 1e6 }, open, 0);
  pacing.update({ ...unlimited, total: 0 }, open, 0);
  pacing.update(unlimited, open, 0);
  expect(told).toEqual([
    ["near1", 1e6],
    ["near1", 0],
    ["near1", PACE_MAX],
  ]);
});

test("pacing: is settled when all heard that the budget is lower, not before", () => {
  const told = new Map<string, number>();
  const pacing = new Pacing({
    tell: (host, rate) => void told.set(host, rate),
    isOutside,
    receivedBytes,
  });
  const unlimited = Number.POSITIVE_INFINITY;
  const open = new Map([
    ["near1", 1],
    ["near2", 1],
  ]);
  const hear = (host: string) => pacing.heard(host, told.get(host) ?? 0);
  const limits = (total: number) => ({ total, outside: unlimited });
  for (let round = 0; round < 3; round++) {
    pacing.update(limits(4e6), open, 0);
    for (const host of open.keys()) hear(host);
  }
  expect(pacing.settled).toBe(true);
  pacing.update(limits(1e6), open, 0);
  hear("near1");
  expect(pacing.settled).toBe(false);
  hear("near2");
  expect(pacing.settled).toBe(true);
});

test("pacing: nobody is told anything anew while nobody is held up (requests come and go)", () => {
  const told = new Map<string, number[]>();
  const came = new Map<string, number>();
  const pacing = new Pacing({
    tell: (host, rate) => void told.set(host, [...(told.get(host) ?? []), rate]),
    isOutside,
    receivedBytes: (host) => came.get(host) ?? 0,
  });
  const limits = { total: 4e6, outside: Number.POSITIVE_INFINITY };
  let nowMs = 0;
  const rounds = (count: number, open: (round: number) => [string, number][]) => {
    told.clear();
    for (let round = 0; round < count; round++) {
      nowMs += 100;
      pacing.update(limits, new Map(open(round)), nowMs);
      for (const [host, rates] of told) for (const rate of rates) pacing.heard(host, rate);
    }
  };
  const sends = (host: string, bytes: number) => came.set(host, (came.get(host) ?? 0) + bytes);
  rounds(8, () => [
    ["near1", 1e6],
    ["near2", 1e6],
  ]);
  rounds(40, (round) => {
    for (const host of ["near1", "near2"]) sends(host, 20e3);
    return [
      ["near1", 1e6 * (1 + (round % 3))],
      ...(round % 2 ? [] : [["near2", 1e6] as [string, number]]),
    ];
  });
  expect([...told]).toEqual([]);
  rounds(40, () => {
    sends("near1", 200e3);
    return [
      ["near1", 3e6],
      ["near2", 1e6],
    ];
  });
  expect(told.get("near1")?.at(-1)).toBeGreaterThan(2.9e6);
});
