import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  acknowledged,
  classShares,
  committedBytesPerSecond,
  EMPTY_BOOK,
  grantLeases,
  type LeaseDemand,
  type LeaseOptions,
} from "./leases.ts";

const options: LeaseOptions = {
  budgetBytesPerSecond: 1000,
  perHostBytesPerSecond: 600,
  floorBytesPerSecond: 10,
  durationMs: 10_000,
};
const demand = (host: string, bytes: number, over: Partial<LeaseDemand> = {}): LeaseDemand => ({
  host,
  pending: [{ class: "default", priority: 100, bytes }],
  throttled: false,
  ...over,
});
const grant = (demands: LeaseDemand[], book = EMPTY_BOOK, now = 0) =>
  grantLeases(book, { enrolled: demands.map((d) => d.host), demands }, options, now);

describe("rates", () => {
  test("leases: one host gets its cap, not the whole budget (much pending)", () => {
    const { leases } = grant([demand("a", 1e9)]);
    expect(leases.get("a")?.stagingBytesPerSecond).toBeCloseTo(600, 3);
  });

  test("leases: a host with nothing to stage gets its floor (idle beside busy)", () => {
    const { leases } = grant([demand("a", 0), demand("b", 1e9)]);
    expect(leases.get("a")?.stagingBytesPerSecond).toBe(10);
    expect(leases.get("b")?.stagingBytesPerSecond).toBeGreaterThan(500);
  });

  test("leases: what a host had before is free once it goes by the new one (its need ended)", () => {
    const first = grant([demand("a", 1e9), demand("b", 1e9)]);
    const second = grant([demand("a", 0), demand("b", 1e9)], first.book, 100);
    const rate = (leases: typeof second.leases) => leases.get("b")?.stagingBytesPerSecond ?? 0;
    expect(rate(second.leases)).toBeLessThan(590);
    const held = new Map([...second.leases].map(([host, lease]) => [host, lease.id]));
    const book = acknowledged(second.book, held);
    expect(committedBytesPerSecond(book, 100)).toBeLessThan(590);
    const third = grant([demand("a", 0), demand("b", 1e9)], book, 200);
    expect(rate(third.leases)).toBeCloseTo(600, 3);
    expect(committedBytesPerSecond(third.book, 200)).toBeLessThanOrEqual(1000);
  });

  test("leases: an acknowledgement of a lease nobody granted changes nothing", () => {
    const { book } = grant([demand("a", 1e9)]);
    expect(
      acknowledged(
        book,
        new Map([
          ["a", "l99"],
          ["z", "l1"],
        ]),
      ),
    ).toEqual(book);
  });

  test("leases: more goes to higher priority (same bytes)", () => {
    const { leases } = grant([
      demand("a", 1e6, { pending: [{ class: "gold", priority: 300, bytes: 1e6 }] }),
      demand("b", 1e6),
    ]);
    const rate = (host: string) => leases.get(host)?.stagingBytesPerSecond ?? 0;
    expect(rate("a")).toBeGreaterThan(rate("b"));
    expect(rate("a") + rate("b")).toBeGreaterThan(990);
  });

  test("leases: a throttled host gets nothing at once, and its part later goes to others", () => {
    let { book } = grant([demand("a", 1e9), demand("b", 1e9)]);
    let leases = new Map();
    const demands = [demand("a", 1e9, { throttled: true }), demand("b", 1e9)];
    ({ book, leases } = grant(demands, book, 1_000));
    expect(leases.get("a")?.stagingBytesPerSecond).toBe(0);
    expect(leases.get("b")?.stagingBytesPerSecond).toBeLessThanOrEqual(510);
    ({ book, leases } = grant(demands, book, 10_000));
    ({ book, leases } = grant(demands, book, 11_000));
    expect(leases.get("b")?.stagingBytesPerSecond).toBeCloseTo(600, 3);
  });

  test("leases: what a vanished host held is free only after it expired (b disappears)", () => {
    const first = grant([demand("a", 1e9), demand("b", 1e9)]);
    const input = { enrolled: ["a", "b"], demands: [demand("a", 1e9)] };
    const soon = grantLeases(first.book, input, options, 5_000);
    expect(soon.leases.get("a")?.stagingBytesPerSecond).toBeCloseTo(500, 0);
    const later = grantLeases(soon.book, input, options, 10_000);
    expect(later.leases.get("a")?.stagingBytesPerSecond).toBeCloseTo(600, 3);
  });
});

/** Any fleet over time: hosts come, go, stall, ask for anything; messages may all be lost. */
const anyStep = fc.record({
  wait: fc.integer({ min: 1, max: 12_000 }),
  revoked: fc.subarray(["h0", "h1"]),
  demands: fc.uniqueArray(
    fc.record({
      host: fc.integer({ min: 0, max: 14 }).map((n) => `h${n}`),
      throttled: fc.boolean(),
      pending: fc.array(
        fc.record({
          class: fc.constantFrom("low", "mid", "high"),
          priority: fc.constantFrom(1, 100, 900),
          bytes: fc.integer({ min: 0, max: 1e7 }),
        }),
        { maxLength: 3 },
      ),
    }),
    { selector: (d) => d.host, maxLength: 15 },
  ),
});
const anyOptions = fc.record({
  budgetBytesPerSecond: fc.integer({ min: 1, max: 1e6 }),
  perHostBytesPerSecond: fc.integer({ min: 0, max: 1e6 }),
  floorBytesPerSecond: fc.integer({ min: 0, max: 1e5 }),
  durationMs: fc.integer({ min: 1_000, max: 20_000 }),
});

