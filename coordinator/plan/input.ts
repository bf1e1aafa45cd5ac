/** What the planner is told: the world as plain values and small lookups, never a service. */
import type {
  ArtifactRef,
  EnvironmentStatus,
  HostId,
  HostSample,
  Order,
} from "../../shared/domain.ts";
import type { QosClass, Workload } from "../../shared/workload.ts";
import type { Support } from "./decide.ts";

/** One artifact version on a host's disk, whole or in part. */
export type Holding = {
  manifestHash: string;
  ref: ArtifactRef;
  bytesHave: number;
  bytes: number;
  active: boolean;
};

/** A host as it was last heard of. */
export type HostView = {
  id: HostId;
  site: string;
  /** False: nothing new goes there, and what it had counts as lost once it is gone. */
  connected: boolean;
  sample: HostSample | null;
  environments: readonly EnvironmentStatus[];
  holdings: readonly Holding[];
  /** So many environments its agent runs at most; absent: it did not say. */
  environmentsMax?: number | undefined;
};

/** When the next request may come, seen from now and given the idle time so far. */
export type ArrivalView = {
  /** P(at least one request within `ms`, demand clock), 0..1. */
  probabilityWithin(ms: number): number;
  /** `[k]`: P(a request in minute k from now | none before it). */
  hazardPerMinute: readonly number[] | Float64Array | Float32Array;
};

/** One artifact a category's environment needs, resolved to an immutable version. */
export type ArtifactNeed = { ref: ArtifactRef; manifestHash: string; bytes: number };

export type Measured = {
  /** Process start, dummy requests and shadow request together, real milliseconds. */
  warmMs: number;
};

/** What the bandit set for a category: 1 and 1 where it has said nothing. */
export type Aggressiveness = {
  /** Multiplies what a thing must be worth before it is done. */
  threshold: number;
  /** Multiplies the lead time. */
  lead: number;
};

/** An operator's `prestage stage`: one artifact onto one host. */
export type ExplicitStage = {
  /** Becomes the order id. */
  id: string;
  need: ArtifactNeed;
  host: HostId;
  /** Null: as soon as possible, for ever. */
  deadlineMs: number | null;
};

/** Cost units; one is a second of one foreground request's waiting at class priority 100. */
export type Prices = {
  memoryGbHour: number;
  movedGb: number;
  diskGbHour: number;
};
export const DEFAULT_PRICES: Prices = { memoryGbHour: 1, movedGb: 0.5, diskGbHour: 0.002 };

export type HostBudget = { memoryBytes: number; diskBytes: number; environments: number };

export type Budgets = {
  /** Bytes that may be on the way for the whole fleet within `STAGE_HORIZON_MS`. */
  stagingBytes: number;
  host(id: HostId): HostBudget;
};

export type PlanInput = {
  /** Demand clock. */
  now: number;
  /** Demand seconds per real second: 1, except in a replay. */
  speed: number;
  workloads: readonly Workload[];
  classes: readonly QosClass[];
  hosts: readonly HostView[];
  /** The categories of a workload that are worth weighing: seen in demand, or running somewhere. */
  categories(workload: string): readonly string[];
  /** Null: nothing known at all. */
  curve(workload: string, category: string): ArrivalView | null;
  /** Null: an artifact is not published (yet). */
  artifacts(workload: string, category: string): readonly ArtifactNeed[] | null;
  measured(workload: string): Measured;
  /** 0..1, higher is better. */
  affinity(workload: string, host: HostId): number;
  aggressiveness(workload: string, category: string): Aggressiveness;
  /** Who has a say about it besides the program, now. */
  support(workload: string, category: string): Support;
  budgets: Budgets;
  prices: Prices;
  explicit: readonly ExplicitStage[];
  paused: boolean;
  /** Hosts at peak: nothing that costs them work is ordered. */
  throttled: ReadonlySet<HostId>;
  /** The plan before this one: orders that go on keep id and deadline. */
  previous: readonly Order[];
};

export type PlanResult = {
  /** Taken and refused candidates alike. */
  orders: Order[];
  /** `categoryKey` → hosts where a miss makes its environment, best first. */
  homes: Map<string, HostId[]>;
};
