import { describe, expect, test } from "vitest";
import type { Lease } from "../shared/domain.ts";
import { SimulatedClock } from "../test/support/clock.ts";
import { StagingGate, stagingRates } from "./staging.ts";

const lease: Lease = {
  id: "l1",
  stagingBytesPerSecond: 1000,
  expiresMs: 500,
  floorBytesPerSecond: 10,
  incoming: { bytesPerSecond: 400, floorBytesPerSecond: 4 },
  classes: {},
};

describe("staging gate: the rate", () => {
  const free = { lease, paused: false, throttled: false };
  test.each([
    ["lease in force", free, false, 499, 1000],
    ["lease expired", free, false, 500, 10],
    ["no lease yet", { ...free, lease: null }, false, 0, 0],
    ["paused", { ...free, paused: true }, false, 0, 0],
    ["throttled by the coordinator", { ...free, throttled: true }, false, 0, 0],
    ["host at its peak", free, true, 0, 0],
    ["expired, but at its peak", free, true, 900, 0],
  ])("%s", (_situation, orders, atPeak, now, rate) => {
    expect(stagingRates(orders, atPeak, now).total).toBe(rate);
  });
});

test("staging gate: a site's part is the lease's, then its floor; no limit where it has no budget", () => {
  const free = { lease, paused: false, throttled: false };
  const unlimited = Number.POSITIVE_INFINITY;
  expect(stagingRates(free, false, 0)).toMatchObject({ incoming: 400, outgoing: unlimited });
  expect(stagingRates(free, false, 500)).toMatchObject({ incoming: 4, outgoing: unlimited });
});

test("staging gate: stops within a second of a peak and resumes by itself", async () => {
  const clock = new SimulatedClock();
  let cpu = 0.1;
  let rate = -1;
  const gate = new StagingGate({
    clock,
    demandClock: clock,
    setRates: ({ total }) => {
      rate = total;
    },
    cpuUsed: () => cpu,
    peakCpu: 0.95,
  });
  gate.set({ lease: { ...lease, expiresMs: 1e9 }, paused: false, throttled: false });
  const stop = new AbortController();
  const done = gate.run(stop.signal);
  expect(rate).toBe(1000);
  cpu = 0.99;
  await clock.advance(1000);
  expect(rate).toBe(0);
  cpu = 0.9;
  await clock.advance(1000);
  expect(rate).toBe(0);
  cpu = 0.5;
  await clock.advance(1000);
  expect(rate).toBe(1000);
  stop.abort();
  await done;
  expect(rate).toBe(0);
});

test("staging gate: a lease ends in time (the host's clock was set back an hour)", async () => {
  const clock = new SimulatedClock();
  const rates: number[] = [];
  const gate = new StagingGate({
    clock,
    demandClock: clock,
    setRates: ({ total }) => void rates.push(total),
    cpuUsed: () => 0,
    peakCpu: 1,
  });
  const behind = { ...lease, expiresMs: clock.now() + 3_600_000, durationMs: 15_000 };
  const stop = new AbortController();
  const done = gate.run(stop.signal);
  gate.set({ lease: behind, paused: false, throttled: false });
  await clock.advance(14_000);
  expect(rates.at(-1)).toBe(1000);
  await clock.advance(2_000);
  expect(rates.at(-1)).toBe(10);
  stop.abort();
  await done;
});
