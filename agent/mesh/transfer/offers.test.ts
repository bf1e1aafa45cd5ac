import fc from "fast-check";
import { expect, test } from "vitest";
import { seededRandom } from "../../../shared/runtime/random.ts";
import { Bitmap } from "./bitmap.ts";
import { OfferBook } from "./offers.ts";
import type { Effect } from "./wants.ts";

const UNITS = 30;
const said = (host: string, wanting = true, have = new Bitmap(UNITS)) => ({
  type: "said" as const,
  host,
  local: true,
  whole: false,
  manifests: [{ id: "m", have, wanting, urgent: false, claims: [] }],
});
const nobody = { whole: () => [], wanting: () => [] };
function book(seed = 1) {
  const offers = new OfferBook(seededRandom(seed));
  offers.hold({ id: "m", units: UNITS }, nobody, 0, []);
  return offers;
}
/** Takes what is offered until nothing more is. */
function* offersOf(effects: Effect[]) {
  for (let i = 0; i < offered(effects).length; i++) {
    const one = offered(effects)[i];
    if (one) yield one;
  }
}
const offered = (effects: Effect[]) =>
  effects.flatMap((e) =>
    e.type === "have" ? e.hosts.map((host) => ({ host, unit: e.unit })) : [],
  );

test("offers: every unit is offered once, to one neighbour, before all may ask (any order of getting)", () => {
  fc.assert(
    fc.property(fc.integer(), fc.integer({ min: 2, max: 40 }), (seed, hosts) => {
      const random = seededRandom(seed);
      const offers = book(seed);
      const effects: Effect[] = [];
      for (let i = 0; i < hosts; i++) offers.said(said(`h${i}`), 0, effects);
      const open = offered(effects);
      const seen = new Set<number>();
      for (let ms = 1; open.length > 0; ms++) {
        const [taken] = open.splice(random.int(open.length), 1);
        if (!taken) break;
        expect(seen.has(taken.unit)).toBe(false);
        seen.add(taken.unit);
        const more: Effect[] = [];
        offers.had(taken.host, "m", [taken.unit], ms, more);
        open.push(...offered(more));
      }
      expect(seen.size).toBe(UNITS);
      offers.tick(60_000, []);
      expect(offers.spreading("m")).toBe(false);
    }),
  );
});

test("offers: one neighbour alone may ask for all; a second one makes the host spread", () => {
  const offers = book();
  const effects: Effect[] = [];
  offers.said(said("a"), 0, effects);
  expect(effects).toEqual([]);
  expect(offers.spreading("m")).toBe(false);
  offers.said(said("b"), 1, effects);
  expect(effects[0]).toEqual({ type: "announce", id: "m" });
  expect(offers.spreading("m")).toBe(true);
  offers.gone("a", 2, effects);
  expect(offers.spreading("m")).toBe(false);
});

test("offers: who comes first is offered no more than if four had come (of a site of many)", () => {
  const firstOf = (neighbours: number) => {
    const offers = new OfferBook(seededRandom(1));
    offers.neighbours(neighbours, 0, []);
    offers.hold({ id: "m", units: 100 }, nobody, 0, []);
    const effects: Effect[] = [];
    offers.said(said("first", true, new Bitmap(100)), 0, effects);
    return offered(effects).length;
  };
  const [many, two] = [firstOf(20), firstOf(2)];
  expect(many).toBeGreaterThan(0);
  expect(many).toBeLessThanOrEqual(two / 2);
});

test("offers: while one takes the last units, others get again what they lack (much was given)", () => {
  const many = 100;
  const offers = new OfferBook(seededRandom(1));
  offers.hold({ id: "m", units: many }, nobody, 0, []);
  const effects: Effect[] = [];
  for (const host of ["a", "b", "slow"])
    offers.said(said(host, true, new Bitmap(many)), 0, effects);
  const got = new Map<number, string[]>();
  let ms = 0;
  for (const { host, unit } of offersOf(effects)) {
    const holders = got.get(unit) ?? [];
    expect(holders).not.toContain(host);
    if (holders.length > 0) expect(got.size).toBe(many);
    got.set(unit, [...holders, host]);
    if (host !== "slow") offers.had(host, "m", [unit], ++ms, effects);
  }
  const again = [...got.values()].filter((holders) => holders.length > 1);
  expect(again.length).toBeGreaterThan(5);
  expect(again.map(([first]) => first)).not.toContain("slow");
});

