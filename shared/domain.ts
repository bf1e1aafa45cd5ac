/**
 * The words of Prestage as types: each arrow of
 * `request → demand → forecast → plan → chunks → environment → verdict → route → outcome → learning`
 * hands over one type of this file. What crosses the wire or a file is a zod schema with its
 * inferred type of the same name; what stays inside one process is a plain type.
 *
 * Times are milliseconds since the epoch on the *demand clock* (the wall clock, except in a replay
 * that runs faster) where the name ends in `Ms`, durations too; sizes are bytes.
 */
import { z } from "zod";

const name = z
  .string()
  .regex(
    /^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$/,
    "1–64 of a–z 0–9 . _ -, starting and ending alphanumeric",
  );
export const HostId = name;
export type HostId = string;
export const Name = name;
/** What a category rule may give: any short text without spaces or slashes. */
export const CategoryName = z
  .string()
  .regex(/^[^\s/]{1,128}$/, "1–128 characters, no space or slash");
export const Version = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._+-]{0,62}$/, "1–63 of A–Z a–z 0–9 . _ + -");
export const Sha256 = z.string().regex(/^[0-9a-f]{64}$/, "64 hex digits");
export const TimeMs = z.number().min(0);
export const Bytes = z.number().int().min(0);

/** Seconds of foreground latency, priced memory and bytes all become one number: cost units. */
export type Cost = number;

// ── artifacts ────────────────────────────────────────────────────────────────────────────────

/** `NAME@VERSION`: one immutable artifact version. */
export const ArtifactRef = z.object({ name: Name, version: Version });
export type ArtifactRef = z.infer<typeof ArtifactRef>;

export const Chunk = z.object({ hash: Sha256, bytes: Bytes.max(4 << 20) });
export type Chunk = z.infer<typeof Chunk>;

export const ManifestFile = z.object({
  /** Relative, `/`-separated, no `.` or `..` segment. */
  path: z.string().min(1).max(1024),
  mode: z.union([z.literal(0o644), z.literal(0o755)]),
  bytes: Bytes,
  /** In file order; their sizes add up to `bytes`. */
  chunks: z.array(Chunk).max(100_000),
});
export type ManifestFile = z.infer<typeof ManifestFile>;

export const Manifest = z.object({
  name: Name,
  version: Version,
  createdMs: TimeMs,
  files: z.array(ManifestFile).max(250_000),
  bytes: Bytes,
  /** Base URL where the files lie as they are, for ranges; null when only peers have the chunks. */
  originUrl: z.url().max(2048).nullable(),
  /** Host that signed. */
  publisher: HostId,
});
export type Manifest = z.infer<typeof Manifest>;

/** The manifest's exact bytes (canonical JSON), so that its hash and signature stay checkable. */
export const SignedManifest = z.object({
  body: z.string().max(64 << 20),
  /** SHA-256 of `body`, hex: the identity of the version. */
  hash: Sha256,
  /** Ed25519 over `body` by the publisher's agent key, base64url. */
  signature: z.string().max(128),
  /** Raw Ed25519 public key, base64url. */
  publicKey: z.string().max(64),
});
export type SignedManifest = z.infer<typeof SignedManifest>;

// ── hosts ────────────────────────────────────────────────────────────────────────────────────

export const HostSample = z.object({
  atMs: TimeMs,
  /** 0..1 of all cores. */
  cpuUsed: z.number().min(0).max(1),
  memoryBytes: Bytes,
  memoryFreeBytes: Bytes,
  diskFreeBytes: Bytes,
  /** Foreground requests in the last sample period, per second. */
  requestsPerSecond: z.number().min(0),
  /** Measured recent rates, bytes per second on the demand clock; 0 = not known yet. */
  peerBytesPerSecond: z.number().min(0),
  originBytesPerSecond: z.number().min(0),
  /** Delay of the agent's event loop, milliseconds, p99 of the period. */
  loopDelayMs: z.number().min(0),
  /** Resident memory of the agent itself. */
  agentBytes: Bytes,
});
export type HostSample = z.infer<typeof HostSample>;

/** An enrolled host as every agent knows it: the allow-list row of the mesh. */
export const Member = z.object({
  host: HostId,
  site: Name,
  peerId: z.string().max(128),
  /** Multiaddrs of its libp2p node. */
  meshAddresses: z.array(z.string().max(256)).max(16),
  /** `http://host:port` of its router as other hosts reach it. */
  routerUrl: z.string().max(256).nullable(),
});
export type Member = z.infer<typeof Member>;

