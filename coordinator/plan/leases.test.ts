import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  acknowledged,
  classShares,
  EMPTY_BOOK,
  grantLeases,
  type LeaseDemand,
  type LeaseOptions,
} from "./leases.ts";
import { committedBytesPerSecond } from "./ledger.ts";

const options: LeaseOptions = {
  budgetBytesPerSecond: 1000,
  perHostBytesPerSecond: 600,
  floorBytesPerSecond: 10,
  durationMs: 10_000,
  site: () => ({ inBytesPerSecond: null, outBytesPerSecond: null }),
};
const home = (host: string) => ({ host, site: "lab" });
const demand = (host: string, bytes: number, over: Partial<LeaseDemand> = {}): LeaseDemand => ({
  host,
  pending: [{ class: "default", priority: 100, bytes }],
  gives: false,
  takes: true,
  throttled: false,
  ...over,
});
const grant = (demands: LeaseDemand[], book = EMPTY_BOOK, now = 0) =>
  grantLeases(book, { enrolled: demands.map((d) => home(d.host)), demands }, options, now);

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
    expect(committedBytesPerSecond(book.fleet, 100)).toBeLessThan(590);
    const third = grant([demand("a", 0), demand("b", 1e9)], book, 200);
    expect(rate(third.leases)).toBeCloseTo(600, 3);
    expect(committedBytesPerSecond(third.book.fleet, 200)).toBeLessThanOrEqual(1000);
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
    const input = { enrolled: ["a", "b"].map(home), demands: [demand("a", 1e9)] };
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
      gives: fc.boolean(),
      takes: fc.boolean(),
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
const anyLimit = fc.option(fc.integer({ min: 1, max: 1e6 }));
const anyOptions = fc.record({
  budgetBytesPerSecond: fc.integer({ min: 1, max: 1e6 }),
  perHostBytesPerSecond: fc.integer({ min: 0, max: 1e6 }),
  floorBytesPerSecond: fc.integer({ min: 0, max: 1e5 }),
  durationMs: fc.integer({ min: 1_000, max: 20_000 }),
  sites: fc.tuple(
    fc.record({ inBytesPerSecond: anyLimit, outBytesPerSecond: anyLimit }),
    fc.record({ inBytesPerSecond: anyLimit, outBytesPerSecond: anyLimit }),
  ),
});
const siteOf = (host: string) => (Number(host.slice(1)) % 2 === 0 ? "even" : "odd");

type Sent = { host: string; rate: number; floor: number; untilMs: number };
/** Beside the book: all that was ever sent of one budget. */
class Sums {
  readonly #sent = new Map<string, Sent[]>();

  add(budget: string, sent: Sent): void {
    this.#sent.set(budget, [...(this.#sent.get(budget) ?? []), sent]);
  }

