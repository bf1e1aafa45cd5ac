import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  byUrgency,
  chooseReclaim,
  type KeepView,
  keepUntilMs,
  type Reclaimable,
} from "./policy.ts";

const view: KeepView = {
  declared: true,
  listed: false,
  wasPlanned: false,
  busy: false,
  mode: "observe",
  keepAliveMs: 600,
  idleSinceMs: 1000,
};

describe("how long an environment stays", () => {
  test.each<[string, Partial<KeepView>, boolean, number]>([
    ["made by a request", {}, true, 1600],
    ["made by a request, advise", { mode: "advise" }, true, 1600],
    ["made by a request, act", { mode: "act" }, true, 1060],
    ["made by a request, act, no coordinator", { mode: "act" }, false, 1600],
    ["the plan lists it", { listed: true, wasPlanned: true }, true, Infinity],
    ["the plan let go of it", { wasPlanned: true }, true, 1000],
    ["the plan let go of it, in use", { wasPlanned: true, busy: true }, true, Infinity],
    ["in use", { busy: true }, true, Infinity],
    ["workload gone", { declared: false, listed: true, busy: true }, true, -Infinity],
  ])("%s", (_, more, connected, untilMs) => {
    expect(keepUntilMs({ ...view, ...more }, { graceMs: 60, connected })).toBe(untilMs);
  });
});

const idle = fc.array(
  fc.record({
    memoryBytes: fc.integer({ min: 1, max: 100 }),
    planned: fc.boolean(),
    priority: fc.nat(3),
    idleSinceMs: fc.nat(100),
  }),
  { maxLength: 8 },
);
const named = (list: Omit<Reclaimable, "id">[]) => list.map((one, i) => ({ ...one, id: `e${i}` }));

describe("what is dropped to make room", () => {
  test("is enough, no more than needed in its order, and nothing when it would not do", () => {
    fc.assert(
      fc.property(
        idle,
        fc.nat(300),
        fc.nat(4),
        fc.constantFrom("request" as const, "plan" as const),
        (list, memoryBytes, environments, by) => {
          const all = named(list);
          const usable = all.filter((one) => by === "request" || !one.planned);
          const sum = (some: Reclaimable[]) => some.reduce((a, b) => a + b.memoryBytes, 0);
          const chosen = chooseReclaim(all, { memoryBytes, environments }, by);
          const possible = sum(usable) >= memoryBytes && usable.length >= environments;
          expect(chosen !== null).toBe(possible);
          const going = all.filter((one) => chosen?.includes(one.id));
          if (!chosen) return;
          expect(sum(going)).toBeGreaterThanOrEqual(memoryBytes);
          expect(going.length).toBeGreaterThanOrEqual(environments);
          // Without the last one it would not have been enough.
          const without = going.filter((one) => one.id !== chosen.at(-1));
          expect(
            chosen.length === 0 || sum(without) < memoryBytes || without.length < environments,
          ).toBe(true);
          // A planned one goes only when no unplanned one is left.
          if (going.some((one) => one.planned))
            expect(all.every((one) => one.planned || chosen.includes(one.id))).toBe(true);
        },
      ),
    );
  });

  test("goes by how long it was idle, planned ones by priority first", () => {
    const list = named([
      { memoryBytes: 1, planned: true, priority: 5, idleSinceMs: 1 },
      { memoryBytes: 1, planned: true, priority: 1, idleSinceMs: 9 },
      { memoryBytes: 1, planned: false, priority: 0, idleSinceMs: 8 },
      { memoryBytes: 1, planned: false, priority: 0, idleSinceMs: 3 },
    ]);
    const need = { memoryBytes: 4, environments: 4 };
    expect(chooseReclaim(list, need, "request")).toEqual(["e3", "e2", "e1", "e0"]);
  });
});

test("starts are ordered by waiting request, priority, deadline, age", () => {
  const start = (id: string, foreground: boolean, priority: number, deadlineMs: number) => ({
    id,
    foreground,
    priority,
    deadlineMs,
    order: Number(id),
  });
  const list = [
    start("5", false, 1, 10),
    start("4", false, 2, 10),
    start("3", false, 2, 5),
    start("2", true, 0, 99),
    start("1", false, 2, 5),
  ];
  expect(list.sort(byUrgency).map((one) => one.id)).toEqual(["2", "1", "3", "4", "5"]);
});
