import fc from "fast-check";
import { expect, test } from "vitest";
import { DEFAULT_THROTTLE, type Load, NO_THROTTLE, stepThrottle } from "./throttle.ts";

const load = (host: string, cpuUsed: number, over: Partial<Load> = {}): Load => ({
  host,
  site: "s",
  cpuUsed,
  requestsPerSecond: 0,
  forecastRequestsPerSecond: 0,
  ...over,
});
const options = { ...DEFAULT_THROTTLE, peakRequestsPerSecond: 100 };

test("throttle: stops with the first sample over the mark (cpu, requests, forecast)", () => {
  const over = [
    load("a", 0.9, { site: "1" }),
    load("b", 0.1, { site: "2", requestsPerSecond: 100 }),
    load("c", 0.1, { site: "3", forecastRequestsPerSecond: 150 }),
    load("d", 0.1, { site: "4" }),
  ];
  const { throttled } = stepThrottle(NO_THROTTLE, over, options, 0);
  expect([...throttled].sort()).toEqual(["a", "b", "c"]);
});

test("throttle: a site at peak takes all its hosts along (one host idle)", () => {
  const loads = [load("a", 0.84), load("b", 0.84), load("c", 0.84), load("d", 0.7)];
  expect(stepThrottle(NO_THROTTLE, loads, options, 0).throttled.size).toBe(4);
});

test("throttle: resumes by itself after a calm while, not between the marks (cpu falls)", () => {
  const steps: [number, number, boolean][] = [
    [0, 0.9, true],
    [1_000, 0.8, true],
    [60_000, 0.8, true],
    [61_000, 0.3, true],
    [65_000, 0.3, true],
    [66_000, 0.3, false],
    [67_000, 0.8, false],
  ];
  let state = NO_THROTTLE;
  for (const [now, cpu, expected] of steps) {
    const step = stepThrottle(state, [load("a", cpu), load("b", 0)], options, now);
    state = step.state;
    expect(step.throttled.has("a")).toBe(expected);
  }
});

test("throttle: a new peak starts the calm again (short dip)", () => {
  let state = NO_THROTTLE;
  for (const [now, cpu] of [
    [0, 0.9],
    [1_000, 0.1],
    [4_000, 0.9],
    [5_000, 0.1],
    [9_000, 0.1],
  ] as const)
    state = stepThrottle(state, [load("a", cpu)], options, now).state;
  expect(state.hosts.has("a")).toBe(true);
});

test("throttle: always on over the mark, always off after calm (any samples)", () => {
  fc.assert(
    fc.property(fc.array(fc.double({ min: 0, max: 1, noNaN: true })), (samples) => {
      let state = NO_THROTTLE;
      let now = 0;
      for (const cpu of samples) {
        const step = stepThrottle(state, [load("a", cpu), load("z", 0)], options, now);
        state = step.state;
        now += 1_000;
        if (cpu >= options.peakCpu) expect(step.throttled.has("a")).toBe(true);
      }
      for (let i = 0; i <= 6; i++) {
        state = stepThrottle(state, [load("a", 0), load("z", 0)], options, now + i * 1_000).state;
      }
      expect(state).toEqual(NO_THROTTLE);
    }),
  );
});

test("throttle: keeps nothing of hosts that left (state is bounded by the fleet)", () => {
  const peak = stepThrottle(NO_THROTTLE, [load("a", 1)], options, 0).state;
  expect(stepThrottle(peak, [], options, 1).state).toEqual(NO_THROTTLE);
});
