import { describe, expect, test } from "vitest";
import { type Asker, Elsewhere } from "./elsewhere.ts";

const WANT = { hash: "m", foreground: false, reaches: true };
const at = (site: string, host = `${site}1`): Asker => ({ host, site });
const nobody = () => [];

describe("elsewhere: the turn at the origin", () => {
  test("is one site's while it goes on asking, whoever of it asks", () => {
    const elsewhere = new Elsewhere(nobody);
    expect(elsewhere.answer(at("a"), WANT, 0).origin).toBe(true);
    for (let now = 0; now < 20_000; now += 1_000) {
      expect(elsewhere.answer(at("a", "a2"), WANT, now).origin).toBe(true);
      expect(elsewhere.answer(at("b"), WANT, now).origin).toBe(false);
    }
  });

  test("goes to the next site when the first is silent", () => {
    const elsewhere = new Elsewhere(nobody);
    elsewhere.answer(at("a"), WANT, 0);
    expect(elsewhere.answer(at("b"), WANT, 3_900).origin).toBe(false);
    expect(elsewhere.answer(at("b"), WANT, 4_000).origin).toBe(true);
    expect(elsewhere.answer(at("a"), WANT, 4_001).origin).toBe(false);
  });

  test("goes to the next site at once when the first does not reach the origin", () => {
    const elsewhere = new Elsewhere(nobody);
    elsewhere.answer(at("a"), WANT, 0);
    expect(elsewhere.answer(at("a"), { ...WANT, reaches: false }, 500).origin).toBe(true);
    expect(elsewhere.answer(at("b"), WANT, 501).origin).toBe(true);
    expect(elsewhere.answer(at("a"), { ...WANT, reaches: false }, 502).origin).toBe(false);
  });

  test("goes from staging to a request, and not back while that waits", () => {
    const elsewhere = new Elsewhere(nobody);
    const request = { ...WANT, foreground: true };
    elsewhere.answer(at("a"), WANT, 0);
    expect(elsewhere.answer(at("b"), request, 100).origin).toBe(true);
    expect(elsewhere.answer(at("a"), WANT, 200).origin).toBe(false);
    expect(elsewhere.answer(at("c"), request, 300).origin).toBe(false);
  });

  test("is of each version by itself", () => {
    const elsewhere = new Elsewhere(nobody);
    elsewhere.answer(at("a"), WANT, 0);
    expect(elsewhere.answer(at("b"), { ...WANT, hash: "n" }, 0).origin).toBe(true);
  });
});

describe("elsewhere: who of a site is ahead", () => {
  const ahead = (elsewhere: Elsewhere, asker: Asker, now: number) =>
    elsewhere.answer(asker, WANT, now).ahead;

  test("nobody of the one that asked first, as long as it asks", () => {
    const elsewhere = new Elsewhere(nobody);
    for (const now of [0, 2_000, 4_000]) {
      expect(ahead(elsewhere, at("a", "a2"), now)).toBe(false);
      expect(ahead(elsewhere, at("a", "a1"), now)).toBe(true);
      expect(ahead(elsewhere, at("b", "b1"), now)).toBe(false);
    }
    expect(ahead(elsewhere, at("a", "a1"), 8_000)).toBe(false);
    expect(ahead(elsewhere, at("a", "a2"), 8_000)).toBe(true);
  });

  test("one that has all of it", () => {
    const elsewhere = new Elsewhere(() => [at("a", "a9")]);
    expect(ahead(elsewhere, at("a", "a1"), 0)).toBe(true);
    expect(ahead(elsewhere, at("b", "b1"), 0)).toBe(false);
  });
});

describe("elsewhere: whom to ask", () => {
  test("those that have all of it, then those who bring it in, none of one's own site", () => {
    const elsewhere = new Elsewhere(() => [at("a", "a1"), at("b", "b9"), at("c", "c1")]);
    elsewhere.answer(at("b", "b1"), WANT, 0);
    elsewhere.answer(at("d", "d1"), WANT, 0);
    const { hosts } = elsewhere.answer(at("a", "a2"), WANT, 0);
    expect(hosts.slice(0, 2).toSorted()).toEqual(["b9", "c1"]);
    expect(hosts.slice(2)).toEqual(["b1", "d1"]);
  });

  test("at most eight, and others for another asker", () => {
    const all = Array.from({ length: 20 }, (_, i) => at(`s${i}`, `h${i}`));
    const elsewhere = new Elsewhere(() => all);
    for (const asker of all) elsewhere.answer(asker, WANT, 0);
    const told = all.map((asker) => elsewhere.answer(asker, WANT, 0).hosts);
    for (const hosts of told) expect(hosts.length).toBeLessThanOrEqual(8);
    for (const { host } of all) expect(told.some((hosts) => hosts.includes(host))).toBe(true);
    expect(elsewhere.answer(at("s3", "h3"), WANT, 500).hosts).toEqual(told[3]);
  });

  test("nobody who asked no more for some seconds", () => {
    const elsewhere = new Elsewhere(nobody);
    elsewhere.answer(at("b"), WANT, 0);
    expect(elsewhere.answer(at("a"), WANT, 3_000).hosts).toEqual(["b1"]);
    expect(elsewhere.answer(at("a"), WANT, 4_000).hosts).toEqual([]);
  });
});
