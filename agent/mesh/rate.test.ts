import { expect, test } from "vitest";
import { Rate } from "./rate.ts";

test("rate: a few kilobytes say nothing of the way (a small file that took long)", () => {
  const rate = new Rate();
  rate.sample(0, true, 0);
  rate.sample(10_000, true, 3_000);
  expect(rate.bytesPerSecond).toBe(0);
});

test("rate: is that of the time something was under way (a pause between)", () => {
  const rate = new Rate();
  let bytes = 0;
  let nowMs = 0;
  rate.sample(0, false, 0);
  for (let i = 0; i < 50; i++) {
    const busy = i % 10 < 5;
    nowMs += 100;
    if (busy) bytes += 1e6;
    rate.sample(bytes, busy, nowMs);
  }
  expect(rate.bytesPerSecond).toBeCloseTo(10e6, -5);
});

test("rate: follows a way that became slower", () => {
  const rate = new Rate();
  let bytes = 0;
  for (let i = 0; i < 200; i++) {
    bytes += i < 100 ? 5e6 : 5e5;
    rate.sample(bytes, true, i * 100);
  }
  expect(rate.bytesPerSecond).toBeGreaterThan(4.5e6);
  expect(rate.bytesPerSecond).toBeLessThan(7e6);
});
