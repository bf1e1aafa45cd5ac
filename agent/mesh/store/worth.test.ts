import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Candidate, countUse, mayGo, probabilityOfUse, worth, worthOfWish } from "./worth.ts";

const DAY_MS = 86_400_000;
const MiB = 2 ** 20;
const candidate = (given: Partial<Candidate> = {}): Candidate => ({
  usage: { count: 1, countedMs: 0 },
  priority: 100,
  elsewhere: "peers",
  freedBytes: 100 * MiB,
  ...given,
});

describe("worth: of a version", () => {
  test("a use a day is a use to be expected in the next day", () => {
    let usage = { count: 0, countedMs: 0 };
    for (let day = 0; day < 30; day++) usage = countUse(usage, day * DAY_MS);
    const nowMs = 29.5 * DAY_MS;
    expect(probabilityOfUse(usage, nowMs)).toBeGreaterThan(0.55);
    expect(probabilityOfUse(usage, nowMs)).toBeLessThan(0.75);
  });

  test.each<[string, Partial<Candidate>, Partial<Candidate>]>([
    ["what is used more", { usage: { count: 3, countedMs: 0 } }, {}],
    ["what was used later", { usage: { count: 1, countedMs: DAY_MS } }, {}],
    ["what only the origin has", { elsewhere: "origin" }, {}],
    ["what nobody else has", { elsewhere: "nowhere" }, { elsewhere: "origin" }],
    ["what is of a higher class", { priority: 200 }, {}],
    ["what frees little", { freedBytes: MiB }, {}],
  ])("is more for %s", (_, more, less) => {
    expect(worth(candidate(more), DAY_MS)).toBeGreaterThan(worth(candidate(less), DAY_MS));
  });

  test("never grows while nobody uses it", () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0, max: 1e6, noNaN: true }),
        fc.integer({ min: 0, max: 1e9 }),
        fc.integer({ min: 0, max: 1e9 }),
        (count, a, b) => {
          const one = candidate({ usage: { count, countedMs: 0 } });
          const [early, late] = [Math.min(a, b), Math.max(a, b)];
          expect(worth(one, late)).toBeLessThanOrEqual(worth(one, early));
        },
      ),
    );
  });
});

const staging = (priority: number) => ({ foreground: false, priority });
const waits = { foreground: true, priority: 0 };
const last = (days: number) => ({ usage: { count: 1, countedMs: -days * DAY_MS } });

test.each<[boolean, string, Partial<Candidate>, { foreground: boolean; priority: number }]>([
  [true, "its own class", {}, staging(100)],
  [false, "a lower class", {}, staging(50)],
  [
    true,
    "a lower class (not likely to be used)",
    { usage: { count: 0.01, countedMs: 0 } },
    staging(50),
  ],
  [false, "staging (nobody else has it)", { elsewhere: "nowhere" }, staging(100)],
  [
    false,
    "staging (nobody else has it, used last week)",
    { elsewhere: "nowhere", ...last(7) },
    staging(100),
  ],
  [
    true,
    "staging (nobody else has it, used a month ago)",
    { elsewhere: "nowhere", ...last(30) },
    staging(100),
  ],
  [true, "a request that waits (nobody else has it)", { elsewhere: "nowhere" }, waits],
])("worth: whether a version may go is %s for %s", (may, _, given, wish) => {
  const wishWorth = worthOfWish({ ...wish, elsewhere: "origin", bytes: 100 * MiB }, 0);
  expect(mayGo(candidate(given), wish, wishWorth, 0)).toBe(may);
});