// ── demand and forecast ──────────────────────────────────────────────────────────────────────

/** `workload/category`: what demand, plan and routes are keyed by. */
export function categoryKey(workload: string, category: string): string {
  return `${workload}/${category}`;
}

/** Requests of one (workload, category) that arrived at one host's router in one bin. */
export const DemandBin = z.object({
  workload: Name,
  category: CategoryName,
  host: HostId,
  /** Start of the bin, a multiple of the bin width (`DEMAND_BIN_MS`). */
  startMs: TimeMs,
  count: z.number().int().min(0),
});
export type DemandBin = z.infer<typeof DemandBin>;
export const DEMAND_BIN_MS = 60_000;

export const QUANTILE_LEVELS = [0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95] as const;

/** Quantiles of the requests of (workload, category), host or all (`null`), per future bin. */
export type Forecast = {
  workload: string;
  category: string;
  host: HostId | null;
  madeMs: number;
  /** Start of the first forecast bin. */
  startMs: number;
  binMs: number;
  /** `quantiles[i][j]`: bin i, level `QUANTILE_LEVELS[j]`; non-negative, rising in j. */
  quantiles: number[][];
  /** P(at least one request) per bin, 0..1. */
  arrivalProbability: number[];
  /** Share of each expert in the mix; sums to 1. */
  mix: Record<string, number>;
};

// ── plan ─────────────────────────────────────────────────────────────────────────────────────

export const OrderKind = z.enum(["stage", "warm"]);
/** Why an order exists, or why a candidate was not taken. */
export const Reason = z.enum([
  "forecast", // demand is likely enough within the lead time
  "explicit", // an operator asked (`prestage stage`)
  "keep", // loaded already and likelier to be used than worth dropping
  "unlikely", // probability under the threshold
  "not-worth", // gain under cost
  "no-budget", // bytes, memory, disk or environments used up by better candidates
  "mode", // workload observes or advises only
  "paused", // an operator paused all pre-work
  "throttled", // host or site at peak
  "host-peak", // the host's agent sees its own peak
  "host-request", // what a request on the host waits for is transferred first
  "host-gone", // host not connected or revoked
  "lower-score", // other hosts have a better affinity
  "too-late", // deadline already passed
]);
export type Reason = z.infer<typeof Reason>;

/** One candidate the planner weighed; taken ones are orders. Costs and gain in cost units. */
export const Order = z.object({
  id: z.string().max(200),
  kind: OrderKind,
  workload: Name.nullable(),
  category: CategoryName.nullable(),
  host: HostId,
  artifacts: z.array(ArtifactRef).max(64),
  taken: z.boolean(),
  reason: Reason,
  /** P(demand within the lead time), 0..1. */
  probability: z.number().min(0).max(1),
  threshold: z.number().min(0).max(1),
  leadMs: z.number().min(0),
  /** When it has to be ready. */
  deadlineMs: TimeMs,
  missCost: z.number(),
  stageCost: z.number(),
  holdCost: z.number(),
  expectedGain: z.number(),
  /** Bytes that still have to move. */
  bytes: Bytes,
  affinity: z.number().min(0).max(1),
});
export type Order = z.infer<typeof Order>;

export type Plan = {
  version: number;
  madeMs: number;
  /** Taken and refused candidates alike. */
  orders: Order[];
};

// ── desired state of one agent ───────────────────────────────────────────────────────────────

export const HoldArtifact = z.object({
  orderId: z.string().max(200),
  ref: ArtifactRef,
  manifestHash: Sha256,
  /** Higher first; the QoS class's priority. */
  priority: z.number().int(),
  deadlineMs: TimeMs,
});
export type HoldArtifact = z.infer<typeof HoldArtifact>;

export const KeepEnvironment = z.object({
  orderId: z.string().max(200),
  workload: Name,
  category: CategoryName,
  priority: z.number().int(),
  /** When it has to be warm. */
  deadlineMs: TimeMs,
  /** What the workload's artifacts mean now, in their order; absent: ask for each. */
  artifacts: z
    .array(z.object({ ref: ArtifactRef, manifestHash: Sha256 }))
    .max(64)
    .optional(),
});
export type KeepEnvironment = z.infer<typeof KeepEnvironment>;

