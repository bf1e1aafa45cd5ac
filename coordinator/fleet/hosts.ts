/** The last known state of every enrolled host; one small step function per event. */
import type {
  AffinityScore,
  ArtifactRef,
  EnvironmentStatus,
  HostId,
  HostSample,
} from "../../shared/domain.ts";

export type Liveness = "never-seen" | "live" | "suspect" | "gone";

export type ReportedHolding = {
  manifestHash: string;
  ref: ArtifactRef;
  bytesHave: number;
  bytes: number;
  active: boolean;
};
export type ReportedOrder = {
  orderId: string;
  state: "pending" | "done" | "failed" | "withdrawn";
  code: string | null;
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
  lease: { id: string; spentBytes: number } | null;
};

export type HostHello = {
  bootId: string;
  peerId: string;
  meshAddresses: string[];
  routerUrl: string | null;
  software: string;
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

export type LivenessOptions = { suspectMs: number; goneMs: number };
export const DEFAULT_LIVENESS: LivenessOptions = { suspectMs: 15_000, goneMs: 60_000 };

export function stepHost(
  record: HostRecord | undefined,
  id: HostId,
  event: HostEvent,
  now: number,
): HostRecord {
  return {
    id,
    site: "site" in event ? event.site : (record?.site ?? "default"),
    enrolledMs: record?.enrolledMs ?? now,
    connected: false,
    heardMs: null,
    revoked: false,
    hello: null,
    report: null,
    boots: 0,
  };
}

export function liveness(
  _record: HostRecord,
  _now: number,
  _options: LivenessOptions = DEFAULT_LIVENESS,
): Liveness {
  return "never-seen";
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

  /** Hosts for the planner: not revoked; gone ones show no environments. */
  views(_now: number, _options: LivenessOptions = DEFAULT_LIVENESS): HostSummary[] {
    return [];
  }
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
};