  /** The highest unexpired grant of each host, else its floor. */
  of(budget: string, now: number): number {
    let sum = 0;
    for (const all of Map.groupBy(this.#sent.get(budget) ?? [], (s) => s.host).values())
      sum += Math.max(...all.map((s) => (s.untilMs > now ? Math.max(s.rate, s.floor) : s.floor)));
    return sum;
  }
}

test("leases: what hosts may use never passes a budget (any fleet, any sites, at every moment)", () => {
  fc.assert(
    fc.property(fc.array(anyStep, { maxLength: 12 }), anyOptions, (steps, { sites, ...limits }) => {
      let book = EMPTY_BOOK;
      let now = 0;
      const enrolled = new Set<string>();
      const sums = new Sums();
      const site = (name: string) => sites[name === "even" ? 0 : 1];
      for (const step of steps) {
        now += step.wait;
        for (const d of step.demands) enrolled.add(d.host);
        const all = [...enrolled].map((host) => ({ host, site: siteOf(host) }));
        const input = { enrolled: all, demands: step.demands };
        const result = grantLeases(book, input, { ...limits, site }, now);
        book = result.book;
        for (const [host, lease] of result.leases) {
          const { stagingBytesPerSecond: rate, floorBytesPerSecond: floor } = lease;
          const untilMs = lease.expiresMs;
          sums.add("fleet", { host, rate, floor, untilMs });
          for (const direction of ["incoming", "outgoing"] as const) {
            const part = lease[direction];
            if (!part) continue;
            const { bytesPerSecond, floorBytesPerSecond } = part;
            const sent = { host, rate: bytesPerSecond, floor: floorBytesPerSecond, untilMs };
            sums.add(`${direction} ${siteOf(host)}`, sent);
          }
          const classes = Object.values(lease.classes).reduce((x, y) => x + y, 0);
          expect(classes).toBeLessThanOrEqual(rate + 1e-9);
          expect(rate).toBeLessThanOrEqual(limits.perHostBytesPerSecond);
        }
        const within = (budget: string, limit: number | null, at: number) =>
          expect(sums.of(budget, at)).toBeLessThanOrEqual((limit ?? 0) * (1 + 1e-9));
        for (const at of [now, now + step.wait / 2]) {
          within("fleet", limits.budgetBytesPerSecond, at);
          for (const name of ["even", "odd"]) {
            within(`incoming ${name}`, site(name).inBytesPerSecond, at);
            within(`outgoing ${name}`, site(name).outBytesPerSecond, at);
          }
          expect(committedBytesPerSecond(book.fleet, at)).toBeLessThanOrEqual(
            limits.budgetBytesPerSecond * (1 + 1e-9),
          );
        }
      }
    }),
    { numRuns: 300 },
  );
});

describe("sites", () => {
  const site = (name: string) => ({
    inBytesPerSecond: name === "thin" ? 100 : null,
    outBytesPerSecond: name === "thin" ? 50 : null,
  });
  const enrolled = ["a", "b", "c"].map((host) => ({ host, site: host === "c" ? "wide" : "thin" }));

  test("leases: hosts of a site share what may come into it, others go by the fleet's budget alone", () => {
    const demands = ["a", "b", "c"].map((host) => demand(host, 1e9));
    const { leases } = grantLeases(EMPTY_BOOK, { enrolled, demands }, { ...options, site }, 0);
    const incoming = (host: string) => leases.get(host)?.incoming?.bytesPerSecond;
    expect((incoming("a") ?? 0) + (incoming("b") ?? 0)).toBeCloseTo(100, 5);
    expect(incoming("a")).toBeGreaterThan(45);
    expect(incoming("b")).toBeGreaterThan(45);
    expect(leases.get("a")?.stagingBytesPerSecond).toBeGreaterThan(300);
    expect(incoming("c")).toBeUndefined();
  });

  test("leases: who fetches for a site gets what may come into it, anybody while nobody does", () => {
    const incoming = (takes: boolean) => {
      const demands = [demand("a", 1e9, { takes }), demand("b", 1e9, { takes: false })];
      const { leases } = grantLeases(EMPTY_BOOK, { enrolled, demands }, { ...options, site }, 0);
      return demands.map(({ host }) => leases.get(host)?.incoming?.bytesPerSecond ?? 0);
    };
    const [[only = 0, rest = 0], [one = 0, other = 0]] = [incoming(true), incoming(false)];
    expect(only).toBeGreaterThan(85);
    expect(rest).toBeLessThan(15);
    expect(Math.min(one, other)).toBeGreaterThan(45);
  });

  test("leases: who is asked by other sites gets what may leave his", () => {
    const demands = [demand("a", 0, { gives: true }), demand("b", 0), demand("c", 1e9)];
    const { leases } = grantLeases(EMPTY_BOOK, { enrolled, demands }, { ...options, site }, 0);
    expect(leases.get("a")?.outgoing?.bytesPerSecond).toBeGreaterThan(40);
    expect(leases.get("b")?.outgoing?.bytesPerSecond).toBeLessThan(10);
  });
});

test("leases: the book stays small (a thousand renewals at any rate)", () => {
  let book = EMPTY_BOOK;
  for (let i = 0; i < 1000; i++)
    ({ book } = grant([demand("a", (i * 7919) % 10_000), demand("b", 1e9)], book, i * 100));
  expect(book.fleet.get("a")?.grants.length).toBeLessThan(100);
  expect(book.fleet.get("b")?.grants.length).toBeLessThan(100);
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