const BytesPerSecond = z.number().min(0);
/** Of a budget of the holder's site; not there where the site has none. */
const SitePart = z
  .object({ bytesPerSecond: BytesPerSecond, floorBytesPerSecond: BytesPerSecond })
  .optional();

/**
 * Parts of budgets, granted until a time; afterwards the holder falls to the floors. Bytes on the
 * wire, of what is staged.
 */
export const Lease = z.object({
  id: z.string().max(64),
  stagingBytesPerSecond: BytesPerSecond,
  expiresMs: TimeMs,
  /** The same from when it came, for a holder whose clock is behind; the earlier end counts. */
  durationMs: z.number().min(0).optional(),
  floorBytesPerSecond: BytesPerSecond,
  /** Of the above, from other sites and from origins. */
  incoming: SitePart,
  /** To hosts of other sites. */
  outgoing: SitePart,
  /** Sub-limits per QoS class name, summing to at most the whole. */
  classes: z.record(z.string(), z.number().min(0)),
});
export type Lease = z.infer<typeof Lease>;

export const RouteEntry = z.object({
  workload: Name,
  category: CategoryName,
  /** Hosts with an environment that has a passing verdict, best first. */
  serving: z.array(HostId).max(64),
  /** Where a miss makes its environment, best affinity first. */
  home: z.array(HostId).max(8),
});
export type RouteEntry = z.infer<typeof RouteEntry>;

export const RouteTable = z.object({
  version: z.number().int().min(0),
  entries: z.array(RouteEntry).max(20_000),
});
export type RouteTable = z.infer<typeof RouteTable>;

// ── environments ─────────────────────────────────────────────────────────────────────────────

export const EnvironmentState = z.enum([
  "absent",
  "staging",
  "cold",
  "warming",
  "warm",
  "serving",
  "draining",
]);
export type EnvironmentState = z.infer<typeof EnvironmentState>;

/** What a shadow request proved. */
export const Verdict = z.object({
  passed: z.boolean(),
  atMs: TimeMs,
  latencyMs: z.number().min(0),
  /** Empty when passed; else what was expected and what came. */
  detail: z.string().max(500),
});
export type Verdict = z.infer<typeof Verdict>;

export const EnvironmentStatus = z.object({
  id: z.string().max(64),
  workload: Name,
  category: CategoryName,
  state: EnvironmentState,
  sinceMs: TimeMs,
  verdict: Verdict.nullable(),
  /** Null while nothing was served. */
  lastUsedMs: TimeMs.nullable(),
  /** False when a request made it (the miss). */
  planned: z.boolean(),
  /** Declared (or measured, if more) memory held now. */
  memoryBytes: Bytes,
  restarts: z.number().int().min(0),
  /** From launch to the passing verdict, real time; absent before it. */
  startMs: z.number().min(0).nullish(),
});
export type EnvironmentStatus = z.infer<typeof EnvironmentStatus>;

// ── outcomes and learning ────────────────────────────────────────────────────────────────────

export const OutcomeKind = z.enum(["hit", "late", "miss", "wasted"]);
export type OutcomeKind = z.infer<typeof OutcomeKind>;

/** What became of staged things: one per routed request that found or missed them, one per waste. */
export const Outcome = z.object({
  kind: OutcomeKind,
  workload: Name,
  category: CategoryName,
  host: HostId,
  atMs: TimeMs,
  /** Time to the first byte of the answer, real milliseconds; 0 for wasted. */
  firstByteMs: z.number().min(0),
  /** How long the request waited for staging and warming, real milliseconds. */
  waitedMs: z.number().min(0),
  status: z.number().int().min(0).max(999),
  /** The order that prepared the environment; null when none did. */
  orderId: z.string().max(200).nullable(),
  /** Bytes staged for it that nobody used (wasted), else 0. */
  bytes: Bytes,
  /** Memory-time held, byte-milliseconds on the demand clock, since the last outcome row of it. */
  memoryByteMs: z.number().min(0),
});
export type Outcome = z.infer<typeof Outcome>;

/** Score 0..1 of one application on the reporting host, and how far reality has moved it. */
export const AffinityScore = z.object({
  workload: Name,
  score: z.number().min(0).max(1),
  /** Part of `score` that came from measured latency, bounded. */
  correction: z.number().min(-0.5).max(0.5),
  modelVersion: z.number().int().min(0),
});
export type AffinityScore = z.infer<typeof AffinityScore>;
