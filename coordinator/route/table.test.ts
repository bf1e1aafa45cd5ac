import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { EnvironmentState, type EnvironmentStatus, RouteTable } from "../../shared/domain.ts";
import { EMPTY_TABLE, type RoutableHost, type RouteInput, routeTable } from "./table.ts";

const environment = (over: Partial<EnvironmentStatus> = {}): EnvironmentStatus => ({
  id: "e",
  workload: "w",
  category: "c",
  state: "warm",
  sinceMs: 0,
  verdict: { passed: true, atMs: 0, latencyMs: 1, detail: "" },
  lastUsedMs: null,
  planned: true,
  memoryBytes: 1,
  restarts: 0,
  ...over,
});
const host = (id: string, ...environments: EnvironmentStatus[]): RoutableHost => ({
  id,
  gone: false,
  connected: true,
  environments,
});
const input = (hosts: RoutableHost[], over: Partial<RouteInput> = {}): RouteInput => ({
  hosts,
  keys: [],
  affinity: () => 0.5,
  home: () => [],
  reportedVersion: 0,
  ...over,
});

describe("what serves", () => {
  test("routes: state by state, only warm and serving with a passing verdict (all states)", () => {
    const passed = { passed: true, atMs: 0, latencyMs: 1, detail: "" };
    const failed = { passed: false, atMs: 0, latencyMs: 1, detail: "500" };
    for (const state of EnvironmentState.options)
      for (const verdict of [passed, failed, null]) {
        const table = routeTable(input([host("a", environment({ state, verdict }))]), EMPTY_TABLE);
        const serves = (state === "warm" || state === "serving") && verdict === passed;
        expect(table.entries.flatMap((e) => e.serving)).toEqual(serves ? ["a"] : []);
      }
  });

  test("routes: a host that only lost its session keeps its routes, a gone one does not", () => {
    const away = { ...host("a", environment()), connected: false };
    expect(routeTable(input([away]), EMPTY_TABLE).entries[0]?.serving).toEqual(["a"]);
    expect(routeTable(input([{ ...away, gone: true }]), EMPTY_TABLE).entries).toEqual([]);
  });

  test("routes: best affinity first, in the order of before for a hair (three hosts)", () => {
    const hosts = ["a", "b", "c"].map((id) => host(id, environment()));
    const by = (scores: Record<string, number>) =>
      input(hosts, { affinity: (_, id) => scores[id] ?? 0 });
    const first = routeTable(by({ a: 0.2, b: 0.9, c: 0.5 }), EMPTY_TABLE);
    expect(first.entries[0]?.serving).toEqual(["b", "c", "a"]);
    expect(routeTable(by({ a: 0.2, b: 0.9, c: 0.93 }), first)).toBe(first);
    const moved = routeTable(by({ a: 0.2, b: 0.4, c: 0.9 }), first);
    expect(moved).toMatchObject({ version: 2, entries: [{ serving: ["c", "b", "a"] }] });
  });
});

describe("homes", () => {
  test("routes: the planner's homes, else the best connected hosts (category without either)", () => {
    const hosts = [host("a"), host("b"), { ...host("c"), connected: false }, host("d"), host("e")];
    const affinity = (_: string, id: string) => ({ a: 0.1, b: 0.9, c: 1, d: 0.5, e: 0.3 })[id] ?? 0;
    const keys = [{ workload: "w", category: "c" }];
    const plain = routeTable(input(hosts, { keys, affinity }), EMPTY_TABLE);
    expect(plain.entries[0]).toMatchObject({ serving: [], home: ["b", "d", "e"] });
    const planned = routeTable(input(hosts, { keys, affinity, home: () => ["e"] }), EMPTY_TABLE);
    expect(planned.entries[0]?.home).toEqual(["e"]);
  });
});

const anyEnvironment = fc
  .record({
    category: fc.constantFrom("c", "d"),
    state: fc.constantFrom(...EnvironmentState.options),
    verdict: fc.option(
      fc.record({
        passed: fc.boolean(),
        atMs: fc.constant(0),
        latencyMs: fc.constant(1),
        detail: fc.constant(""),
      }),
    ),
  })
  .map((over) => environment(over));
const anyHosts = fc.uniqueArray(
  fc.record({
    id: fc.constantFrom("a", "b", "c", "d", "e"),
    gone: fc.boolean(),
    connected: fc.boolean(),
    environments: fc.array(anyEnvironment, { maxLength: 4 }),
  }),
  { selector: (h) => h.id },
);
const anyInput = fc
  .tuple(anyHosts, fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 5 }))
  .map(([hosts, scores]) =>
    input(hosts, {
      keys: [{ workload: "w", category: "c" }],
      affinity: (_, id) => scores["abcde".indexOf(id)] ?? 0,
    }),
  );

test("routes: never to an environment without a passing verdict (any fleet)", () => {
  fc.assert(
    fc.property(anyInput, anyInput, (first, second) => {
      const table = routeTable(second, routeTable(first, EMPTY_TABLE));
      RouteTable.parse(table);
      for (const entry of table.entries)
        for (const id of entry.serving) {
          const there = second.hosts.find((h) => h.id === id);
          expect(there?.gone).toBe(false);
          const proof = there?.environments.some(
            (e) =>
              e.category === entry.category &&
              e.verdict?.passed &&
              (e.state === "warm" || e.state === "serving"),
          );
          expect(proof).toBe(true);
        }
    }),
  );
});

test("routes: the order of hosts and reports does not matter (any fleet)", () => {
  fc.assert(
    fc.property(anyInput, (one) => {
      const table = routeTable(one, EMPTY_TABLE);
      const hosts = one.hosts.toReversed().map((h) => ({
        ...h,
        environments: h.environments.toReversed(),
      }));
      expect(routeTable({ ...one, hosts }, EMPTY_TABLE)).toEqual(table);
      expect(routeTable({ ...one, hosts }, table)).toBe(table);
    }),
  );
});

test("routes: the version rises exactly with the content (any two fleets)", () => {
  fc.assert(
    fc.property(anyInput, anyInput, (first, second) => {
      const before = routeTable(first, EMPTY_TABLE);
      const after = routeTable(second, before);
      const same = JSON.stringify(after.entries) === JSON.stringify(before.entries);
      expect(after.version).toBe(same ? before.version : before.version + 1);
    }),
  );
});

test("routes: overtakes the version agents have from before a restart (reported 7)", () => {
  const table = routeTable(input([host("a", environment())], { reportedVersion: 7 }), EMPTY_TABLE);
  expect(table.version).toBe(8);
});

test("routes: what serves comes before what does not where not all fit (20,001 categories)", () => {
  const keys = Array.from({ length: 20_001 }, (_, i) => ({ workload: "w", category: `a${i}` }));
  const table = routeTable(
    input([host("a", environment({ category: "z" }))], { keys }),
    EMPTY_TABLE,
  );
  expect(table.entries.length).toBe(20_000);
  expect(table.entries.at(-1)?.category).toBe("z");
});
