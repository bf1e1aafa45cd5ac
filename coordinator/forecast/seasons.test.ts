import { expect, test } from "vitest";
import { seededRandom } from "../../shared/runtime/random.ts";
import { detectSeasons } from "./seasons.ts";

const HOUR_MS = 3_600_000;

function wave(bins: number, periods: readonly number[], noise: number, seed: string) {
  const random = seededRandom(seed);
  return Float64Array.from({ length: bins }, (_, t) => {
    const sum = periods.reduce((all, period) => all + Math.sin((2 * Math.PI * t) / period), 0);
    return sum + noise * (random.next() - 0.5);
  });
}

test("seasons: finds the day (daily wave in noise)", () => {
  expect(detectSeasons(wave(600, [24], 2, "day"), HOUR_MS)).toEqual([24]);
});

test("seasons: finds day and week (both in it)", () => {
  expect(detectSeasons(wave(1500, [24, 168], 1, "week"), HOUR_MS)).toEqual([24, 168]);
});

test("seasons: finds what no calendar knows (every 50 bins)", () => {
  expect(detectSeasons(wave(900, [50], 1, "odd"), HOUR_MS)).toEqual([50]);
});

test("seasons: finds the shortest (a timer every 3 bins)", () => {
  const timer = Float64Array.from({ length: 360 }, (_, t) => (t % 3 === 0 ? 1 : 0));
  expect(detectSeasons(timer, 60_000)).toEqual([3]);
});

test("seasons: finds none in noise, in nothing, in a ramp", () => {
  for (const seed of ["a", "b", "c", "d"]) {
    expect(detectSeasons(wave(1000, [], 1, seed), HOUR_MS)).toEqual([]);
  }
  expect(detectSeasons(new Float64Array(1000), HOUR_MS)).toEqual([]);
  expect(detectSeasons(new Float64Array(1), HOUR_MS)).toEqual([]);
  expect(
    detectSeasons(
      Float64Array.from({ length: 1000 }, (_, t) => t),
      HOUR_MS,
    ),
  ).toEqual([]);
});
