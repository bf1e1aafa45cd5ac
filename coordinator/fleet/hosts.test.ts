import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  Fleet,
  type HostEvent,
  type HostHello,
  type HostReport,
  type Liveness,
  liveness,
  stepHost,
} from "./hosts.ts";

const hello = (bootId = "boot-1"): HostHello => ({
  bootId,
  peerId: "p",
  meshAddresses: [],
  routerUrl: null,
  software: "0.1.0",
  desiredVersion: 0,
  routesVersion: 0,
});
const report = (): HostReport => ({
  sample: {
    atMs: 0,
    cpuUsed: 0.1,
    memoryBytes: 1,
    memoryFreeBytes: 1,
    diskFreeBytes: 1,
    requestsPerSecond: 0,
    peerBytesPerSecond: 0,
    originBytesPerSecond: 0,
    loopDelayMs: 0,
    agentBytes: 1,
  },
  environments: [
    {
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
    },
  ],
  holdings: [
    { manifestHash: "h", ref: { name: "d", version: "1" }, bytesHave: 1, bytes: 1, active: true },
  ],
  scores: [],
  desiredVersion: 1,
  routesVersion: 1,
  orders: [],
  stagedBytes: { peerBytes: 0, originBytes: 0, foregroundBytes: 0, wastedBytes: 0 },
  lease: null,
});

test("fleet: connected hosts that have all of a version are found, and its publisher before it says so", () => {
  const fleet = new Fleet();
  for (const id of ["a", "b", "c"]) {
    fleet.apply(id, { kind: "enrolled", site: id }, 0);
    fleet.apply(id, { kind: "hello", site: id, hello: hello() }, 0);
  }
  const part = report();
  part.holdings = part.holdings.map((h) => ({ ...h, active: false }));
  fleet.apply("a", { kind: "report", report: report() }, 0);
  fleet.apply("b", { kind: "report", report: part }, 0);
  expect(fleet.with("h")).toEqual([{ host: "a", site: "a" }]);
  expect(fleet.with("h", "c").map((one) => one.host)).toEqual(["a", "c"]);
  fleet.apply("a", { kind: "disconnected" }, 0);
  fleet.apply("c", { kind: "revoked" }, 0);
  expect(fleet.with("h", "c")).toEqual([]);
});

const events = {
  enrolled: { kind: "enrolled", site: "s" },
  hello: { kind: "hello", site: "s", hello: hello() },
  report: { kind: "report", report: report() },
  disconnected: { kind: "disconnected" },
  revoked: { kind: "revoked" },
} satisfies Record<string, HostEvent>;

function fleetAfter(...sequence: [number, HostEvent][]): Fleet {
  const fleet = new Fleet();
  for (const [now, event] of sequence) fleet.apply("a", event, now);
  return fleet;
}

describe("liveness", () => {
  const table: [string, [number, HostEvent][], number, Liveness][] = [
    ["enrolled only", [[0, events.enrolled]], 1e6, "never-seen"],
    ["just reported", [[0, events.hello]], 14_999, "live"],
    ["late", [[0, events.hello]], 15_000, "suspect"],
    ["silent for long", [[0, events.hello]], 60_000, "gone"],
    [
      "session lost a moment ago",
      [
        [0, events.hello],
        [1, events.disconnected],
      ],
      2,
      "suspect",
    ],
    [
      "back again",
      [
        [0, events.hello],
        [1, events.disconnected],
        [9e5, events.hello],
      ],
      9e5,
      "live",
    ],
    [
      "revoked while live",
      [
        [0, events.hello],
        [1, events.revoked],
      ],
      2,
      "gone",
    ],
  ];
  test.each(table)("fleet: knows how alive a host is (%s)", (_, sequence, now, expected) => {
    const record = fleetAfter(...sequence).get("a");
    expect(record && liveness(record, now)).toBe(expected);
  });
});

describe("views", () => {
  test("fleet: a gone host shows no environments but is not forgotten (silent a day)", () => {
    const fleet = fleetAfter([0, events.hello], [1, events.report]);
    expect(fleet.views(2)[0]).toMatchObject({ connected: true, gone: false });
    expect(fleet.views(2)[0]?.environments.length).toBe(1);
    const later = fleet.views(86_400_000)[0];
    expect(later).toMatchObject({ connected: false, gone: true, environments: [] });
    expect(later?.holdings.length).toBe(1);
  });

  test("fleet: an agent that started anew has no environments until it says so (new boot)", () => {
    const fleet = fleetAfter([0, events.hello], [1, events.report]);
    fleet.apply("a", { kind: "hello", site: "s", hello: hello("boot-2") }, 2);
    expect(fleet.views(2)[0]?.environments).toEqual([]);
    expect(fleet.get("a")?.boots).toBe(2);
  });

  test("fleet: a session that resumed keeps what was reported (same boot)", () => {
    const fleet = fleetAfter([0, events.hello], [1, events.report], [2, events.disconnected]);
    fleet.apply("a", events.hello, 3);
    expect(fleet.views(3)[0]?.environments.length).toBe(1);
    expect(fleet.get("a")?.boots).toBe(1);
  });

  test("fleet: a revoked host is in no view and nothing revives it but enrolling (late report)", () => {
    const fleet = fleetAfter([0, events.hello], [1, events.revoked], [2, events.report]);
    fleet.apply("a", events.hello, 3);
    expect(fleet.views(3)).toEqual([]);
    fleet.apply("a", events.enrolled, 4);
    fleet.apply("a", events.hello, 5);
    expect(fleet.views(5).length).toBe(1);
  });
});

test("fleet: no host that was enrolled is ever forgotten (any events, any order)", () => {
  const anyEvent = fc.tuple(
    fc.constantFrom("a", "b", "c"),
    fc.constantFrom<HostEvent>(...Object.values(events)),
    fc.nat(1e6),
  );
  fc.assert(
    fc.property(fc.array(anyEvent), (sequence) => {
      const fleet = new Fleet();
      const seen = new Set<string>();
      for (const [id, event, now] of sequence) {
        fleet.apply(id, event, now);
        seen.add(id);
        expect(fleet.all().map((h) => h.id)).toEqual([...seen].sort());
      }
    }),
  );
});

test("fleet: a step changes no record that was handed out (any event)", () => {
  for (const event of Object.values(events)) {
    const before = stepHost(stepHost(undefined, "a", events.hello, 0), "a", events.report, 1);
    const copy = structuredClone(before);
    stepHost(before, "a", event, 2);
    expect(before).toEqual(copy);
  }
});
