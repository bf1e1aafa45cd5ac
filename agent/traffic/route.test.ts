import fc from "fast-check";
import { expect, test } from "vitest";
import { chooseTarget, type RouteView } from "./route.ts";

const nothing: RouteView = {
  self: "me",
  entry: undefined,
  readyHere: false,
  makingHere: false,
  tried: new Set(),
  triesLeft: 2,
  reachable: () => true,
};
const entry = (serving: string[], home: string[]) => ({
  workload: "shop",
  category: "red",
  serving,
  home,
});

test.each<[string, Partial<RouteView>, string]>([
  ["no table", {}, "here"],
  ["ready here", { readyHere: true, entry: entry(["a"], ["b"]) }, "here"],
  ["ready here, but that failed", { readyHere: true, tried: new Set(["me"]) }, "nowhere"],
  ["served elsewhere", { entry: entry(["a", "b"], []) }, "a"],
  ["served elsewhere, being made here", { makingHere: true, entry: entry(["a"], []) }, "a"],
  ["served here, says a stale table", { entry: entry(["me"], ["me"]) }, "here"],
  ["first one tried", { entry: entry(["a", "b"], []), tried: new Set(["a"]) }, "b"],
  ["not reachable", { entry: entry(["a"], ["a"]), reachable: () => false }, "here"],
  ["being made here", { makingHere: true, entry: entry([], ["a"]) }, "here"],
  ["home elsewhere", { entry: entry([], ["a", "me"]) }, "a"],
  ["home here", { entry: entry([], ["me", "a"]) }, "here"],
  ["home tried", { entry: entry([], ["a", "me"]), tried: new Set(["a"]) }, "here"],
  ["no tries left", { entry: entry(["a"], ["b"]), triesLeft: 0 }, "here"],
  ["here failed, home left", { entry: entry([], ["me", "b"]), tried: new Set(["me"]) }, "b"],
  ["all failed", { entry: entry(["a"], ["a"]), tried: new Set(["me", "a"]) }, "nowhere"],
])("route: %s → %s", (_, view, expected) => {
  const target = chooseTarget({ ...nothing, ...view });
  expect(target.kind === "there" ? target.host : target.kind).toBe(expected);
});

test("route: trying targets in turn ends, never twice elsewhere, whatever the table", () => {
  const host = fc.constantFrom("me", "a", "b", "c");
  fc.assert(
    fc.property(fc.array(host), fc.array(host), fc.boolean(), (serving, home, readyHere) => {
      const tried = new Set<string>();
      let triesLeft = 2;
      for (let i = 0; i < 4; i++) {
        const target = chooseTarget({
          ...nothing,
          entry: entry(serving, home),
          readyHere,
          tried,
          triesLeft,
        });
        if (target.kind === "nowhere") return true;
        const next = target.kind === "here" ? "me" : target.host;
        expect(tried.has(next)).toBe(false);
        if (target.kind === "there") triesLeft--;
        tried.add(next);
      }
      return false;
    }),
  );
});
