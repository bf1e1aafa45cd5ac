import { expect, test } from "vitest";
import { CalibrationCounter, nextWidth, widened } from "./calibration.ts";
import { Mix } from "./mix.ts";

const losses = (a: number, b: number) => new Map(Object.entries({ a, b }));

test("mix: the expert with less loss gets nearly all, and loses it when that changes", () => {
  const [mix, pooled] = [new Mix(), new Mix()];
  const share = () => mix.weights(["a", "b"], [(name) => pooled.prior(name) ?? 0]).get("a") ?? 0;
  expect(share()).toBe(0.5);
  for (let i = 0; i < 10; i++) mix.learn(losses(1, 2));
  expect(share()).toBeGreaterThan(0.95);
  for (let i = 0; i < 30; i++) mix.learn(losses(2, 1));
  expect(share()).toBeLessThan(0.05);
});

test("mix: a new category starts from what worked for all", () => {
  const pooled = new Mix();
  for (let i = 0; i < 50; i++) pooled.learn(losses(1, 3));
  const start = new Mix().weights(["a", "b"], [(name) => pooled.prior(name) ?? 0]).get("a") ?? 0;
  expect(start).toBeGreaterThan(0.9);
  expect(start).toBeLessThan(1);
});

test("mix: the size of the counts does not matter, a round without loss says nothing", () => {
  const [small, large, pooled] = [new Mix(), new Mix(), new Mix()];
  for (let i = 0; i < 5; i++) {
    small.learn(losses(1, 2));
    large.learn(losses(1000, 2000));
    large.learn(losses(0, 0));
  }
  expect(large.weights(["a", "b"], [(name) => pooled.prior(name) ?? 0])).toEqual(
    small.weights(["a", "b"], [(name) => pooled.prior(name) ?? 0]),
  );
  expect(Mix.restore(JSON.parse(JSON.stringify(small.state()))).state()).toEqual(small.state());
});

test("calibration: the width settles where nine in ten are inside (too narrow by half)", () => {
  // The true interval is ±20 about 100; the model says ±10.
  const model = [90, 92, 96, 100, 104, 108, 110];
  const counter = new CalibrationCounter();
  let width = 0;
  let late = 0;
  for (let i = 0; i < 4000; i++) {
    const actual = 100 + 22.2 * (((i * 7919) % 1000) / 500 - 1);
    const inside = counter.score(widened(model, width), actual);
    width = nextWidth(width, inside);
    if (i >= 1000 && inside) late++;
  }
  expect(late / 3000).toBeGreaterThan(0.87);
  expect(late / 3000).toBeLessThan(0.93);
  expect(Math.exp(width)).toBeGreaterThan(1.7);
  expect(counter.read().samples).toBe(4000);
});

test("calibration: widening keeps quantiles rising, above zero and about their median", () => {
  const wide = widened([0, 1, 2, 3, 4, 6, 8], 1);
  expect(wide[3]).toBe(3);
  expect(wide).toEqual([...wide].sort((a, b) => a - b));
  expect(wide[0]).toBe(0);
  expect(wide[6]).toBeGreaterThan(8);
});
