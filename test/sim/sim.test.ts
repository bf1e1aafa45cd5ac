import { describe, expect, test } from "vitest";
import { BREAKS, type BreakName, isBreakName } from "./breaks.ts";
import { failureText } from "./report.ts";
import type { RunResult } from "./run.ts";
import { simulate } from "./simulate.ts";

const SMALL = { hosts: 16, seconds: 400, broken: null };
/** An order has to stand still for minutes before it counts as stuck. */
const LONG = { ...SMALL, seconds: 900 };
const SEEDS_MAX = 20;

/** The first seed that finds the deliberate bug. */
async function hunt(broken: BreakName): Promise<RunResult | null> {
  const options = { ...sized(broken), broken };
  for (let seed = 1; seed <= SEEDS_MAX; seed++) {
    const result = await simulate(seed, options, { twice: broken === "chance" });
    if (result.violation) return result;
  }
  return null;
}

const NEEDS_LONG: readonly BreakName[] = ["forgotten-orders", "ignore-throttle", "untold-limit"];
const sized = (name: BreakName) => (NEEDS_LONG.includes(name) ? LONG : SMALL);

describe("simulated fleets", () => {
  test.each([1, 2, 3, 4])("keep every invariant (seed %i)", async (seed) => {
    const result = await simulate(seed, SMALL, { twice: seed === 1 });
    if (result.violation) throw new Error(failureText(result, SMALL));
    expect(result.requests).toBeGreaterThan(20);
    expect(result.activations).toBeGreaterThan(20);
  });

  test("inject every kind of fault (a few seeds together)", async () => {
    const results = await Promise.all(
      [11, 12, 13].map((seed) => simulate(seed, SMALL, { twice: false })),
    );
    const sum = (of: (r: RunResult) => number) => results.reduce((n, r) => n + of(r), 0);
    expect(sum((r) => r.injected.hostCrashes)).toBeGreaterThan(0);
    expect(sum((r) => r.injected.coordinatorCrashes)).toBeGreaterThan(0);
    expect(sum((r) => r.injected.partitions)).toBeGreaterThan(0);
    expect(sum((r) => r.network.dropped)).toBeGreaterThan(0);
    expect(sum((r) => r.network.duplicated)).toBeGreaterThan(0);
    expect(sum((r) => r.network.broken)).toBeGreaterThan(0);
  });
});

describe("a deliberate bug is found, with the seed to replay it", () => {
  test.each(Object.keys(BREAKS).filter(isBreakName))("%s", async (name) => {
    const found = await hunt(name);
    expect(BREAKS[name]).toContain(found?.violation?.invariant);
    if (found)
      expect(failureText(found, { ...sized(name), broken: name })).toContain(
        `--seeds 1 --seed ${found.seed} --hosts 16 --seconds ${sized(name).seconds} --break ${name}`,
      );
  });
});
