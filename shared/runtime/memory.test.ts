import { expect, test } from "vitest";
import { Quiet } from "./memory.ts";

function after(...seconds: number[]): boolean {
  const quiet = new Quiet();
  return seconds.map((cpuMs) => quiet.after(cpuMs)).at(-1) ?? false;
}
const tenOf = (cpuMs: number) => Array.from({ length: 10 }, () => cpuMs);

test("quiet: ten seconds with little to do, some of them busier than others", () => {
  expect(after(...tenOf(20))).toBe(true);
  expect(after(200, ...tenOf(20).slice(1))).toBe(true);
});

test("quiet: not before it was seen for ten seconds", () => {
  expect(after(...tenOf(20).slice(1))).toBe(false);
});

test("quiet: not in the second in which work began (ten quiet seconds before)", () => {
  expect(after(...tenOf(5), 300)).toBe(false);
});

test("quiet: not soon after much work", () => {
  expect(after(...tenOf(900), 5, 5)).toBe(false);
});
