import { expect, test } from "vitest";
import { Recent } from "./recent.ts";

test("recent: the entries set last stay, one set again counts as new (capacity 2)", () => {
  const recent = new Recent<string, number>(2);
  recent.set("a", 1);
  recent.set("b", 2);
  recent.set("a", 3);
  recent.set("c", 4);
  expect([recent.get("a"), recent.has("b"), recent.get("c")]).toEqual([3, false, 4]);
  expect([...recent.values()]).toEqual([3, 4]);
  expect([recent.delete("a"), recent.delete("a")]).toEqual([true, false]);
});
