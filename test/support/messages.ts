/** Ordinary messages for tests, small and complete. */
import type { DemandBin, Outcome } from "../../shared/domain.ts";
import type { DesiredState, Hello, Report } from "../../shared/protocol/bodies.ts";
import type { Message } from "../../shared/protocol/messages.ts";
import { Workload } from "../../shared/workload.ts";

type Stamped = "protocol" | "desiredVersion" | "routesVersion" | "membersEpoch";

export function helloFacts(host: string, bootId = "boot-0001"): Omit<Hello, Stamped> {
  return {
    host,
    site: "site-a",
    bootId,
    peerId: "12D3KooWTest",
    meshAddresses: ["/ip4/127.0.0.1/tcp/4001"],
    routerUrl: "http://127.0.0.1:8080",
    software: "0.1.0",
  };
}

/** A report with so many environments, and as many holdings and scores. */
export function reportFacts(size = 1, atMs = 1_000): Omit<Report, Stamped> {
  const each = <T>(make: (index: number) => T) => Array.from({ length: size }, (_, i) => make(i));
  return {
    sample: {
      atMs,
      cpuUsed: 0.25,
      memoryBytes: 16e9,
      memoryFreeBytes: 8e9,
      diskFreeBytes: 100e9,
      requestsPerSecond: 3.5,
      peerBytesPerSecond: 80e6,
      originBytesPerSecond: 10e6,
      loopDelayMs: 2,
      agentBytes: 90e6,
    },
    environments: each((i) => ({
      id: `environment-${i}`,
      workload: `workload-${i}`,
      category: "default",
      state: "warm",
      sinceMs: atMs,
      verdict: { passed: true, atMs, latencyMs: 4, detail: "" },
      lastUsedMs: null,
      planned: true,
      memoryBytes: 128e6,
      restarts: 0,
    })),
    holdings: each((i) => ({
      manifestHash: i.toString(16).padStart(64, "0"),
      ref: { name: `artifact-${i}`, version: "1" },
      bytesHave: 1e6,
      bytes: 1e6,
      active: true,
    })),
    scores: each((i) => ({
      workload: `workload-${i}`,
      score: 0.5,
      correction: 0,
      modelVersion: 1,
    })),
    orders: [],
    staged: { peerBytes: 0, originBytes: 0, foregroundBytes: 0, wastedBytes: 0 },
    memoryTime: { planned: 0, unplanned: 0 },
    lease: null,
    liars: [{ host: "host-b", lies: 2, lastMs: 10, shunnedMs: 60_000 }],
  };
}

export function bin(host: string, index: number, count = 1): DemandBin {
  return { workload: "w", category: `c-${index}`, host, startMs: 60_000, count };
}

export function outcome(host: string, index: number): Outcome {
  return {
    kind: "hit",
    workload: "w",
    category: `c-${index}`,
    host,
    atMs: 60_000 + index,
    firstByteMs: 3,
    waitedMs: 0,
    status: 200,
    orderId: null,
    bytes: 0,
    memoryByteMs: 0,
  };
}

export function desiredState(version: number): DesiredState {
  return {
    version,
    hold: [],
    environments: [],
    workloads: [],
    lease: {
      id: "lease-1",
      stagingBytesPerSecond: 1e6,
      expiresMs: 60_000,
      floorBytesPerSecond: 1e4,
      classes: {},
    },
    paused: false,
    throttled: false,
    demandShare: {},
    model: null,
  };
}

const hash = "ab".repeat(32);
const versions = { desiredVersion: 7, routesVersion: 3, membersEpoch: 5 };

/** One of each message, with every kind of field in use. */
export const SAMPLES: Message[] = [
  {
    type: "hello",
    body: { ...helloFacts("host-a"), ...versions, protocol: { min: 1, max: 1 } },
  },
  {
    type: "report",
    body: {
      ...reportFacts(2),
      ...versions,
      orders: [{ orderId: "o-1", state: "failed", code: "DISK_FULL", bytesDone: 5 }],
      liars: [{ host: "host-b", lies: 2, lastMs: 10, shunnedMs: 60_000 }],
      lease: { id: "lease-1", spentBytes: 12 },
    },
  },
  {
    type: "records",
    body: { seq: 9, demand: [bin("host-a", 1, 300)], outcomes: [outcome("host-a", 1)] },
  },
  {
    type: "request",
    body: {
      id: 1,
      body: {
        kind: "publish",
        manifest: { packed: "KLUv/QRA", hash, signature: "c2ln", publicKey: "a2V5" },
        tags: ["latest"],
      },
    },
  },
  { type: "pong", body: { at: 1_700_000_000_000.5 } },
  { type: "welcome", body: { protocol: 1, sessionId: "s-1", heartbeatMs: 10_000, lastSeq: 8 } },
  {
    type: "desired",
    body: {
      ...desiredState(7),
      hold: [
        {
          orderId: "o-1",
          ref: { name: "model", version: "1.0" },
          manifestHash: hash,
          priority: -1,
          deadlineMs: 99_000,
        },
      ],
      environments: [
        { orderId: "o-2", workload: "w", category: "c", priority: 100, deadlineMs: 99_000 },
      ],
      workloads: [Workload.parse({ name: "w", match: {}, environment: { command: ["serve"] } })],
      demandShare: { w: 0.5 },
      model: { ref: { name: "affinity", version: "3" }, manifestHash: hash },
    },
  },
  {
    type: "members",
    body: {
      epoch: 5,
      members: [
        { host: "host-a", site: "site-a", peerId: "12D3", meshAddresses: [], routerUrl: null },
      ],
      publishers: [
        { name: "hosts", publicKey: null, names: ["*"], trusted: true },
        { name: "ci", publicKey: "A".repeat(43), names: ["maps-*"], trusted: false },
      ],
    },
  },
  {
    type: "routes",
    body: {
      version: 3,
      entries: [{ workload: "w", category: "ü-1", serving: ["host-a"], home: ["host-b"] }],
    },
  },
  { type: "ack", body: { seq: 9 } },
  {
    type: "reply",
    body: {
      id: 1,
      ok: true,
      code: null,
      message: "",
      body: { kind: "resolve", ref: { name: "a", version: "1" }, manifestHash: hash },
    },
  },
  { type: "ping", body: { at: 12 } },
  { type: "bye", body: { code: "REVOKED", message: "revoked by ann" } },
];
