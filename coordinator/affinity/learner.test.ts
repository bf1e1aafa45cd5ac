import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { silentLog } from "../../shared/runtime/log.ts";
import { seededRandom } from "../../shared/runtime/random.ts";
import { AffinityLearner, type PairMetrics } from "./learner.ts";

const pair = (cpuUsed = 0.2): PairMetrics => ({
  sample: {
    cpuUsed,
    memoryBytes: 8e9,
    memoryFreeBytes: 4e9,
    loopDelayMs: 2,
    requestsPerSecond: 3,
    diskFreeBytes: 50e9,
    peerBytesPerSecond: 20e6,
    originBytesPerSecond: 2e6,
  },
  demandShare: 0.5,
  heldShare: 1,
  warm: true,
});

let learner: AffinityLearner;
beforeEach(() => {
  learner = new AffinityLearner({ random: seededRandom(1), log: silentLog }, { steps: 300 });
});
afterEach(() => learner.close());

function ask(host: string, latencyMs: number, failed = false): void {
  learner.observe({ workload: "shop", host, latencyMs, failed }, pair(), 0);
}

describe("the learner", () => {
  test("trains at once when there is no model, then only when it is time", async () => {
    expect(await learner.trainIfDue()).toMatchObject({ version: 1, promoted: true });
    expect(await learner.trainIfDue()).toBeNull();
    for (let i = 0; i < 50; i++) ask("a", 20);
    expect(await learner.trainIfDue()).toBeNull();
    for (let i = 0; i < 2000; i++) ask("a", 20);
    expect(await learner.trainIfDue()).toMatchObject({ version: 2 });
  });

  test("expects of a workload what most of its requests took (a slow host among fast)", () => {
    expect(learner.expectedMs("shop")).toBeNull();
    for (let i = 0; i < 300; i++) ask(["a", "b", "c"][i % 3] ?? "a", i % 3 === 2 ? 500 : 20);
    expect(learner.expectedMs("shop")).toBeGreaterThan(18);
    expect(learner.expectedMs("shop")).toBeLessThan(24);
  });

  test("puts a slow host behind the others within five requests", async () => {
    await learner.trainIfDue();
    for (let i = 0; i < 50; i++) for (const host of ["a", "b"]) ask(host, 20);
    const order = () =>
      learner.score("shop", "a", pair(0.2), 0) > learner.score("shop", "b", pair(0.5), 0);
    expect(order()).toBe(true);
    for (let i = 0; i < 5; i++) ask("a", 100);
    expect(order()).toBe(false);
    for (let i = 0; i < 6; i++) ask("a", 20);
    expect(order()).toBe(true);
  });

  test("does not let failures bend what it expects", () => {
    for (let i = 0; i < 20; i++) ask("a", 20);
    for (let i = 0; i < 200; i++) ask("a", 1, true);
    expect(learner.expectedMs("shop")).toBeCloseTo(20, 5);
  });

  test("goes on from its state after a restart", async () => {
    await learner.trainIfDue();
    const other = new AffinityLearner({ random: seededRandom(2), log: silentLog });
    expect(other.restore(learner.state())).toBe(true);
    expect(other.score("shop", "a", pair(), 0)).toBe(learner.score("shop", "a", pair(), 0));
    expect(await other.trainIfDue()).toBeNull();
    await other.close();
  });
});
