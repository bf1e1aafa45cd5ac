import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { seededRandom } from "../../shared/runtime/random.ts";
import { AnchoredEnsembles } from "./anchored.ts";
import { UTC_CALENDAR } from "./calendar.ts";

const OPTIONS = {
  fitBins: 2000,
  learning: { bins: 2000, rounds: 250 },
  settleMinutes: 2,
  lateMinutes: 15,
  youngest: 32,
  calendar: UTC_CALENDAR,
  borrow: null,
};
/** Some minute; series begin there. */
const START = 28_000_000;

function counts(seed: number, length: number): Float64Array {
  const random = seededRandom(`anchored ${seed}`);
  return Float64Array.from({ length }, (_, t) => {
    const mean = 8 * (1 + 0.8 * Math.sin((2 * Math.PI * t) / 60));
    return Math.max(0, Math.round(mean + 2 * random.normal()));
  });
}

/** What is known at `open`: later bins are not there, or are nonsense. */
function reader(all: Float64Array, open: number, later: number) {
  return (from: number, to: number) =>
    Float64Array.from({ length: to - from }, (_, i) => {
      const at = from + i;
      return at >= open ? later : (all[at - START] ?? 0);
    });
}

const rowsOf = (ensembles: AnchoredEnsembles, all: Float64Array, open: number, later = 0) => [
  ...(ensembles.at("w/c", reader(all, open, later), open)?.predict(40) ?? []),
];

describe("anchored ensembles", () => {
  test("one that starts anew holds what one that never stopped does (any minute)", () => {
    fc.assert(
      fc.property(fc.nat(50), fc.integer({ min: 1, max: 2600 }), (seed, minutes) => {
        const all = counts(seed, 3000);
        const stays = new AnchoredEnsembles(OPTIONS);
        for (let at = Math.max(1, minutes - 900); at <= minutes; at += 1 + (at % 3))
          stays.at("w/c", reader(all, START + at, 0), START + at)?.predict(at % 7);
        const open = START + minutes;
        const anew = rowsOf(new AnchoredEnsembles(OPTIONS), all, open);
        expect(rowsOf(stays, all, open)).toEqual(anew);
        expect(anew.length > 0).toBe(minutes >= 34);
      }),
      { numRuns: 12 },
    );
  });

  test("what comes later changes nothing, nor do bins that have not settled", () => {
    const all = counts(1, 600);
    const open = START + 500;
    const rows = rowsOf(new AnchoredEnsembles(OPTIONS), all, open);
    expect(rowsOf(new AnchoredEnsembles(OPTIONS), all, open, 1e6)).toEqual(rows);
    const unsettled = all.slice();
    unsettled[499] = 1e6;
    expect(rowsOf(new AnchoredEnsembles(OPTIONS), unsettled, open)).toEqual(rows);
  });

  test("a late report is learned as if it had come in time", () => {
    const all = counts(2, 400);
    const stays = new AnchoredEnsembles(OPTIONS);
    rowsOf(stays, all, START + 300);
    const before = stays.fits;
    all[295] = 90;
    expect(rowsOf(stays, all, START + 301)).toEqual(
      rowsOf(new AnchoredEnsembles(OPTIONS), all, START + 301),
    );
    expect(stays.fits).toBe(before + 1);
  });

  test("a category that left its level is fitted anew, also by one that starts later", () => {
    const all = counts(4, 2400).map((count, t) => (t < 1700 ? count : 4 * count + 20));
    const stays = new AnchoredEnsembles(OPTIONS);
    for (let at = 1690; at <= 2300; at++) stays.at("w/c", reader(all, START + at, 0), START + at);
    expect(stays.alarms).toBe(1);
    const [left] = stays.about("w/c")?.drifts ?? [];
    expect((left ?? 0) - START).toBeGreaterThanOrEqual(1700);
    expect((left ?? 0) - START).toBeLessThan(1760);
    const anew = new AnchoredEnsembles(OPTIONS);
    expect(rowsOf(stays, all, START + 2300)).toEqual(rowsOf(anew, all, START + 2300));
    // It found what happened, but nothing happens now.
    expect(anew.alarms).toBe(0);
  });

  test("at hand: goes on with what there is and makes no fit", () => {
    const all = counts(3, 400);
    const ensembles = new AnchoredEnsembles(OPTIONS);
    const open = START + 100;
    expect(ensembles.atHand("w/c", reader(all, open, 0), open)).toBeUndefined();
    const fitted = ensembles.at("w/c", reader(all, open, 0), open);
    const later = open + 30;
    expect(ensembles.atHand("w/c", reader(all, later, 0), later)).toBe(fitted);
    expect(ensembles.fits).toBe(1);
  });

  test("there is none for a category that is nearly always silent", () => {
    const all = new Float64Array(3000);
    for (let t = 0; t < all.length; t += 40) all[t] = 1;
    expect(rowsOf(new AnchoredEnsembles(OPTIONS), all, START + 2990)).toEqual([]);
  });
});