test("leases: what hosts may use never passes the budget (any fleet, at every moment)", () => {
  fc.assert(
    fc.property(fc.array(anyStep, { maxLength: 12 }), anyOptions, (steps, limits) => {
      let book = EMPTY_BOOK;
      let now = 0;
      const enrolled = new Set<string>();
      // Beside the book: the highest unexpired grant ever sent to a host, else the last floor.
      const sent = new Map<string, { rate: number; until: number; floor: number }[]>();
      for (const step of steps) {
        now += step.wait;
        for (const d of step.demands) enrolled.add(d.host);
        const result = grantLeases(
          book,
          { enrolled: [...enrolled], demands: step.demands },
          limits,
          now,
        );
        book = result.book;
        for (const [host, lease] of result.leases) {
          const grants = sent.get(host) ?? [];
          grants.push({
            rate: lease.stagingBytesPerSecond,
            until: lease.expiresMs,
            floor: lease.floorBytesPerSecond,
          });
          sent.set(host, grants);
          const classes = Object.values(lease.classes).reduce((a, b) => a + b, 0);
          expect(classes).toBeLessThanOrEqual(lease.stagingBytesPerSecond + 1e-9);
          expect(lease.stagingBytesPerSecond).toBeLessThanOrEqual(limits.perHostBytesPerSecond);
        }
        for (const at of [now, now + step.wait / 2]) {
          let sum = 0;
          for (const grants of sent.values()) {
            const live = grants.filter((g) => g.until > at).map((g) => g.rate);
            sum += Math.max(...live, ...grants.map((g) => g.floor));
          }
          expect(sum).toBeLessThanOrEqual(limits.budgetBytesPerSecond * (1 + 1e-9));
          expect(committedBytesPerSecond(book, at)).toBeLessThanOrEqual(
            limits.budgetBytesPerSecond * (1 + 1e-9),
          );
        }
      }
    }),
    { numRuns: 300 },
  );
});

test("leases: the book stays small (a thousand renewals at any rate)", () => {
  let book = EMPTY_BOOK;
  for (let i = 0; i < 1000; i++)
    ({ book } = grant([demand("a", (i * 7919) % 10_000), demand("b", 1e9)], book, i * 100));
  expect(book.hosts.get("a")?.grants.length).toBeLessThan(100);
  expect(book.hosts.get("b")?.grants.length).toBeLessThan(100);
});

test("leases: the order of hosts changes nothing (any order)", () => {
  const demands = ["a", "b", "c", "d"].map((host, i) => demand(host, 1000 * (i + 1)));
  expect(grant(demands.toReversed()).leases).toEqual(grant(demands).leases);
});

describe("classes", () => {
  test("leases: several orders of a class are one (two artifacts of gold)", () => {
    const gold = { class: "gold", priority: 200, bytes: 1e6 };
    const shares = classShares([gold, gold, { class: "low", priority: 1, bytes: 1e6 }], 100, 1000);
    expect((shares.gold ?? 0) + (shares.low ?? 0)).toBeCloseTo(100, 5);
    expect(shares.gold).toBeGreaterThan(60);
  });

  const anyPending = fc.uniqueArray(
    fc.record({
      class: fc.constantFrom("a", "b", "c", "d"),
      priority: fc.nat(1000),
      bytes: fc.integer({ min: 1, max: 1e9 }),
    }),
    { selector: (p) => p.class, minLength: 1, maxLength: 4 },
  );
  const anyRate = fc.double({ min: 1, max: 1e6, noNaN: true });

  test("leases: a lower class never gets more than a higher can use (any classes)", () => {
    fc.assert(
      fc.property(anyPending, anyRate, (pending, rate) => {
        const shares = classShares(pending, rate, 10_000);
        for (const high of pending)
          for (const low of pending) {
            if (high.priority <= low.priority) continue;
            const usable = high.bytes / 10;
            const mine = shares[high.class] ?? 0;
            if (mine < usable * (1 - 1e-9))
              expect(mine).toBeGreaterThanOrEqual((shares[low.class] ?? 0) * (1 - 1e-9));
          }
      }),
    );
  });

  test("leases: every class that waits gets its least part, nothing is given twice (any)", () => {
    fc.assert(
      fc.property(anyPending, anyRate, (pending, rate) => {
        const shares = Object.values(classShares(pending, rate, 10_000));
        expect(shares.length).toBe(pending.length);
        for (const share of shares)
          expect(share).toBeGreaterThanOrEqual((rate * 0.19) / pending.length);
        expect(shares.reduce((a, b) => a + b, 0)).toBeLessThanOrEqual(rate);
      }),
    );
  });
});
