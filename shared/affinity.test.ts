import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type AffinityInput,
  FEATURES,
  featureVector,
  goodness,
  priorGoodness,
} from "./affinity.ts";

const healthy: AffinityInput = {
  sample: {
    cpuUsed: 0.1,
    memoryBytes: 16e9,
    memoryFreeBytes: 12e9,
    loopDelayMs: 1,
    requestsPerSecond: 5,
    diskFreeBytes: 100e9,
    peerBytesPerSecond: 50e6,
    originBytesPerSecond: 5e6,
  },
  demandShare: 0.25,
  heldShare: 1,
  warm: true,
  latencyRatio: 1,
  failures: 0,
};
const prior = (change: Partial<AffinityInput>) =>
  priorGoodness(featureVector({ ...healthy, ...change }));

describe("features", () => {
  test("stay in 0..1 (all numbers, nonsense too)", () => {
    const level = fc.oneof(fc.double(), fc.constantFrom(0, 1e300, Number.POSITIVE_INFINITY));
    const input = fc.record({
      sample: fc.record({
        cpuUsed: level,
        memoryBytes: level,
        memoryFreeBytes: level,
        loopDelayMs: level,
        requestsPerSecond: level,
        diskFreeBytes: level,
        peerBytesPerSecond: level,
        originBytesPerSecond: level,
      }),
      demandShare: level,
      heldShare: level,
      warm: fc.boolean(),
      latencyRatio: level,
      failures: level,
    });
    fc.assert(
      fc.property(input, (i) => {
        for (const value of featureVector(i)) {
          expect(value).toBeGreaterThanOrEqual(0);
          expect(value).toBeLessThanOrEqual(1);
        }
      }),
    );
  });

  test("keep their order, which models are made for", () => {
    expect(FEATURES).toEqual([
      "cpuUsed",
      "memoryFree",
      "loopDelay",
      "requestRate",
      "diskFree",
      "peerRate",
      "originRate",
      "demandShare",
      "heldShare",
      "warm",
      "latencyRatio",
      "failures",
    ]);
  });
});

describe("the prior", () => {
  test.each([
    ["a busy processor", { sample: { ...healthy.sample, cpuUsed: 0.95 } }],
    ["little memory", { sample: { ...healthy.sample, memoryFreeBytes: 1e8 } }],
    ["nothing held", { heldShare: 0 }],
    ["nothing warm", { warm: false }],
    ["demand elsewhere", { demandShare: 0 }],
    ["slow answers", { latencyRatio: 4 }],
    ["failures", { failures: 3 }],
  ])("thinks less of a host with %s", (_, change) => {
    expect(prior(change)).toBeLessThan(prior({}));
  });
});

test("goodness is one half as expected, falls with latency, and nothing when failed", () => {
  const of = (latencyMs: number) => goodness({ latencyMs, expectedMs: 20, failed: false });
  expect(of(20)).toBe(0.5);
  expect(of(100)).toBeLessThan(of(21));
  expect(goodness({ latencyMs: 1, expectedMs: 900, failed: false })).toBeGreaterThan(0.9);
  expect(of(30)).toBeGreaterThan(0.4);
  expect(goodness({ latencyMs: 1, expectedMs: 20, failed: true })).toBe(0);
});
