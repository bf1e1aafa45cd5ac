import { expect, test } from "vitest";
import { SimulatedClock } from "../../test/support/clock.ts";
import { KeyedBuckets } from "./buckets.ts";

test("buckets: give the burst at once, then the rate (one key)", async () => {
  const clock = new SimulatedClock();
  const buckets = new KeyedBuckets(clock, { ratePerSecond: 2, burst: 3 });
  expect([1, 2, 3, 4].map(() => buckets.take("a"))).toEqual([true, true, true, false]);
  await clock.advance(500);
  expect(buckets.take("a")).toBe(true);
  expect(buckets.take("a")).toBe(false);
  expect(buckets.refused).toBe(2);
});

test("buckets: one key does not use up another's share", () => {
  const buckets = new KeyedBuckets(new SimulatedClock(), { ratePerSecond: 1, burst: 1 });
  expect(buckets.take("a")).toBe(true);
  expect(buckets.take("b")).toBe(true);
});

test("buckets: stay bounded and keep the busy key (10,000 others come by)", () => {
  const buckets = new KeyedBuckets(new SimulatedClock(), { ratePerSecond: 1, burst: 5, keys: 100 });
  for (let i = 0; i < 5; i++) buckets.take("busy");
  for (let i = 0; i < 10_000; i++) buckets.take(`k${i}`);
  expect(buckets.size).toBeLessThanOrEqual(100);
  expect(buckets.take("busy")).toBe(false);
});
