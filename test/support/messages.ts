/** Ordinary messages for tests, small and complete. */
import type { DemandBin, Outcome } from "../../shared/domain.ts";
import type { DesiredState, Hello, Report } from "../../shared/protocol/bodies.ts";

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
