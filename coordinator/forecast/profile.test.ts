import { expect, test } from "vitest";
import { Profile } from "./profile.ts";

test("profile: a long season is learned like a short one (a week of minutes, some to a phase)", () => {
  const week = 7 * 1440;
  const profile = new Profile(week, 4);
  const shape = (bin: number) => Math.sin((2 * Math.PI * bin) / week);
  for (let t = 0; t < 2 * week; t++) profile.learn(t % week, shape(t) + (t % 2 === 0 ? 0.5 : -0.5));
  for (let bin = 0; bin < week; bin += 97) {
    expect(profile.expected(bin, 9)).toBeCloseTo(shape(bin), 1);
    expect(profile.cycles(bin)).toBe(2);
  }
});

test("profile: an old course is forgotten at the same pace (short and long season)", () => {
  const leftOf = (season: number) => {
    const profile = new Profile(season, 0);
    for (let cycle = 0; cycle < 12; cycle++)
      for (let bin = 0; bin < season; bin++) profile.learn(bin, cycle < 10 ? 1 : 0);
    return profile.expected(season >> 1, 9);
  };
  expect(leftOf(24)).toBeCloseTo(0.75 ** 2, 5);
  expect(leftOf(10_080)).toBeCloseTo(0.75 ** 2, 1);
});

test("profile: a phase that was not seen has what its neighbours have, or what is given", () => {
  const profile = new Profile(24, 1);
  profile.learn(5, 2);
  expect([4, 5, 6, 7].map((phase) => profile.expected(phase, 9))).toEqual([2, 2, 2, 9]);
});
