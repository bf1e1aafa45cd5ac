import { expect, test } from "vitest";
import { Watch } from "./watch.ts";

const row = (middle: number) => [-3, -2, -1, 0, 1, 2, 3].map((off) => Math.max(0, middle + off));

test("watch: loss against the day before, coverage and bias of the last bins", () => {
  const watch = new Watch();
  expect(watch.read()).toBeNull();
  for (let i = 0; i < 100; i++) watch.learn(row(10), 30, i % 10 === 0 ? 14 : 10);
  const { samples, relativeLoss, coverage90, bias } = watch.read() ?? {};
  expect(samples).toBeGreaterThan(70);
  expect(relativeLoss).toBeLessThan(0.1);
  expect(coverage90).toBeCloseTo(0.9, 1);
  expect(bias).toBeCloseTo(-0.1, 1);
  // What comes last counts most: now always too high.
  for (let i = 0; i < 1000; i++) watch.learn(row(10), 0, 5);
  expect(watch.read()?.bias).toBeGreaterThan(0.95);
  expect(watch.read()?.coverage90).toBeLessThan(0.05);
});

test("watch: a category that is nearly always silent is not biased by its median of zero", () => {
  const watch = new Watch();
  for (let i = 0; i < 200; i++) watch.learn(row(0).fill(0), 0, i % 25 === 0 ? 1 : 0);
  expect(Math.abs(watch.read()?.bias ?? 1)).toBeLessThan(0.1);
});

test("watch: goes on from its state, and a past that was foretold exactly has no ratio", () => {
  const watch = new Watch();
  watch.learn(row(10), 10, 10);
  expect(watch.read()?.relativeLoss).toBeNull();
  expect(new Watch(JSON.parse(JSON.stringify(watch.state()))).read()).toEqual(watch.read());
});
