import fc from "fast-check";
import { expect, test } from "vitest";
import type { Order } from "../../shared/domain.ts";
import { type DesiredInput, type DesiredState, desiredStates } from "./desired.ts";

const order = (over: Partial<Order> = {}): Order => ({
  id: "warm:w/c@a#0",
  kind: "warm",
  workload: "w",
  category: "c",
  host: "a",
  artifacts: [{ name: "data", version: "1" }],
  taken: true,
  reason: "forecast",
  probability: 0.5,
  threshold: 0.1,
  leadMs: 1000,
  deadlineMs: 5000,
  missCost: 1,
  stageCost: 0,
  holdCost: 0.1,
  expectedGain: 0.4,
  bytes: 10,
  affinity: 0.9,
  ...over,
});
const input = (orders: Order[], over: Partial<DesiredInput> = {}): DesiredInput => ({
  orders,
  hosts: ["a", "b"],
  manifestHash: (name, version) => `${name}@${version}`,
  priority: ({ workload }) => (workload === null ? 1000 : 100),
  fingerprint: () => "",
  reportedVersion: () => 0,
  ...over,
});
const none = new Map<string, DesiredState>();

test("desired: a warm order holds its data and keeps its environment (one host)", () => {
  const states = desiredStates(input([order(), order({ taken: false, id: "x" })]), none);
  expect(states.get("a")).toMatchObject({
    version: 1,
    hold: [{ manifestHash: "data@1", orderId: "warm:w/c@a#0", priority: 100 }],
    environments: [{ workload: "w", category: "c", deadlineMs: 5000 }],
  });
  expect(states.get("b")).toMatchObject({ version: 1, hold: [], environments: [] });
});

test("desired: one artifact wanted twice is held for the more urgent (explicit and forecast)", () => {
  const explicit = order({ id: "s1", kind: "stage", workload: null, category: null });
  const states = desiredStates(input([order(), explicit]), none);
  expect(states.get("a")?.hold).toMatchObject([{ orderId: "s1", priority: 1000 }]);
});

test("desired: what is only refigured changes no version (probability, gain, reason)", () => {
  const first = desiredStates(input([order()]), none);
  const again = order({ probability: 0.9, expectedGain: 3, reason: "keep", bytes: 0 });
  expect(desiredStates(input([again]), first)).toEqual(first);
});

test("desired: the version rises with the content or what goes along (new order, fingerprint)", () => {
  const first = desiredStates(input([order()]), none);
  const more = order({ id: "2", category: "d" });
  expect(desiredStates(input([order(), more]), first).get("a")?.version).toBe(2);
  expect(desiredStates(input([order(), more]), first).get("b")?.version).toBe(1);
  const lease = desiredStates(input([order()], { fingerprint: () => "l2" }), first);
  expect(lease.get("b")?.version).toBe(2);
});

test("desired: overtakes what an agent has from before a restart here (reported 41)", () => {
  const first = desiredStates(input([order()]), none);
  const after = desiredStates(input([order()], { reportedVersion: () => 41 }), first);
  expect(after.get("a")?.version).toBe(42);
  expect(desiredStates(input([order()], { reportedVersion: () => 42 }), after)).toEqual(after);
});

test("desired: the order of orders does not matter (any shuffle)", () => {
  const orders = Array.from({ length: 8 }, (_, i) =>
    order({
      id: `o${i}`,
      category: `c${i}`,
      host: i % 2 ? "a" : "b",
      artifacts: [{ name: `d${i % 3}`, version: "1" }],
    }),
  );
  const states = desiredStates(input(orders), none);
  fc.assert(
    fc.property(fc.shuffledSubarray(orders, { minLength: 8 }), (shuffled) => {
      expect(desiredStates(input(shuffled), states)).toEqual(states);
    }),
  );
});
