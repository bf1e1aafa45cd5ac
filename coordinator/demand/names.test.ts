import { expect, test } from "vitest";
import { categoryName, FunctionNames, workloadName } from "./names.ts";

test.each([
  ["maps", "maps"],
  ["Maps.Example", "maps.example"],
  ["a_b-c", "a_b-c"],
])("names: what is valid stays (%s)", (text, name) => {
  expect(workloadName(text)).toBe(name);
});

test("names: two texts that clean to the same stay two", () => {
  expect(workloadName("a b")).toMatch(/^a-b-[0-9a-f]{6}$/);
  expect(workloadName("a b")).not.toBe(workloadName("a/b"));
  expect(workloadName("a b")).toBe(workloadName("a b"));
  expect(workloadName("···")).toMatch(/^w-/);
  expect(workloadName("x".repeat(500)).length).toBeLessThanOrEqual(64);
});

test("names: categories lose blanks and slashes only", () => {
  expect(categoryName("Eu/West 1")).toBe("Eu-West-1");
  expect(categoryName(" ")).toBe("default");
});

test("names: functions that begin alike get longer names, each always its own", () => {
  const names = new FunctionNames();
  const first = names.nameOf("0123456789abcdef00");
  expect(first).toBe("fn-0123456789");
  expect(names.nameOf("0123456789ffffff00")).toBe("fn-0123456789ffffff");
  expect(names.nameOf("0123456789abcdef00")).toBe(first);
});