test("offers: what a neighbour was offered that goes, or does not take it, is not lost", () => {
  for (const leaves of [true, false]) {
    const offers = book();
    const first: Effect[] = [];
    for (const host of ["a", "b", "c"]) offers.said(said(host), 0, first);
    const lost = offered(first).filter((o) => o.host === "a");
    expect(lost.length).toBeGreaterThan(0);
    const later: Effect[] = [];
    if (leaves) offers.gone("a", 10, later);
    const taken = new Set<string>();
    for (let ms = 100; ms < 60_000; ms += 100) {
      offers.tick(ms, later);
      for (const { host, unit } of offered([...first, ...later])) {
        if (host === "a" || taken.has(`${host} ${unit}`)) continue;
        taken.add(`${host} ${unit}`);
        offers.had(host, "m", [unit], ms, later);
      }
    }
    expect(offers.spreading("m")).toBe(false); // so that all may ask for all
    const others = new Set(offered(later).flatMap((o) => (o.host === "a" ? [] : [o.unit])));
    if (leaves) for (const { unit } of lost) expect(others.has(unit)).toBe(true);
  }
});

test("offers: few units are left to the neighbours while they get on, and to all when they do not", () => {
  const offers = book();
  const effects: Effect[] = [];
  for (const host of ["a", "b", "c"]) offers.said(said(host), 0, effects);
  let ms = 0;
  for (const { host, unit } of offersOf(effects)) offers.had(host, "m", [unit], ms, effects);
  for (; ms < 5_000; ms += 400) {
    offers.tick(ms, effects);
    expect(offers.spreading("m")).toBe(true);
    offers.had("b", "m", [(ms / 400) % UNITS], ms, effects);
  }
  offers.tick(ms + 200, effects);
  expect(offers.spreading("m")).toBe(false);
  expect(offered(effects)).toHaveLength(UNITS);
});

test("offers: where several may come the first finds offers, and may ask for all when none came", () => {
  const offers = new OfferBook(seededRandom(1));
  offers.neighbours(2, 0, []);
  const effects: Effect[] = [];
  offers.hold({ id: "m", units: UNITS }, nobody, 0, effects);
  expect(effects).toContainEqual({ type: "announce", id: "m" });
  offers.said(said("a"), 10, effects);
  expect(offered(effects).length).toBeGreaterThan(0);
  expect(offers.spreading("m")).toBe(true);
  offers.tick(1_000, effects);
  expect(offers.spreading("m")).toBe(false);
});

test("offers: a version that another host has all of is asked for freely", () => {
  const offers = new OfferBook(seededRandom(1));
  offers.neighbours(2, 0, []);
  const effects: Effect[] = [];
  offers.hold({ id: "m", units: UNITS }, nobody, 0, effects);
  offers.said(said("z", false, Bitmap.full(UNITS)), 1, effects);
  expect(offers.spreading("m")).toBe(false);
  expect(effects.at(-1)).toEqual({ type: "announce", id: "m" });
  for (const host of ["a", "b"]) offers.said(said(host), 2, effects);
  expect(offers.spreading("m")).toBe(false);
});

test("offers: nothing is kept of a version that is held no longer", () => {
  const offers = book();
  offers.hold({ id: "m", units: 0 }, nobody, 0, []);
  const effects: Effect[] = [];
  for (const host of ["a", "b"]) offers.said(said(host), 0, effects);
  expect(effects).toEqual([]);
  expect(offers.size).toBe(0);
});

test.each([
  { takesMs: 20, most: 256, least: 40 },
  { takesMs: 400, most: 12, least: 12 },
])(
  "offers: more is open at once while it is got soon, not when the uplink is what it waits for ($takesMs ms)",
  ({ takesMs, most, least }) => {
    const units = 4_000;
    const offers = new OfferBook(seededRandom(1));
    offers.hold({ id: "m", units }, nobody, 0, []);
    const effects: Effect[] = [];
    for (const host of ["a", "b", "c", "d"])
      offers.said(said(host, true, new Bitmap(units)), 0, effects);
    let open = offered(effects);
    let largest = 0;
    for (let ms = takesMs; open.length > 0 && ms < 8 * takesMs; ms += takesMs) {
      largest = Math.max(largest, open.length);
      const more: Effect[] = [];
      for (const { host, unit } of open) offers.had(host, "m", [unit], ms, more);
      open = offered(more);
    }
    expect(largest).toBeGreaterThanOrEqual(least);
    expect(largest).toBeLessThanOrEqual(most);
  },
);
