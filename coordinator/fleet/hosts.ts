/** The last known state of every enrolled host; one small step function per event. */
import type {
  AffinityScore,
  ArtifactRef,
  EnvironmentStatus,
  HostId,
  HostSample,
} from "../../shared/domain.ts";
import { unreachable } from "../../shared/runtime/assert.ts";

/** Suspect: late, or without a session; nothing new goes there, its routes stay until it is gone. */
export type Liveness = "never-seen" | "live" | "suspect" | "gone";

export type ReportedHolding = {
  manifestHash: string;
  ref: ArtifactRef;
  bytesHave: number;
  bytes: number;
  active: boolean;
  /** Since then, demand time. */
  sinceMs?: number | null | undefined;
  sources?: readonly { from: string; bytes: number }[] | undefined;
};
export type ReportedOrder = {
  orderId: string;
  state: "pending" | "done" | "failed" | "withdrawn";
  code: string | null;
  detail?: string | undefined;
  bytesDone: number;
};
export type StagedBytes = {
  peerBytes: number;
  originBytes: number;
  foregroundBytes: number;
  wastedBytes: number;
};

/** The part of an agent's report that is its state. */
export type HostReport = {
  sample: HostSample;
  environments: EnvironmentStatus[];
  holdings: ReportedHolding[];
  scores: AffinityScore[];
  desiredVersion: number;
  routesVersion: number;
  orders: ReportedOrder[];
  stagedBytes: StagedBytes;
  lease: {
    id: string;
    spentBytes: number;
    gives?: boolean | undefined;
    takes?: boolean | undefined;
  } | null;
  heldBy?: "peak" | "request" | undefined;
};

export type HostHello = {
  bootId: string;
  peerId: string;
  meshAddresses: string[];
  routerUrl: string | null;
  software: string;
  environmentsMax?: number | undefined;
  desiredVersion: number;
  routesVersion: number;
};

export type HostRecord = {
  id: HostId;
  site: string;
  enrolledMs: number;
  /** A session is open. */
  connected: boolean;
  /** Of the last message of any kind; null: never. Clock of the caller. */
  heardMs: number | null;
  revoked: boolean;
  hello: HostHello | null;
  report: HostReport | null;
  /** Times its agent has started, as far as seen. */
  boots: number;
};

export type HostEvent =
  | { kind: "enrolled"; site: string }
  | { kind: "hello"; site: string; hello: HostHello }
  | { kind: "report"; report: HostReport }
  | { kind: "disconnected" }
  | { kind: "revoked" };

/** Silence after which a host counts as such. Raised: fewer false alarms, later cure. */
export type LivenessOptions = { suspectMs: number; goneMs: number };
export const DEFAULT_LIVENESS: LivenessOptions = { suspectMs: 15_000, goneMs: 60_000 };

/** The record after the event; a revoked host changes only by enrolling again. */
export function stepHost(
  record: HostRecord | undefined,
  id: HostId,
  event: HostEvent,
  now: number,
): HostRecord {
  const before = record ?? fresh(id, now);
  if (before.revoked && event.kind !== "enrolled") return before;
  switch (event.kind) {
    case "enrolled":
      return { ...(before.revoked ? fresh(id, now) : before), site: event.site };
    case "hello": {
      const restarted = before.hello?.bootId !== event.hello.bootId;
      return {
        ...before,
        site: event.site,
        connected: true,
        heardMs: now,
        hello: event.hello,
        boots: before.boots + (restarted ? 1 : 0),
        // What another life of the agent reported says nothing about this one.
        report: restarted ? withoutEnvironments(before.report) : before.report,
      };
    }
    case "report":
      return { ...before, heardMs: now, report: event.report };
    case "disconnected":
      return { ...before, connected: false };
    case "revoked":
      return { ...before, connected: false, revoked: true, report: null };
    default:
      return unreachable(event);
  }
}

function fresh(id: HostId, now: number): HostRecord {
  return {
    id,
    site: "default",
    enrolledMs: now,
    connected: false,
    heardMs: null,
    revoked: false,
    hello: null,
    report: null,
    boots: 0,
  };
}

function withoutEnvironments(report: HostReport | null): HostReport | null {
  return report && { ...report, environments: [], orders: [], lease: null };
}

/** By how long nothing was heard, whether a session is open or not. */
export function liveness(
  record: HostRecord,
  now: number,
  options: LivenessOptions = DEFAULT_LIVENESS,
): Liveness {
  if (record.revoked) return "gone";
  if (record.heardMs === null) return "never-seen";
  const silentMs = now - record.heardMs;
  if (silentMs >= options.goneMs) return "gone";
  return silentMs >= options.suspectMs || !record.connected ? "suspect" : "live";
}

/** All hosts: a map that changes only through `stepHost`. */
export class Fleet {
  readonly #hosts = new Map<HostId, HostRecord>();

  apply(id: HostId, event: HostEvent, now: number): HostRecord {
    const record = stepHost(this.#hosts.get(id), id, event, now);
    this.#hosts.set(id, record);
    return record;
  }

  get(id: HostId): HostRecord | undefined {
    return this.#hosts.get(id);
  }

  /** Every host ever enrolled, by id. */
  all(): HostRecord[] {
    return [...this.#hosts.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  /** Connected hosts that have all of a version, by id; also its publisher, before it reports it. */
  with(manifestHash: string, publisher?: HostId): { host: HostId; site: string }[] {
    const found: { host: HostId; site: string }[] = [];
    for (const { id, site, connected, revoked, report } of this.#hosts.values()) {
      if (!connected || revoked) continue;
      const held = report?.holdings.some((h) => h.active && h.manifestHash === manifestHash);
      if (held || id === publisher) found.push({ host: id, site });
    }
    return found.sort((a, b) => (a.host < b.host ? -1 : 1));
  }

  /** For planner and routes, by id: every host that was ever seen and is not revoked. */
  views(now: number, options: LivenessOptions = DEFAULT_LIVENESS): HostSummary[] {
    return this.all().flatMap((record) => {
      const state = liveness(record, now, options);
      if (record.revoked || state === "never-seen") return [];
      return summaryOf(record, state);
    });
  }
}

const NONE: readonly never[] = [];

function summaryOf(record: HostRecord, state: Liveness): HostSummary {
  const { id, site, report, hello } = record;
  const gone = state === "gone";
  return {
    id,
    site,
    connected: state === "live",
    gone,
    sample: gone ? null : (report?.sample ?? null),
    environments: (gone ? null : report?.environments) ?? NONE,
    holdings: report?.holdings ?? NONE,
    environmentsMax: hello?.environmentsMax,
  };
}

/** What planner and route table see of a host. */
export type HostSummary = {
  id: HostId;
  site: string;
  connected: boolean;
  gone: boolean;
  sample: HostSample | null;
  environments: readonly EnvironmentStatus[];
  holdings: readonly ReportedHolding[];
  environmentsMax: number | undefined;
};
