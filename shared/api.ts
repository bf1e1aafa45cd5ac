/**
 * What the coordinator's HTTP API takes and gives: one schema per request and answer. The gateway
 * checks requests against them and makes the OpenAPI document from them; the CLI reads answers
 * with the inferred types.
 */
import { z } from "zod";
import {
  AffinityScore,
  ArtifactRef,
  Bytes,
  CategoryName,
  DEMAND_BIN_MS,
  EnvironmentStatus,
  HostId,
  HostSample,
  Name,
  Order,
  OutcomeKind,
  Sha256,
  TimeMs,
} from "./domain.ts";
import { QosClass, Workload } from "./workload.ts";

/** Roles of people and programs at the API; each may do all that the ones before it may. */
export const Role = z.enum(["viewer", "operator", "admin"]);
export type Role = z.infer<typeof Role>;

const text = (max: number) => z.string().min(1).max(max);
const flag = z.enum(["true", "false"]).transform((value) => value === "true");
const count = z.coerce.number().int().min(1);

// ── reading ──────────────────────────────────────────────────────────────────────────────────

export const Status = z.object({
  fleet: z.string(),
  version: z.string(),
  nowMs: TimeMs,
  /** Demand time; equals `nowMs` except in a replay. */
  demandNowMs: TimeMs,
  startedMs: TimeMs,
  paused: z.boolean(),
  hosts: z.object({ enrolled: z.number(), connected: z.number() }),
  workloads: z.object({ observe: z.number(), advise: z.number(), act: z.number() }),
  environments: z.record(z.string(), z.number()),
  plan: z.object({ version: z.number(), madeMs: TimeMs, orders: z.number() }).nullable(),
  routesVersion: z.number(),
  membersEpoch: z.number(),
  outcomes: z.object({
    hit: z.number(),
    late: z.number(),
    miss: z.number(),
    wasted: z.number(),
  }),
  /** Since the agents started; `foreground` is the part that requests waited for. */
  bytes: z.object({
    peer: z.number(),
    origin: z.number(),
    foreground: z.number(),
    wasted: z.number(),
  }),
  /** Memory held by environments of all hosts so far: byte-milliseconds of demand time. */
  memoryByteMs: z.number(),
  calibration: z
    .object({ coverage90: z.number(), pinball: z.number(), samples: z.number() })
    .nullable(),
  /** Sources of announced events, those that fail now, and events known. */
  signals: z.object({ sources: z.number(), failing: z.number(), events: z.number() }),
});
export type Status = z.infer<typeof Status>;

export const HostView = z.object({
  host: HostId,
  site: Name,
  peerId: z.string(),
  connected: z.boolean(),
  revoked: z.boolean(),
  enrolledMs: TimeMs,
  /** Null while it never connected since the coordinator started. */
  lastSeenMs: TimeMs.nullable(),
  routerUrl: z.string().nullable(),
  throttled: z.boolean(),
  certificateExpiresMs: TimeMs.nullable(),
  sample: HostSample.nullable(),
  environments: z.array(EnvironmentStatus),
  holdings: z.array(
    z.object({ ref: ArtifactRef, bytes: Bytes, bytesHave: Bytes, active: z.boolean() }),
  ),
  scores: z.array(AffinityScore),
  /** Hosts that were given something else by this one than they asked for. */
  accusedBy: z.array(z.object({ host: HostId, lies: z.number(), shunned: z.boolean() })),
});
export type HostView = z.infer<typeof HostView>;
export const HostList = z.object({ hosts: z.array(HostView) });
export type HostList = z.infer<typeof HostList>;

export const PlanQuery = z.strictObject({
  workload: Name.optional(),
  host: HostId.optional(),
  includeRefused: flag.optional(),
});
export type PlanQuery = z.infer<typeof PlanQuery>;
export const PlanView = z.object({
  version: z.number(),
  madeMs: TimeMs,
  paused: z.boolean(),
  orders: z.array(Order),
});
export type PlanView = z.infer<typeof PlanView>;

export const ForecastQuery = z.strictObject({
  workload: Name,
  category: CategoryName.optional(),
  host: HostId.optional(),
});
export type ForecastQuery = z.infer<typeof ForecastQuery>;
/** How the forecasts of a category have done in the last hours, at all hosts together. */
export const ForecastWatch = z.object({
  /** Null before a forecast was scored. */
  scores: z
    .object({
      samples: z.number(),
      /** Pinball loss relative to the same minute of the day before; null when that had none. */
      relativeLoss: z.number().nullable(),
      coverage90: z.number(),
      /** Share of counts below the median less that above it; 0 is right, 1 always too high. */
      bias: z.number(),
    })
    .nullable(),
  /** When the category was seen to leave its level. */
  driftsMs: z.array(TimeMs),
  /** Shares of the experts within `ensemble` of the mix. */
  ensemble: z.record(z.string(), z.number()),
});
export type ForecastWatch = z.infer<typeof ForecastWatch>;
export const ForecastView = z.object({
  forecasts: z.array(
    z.object({
      workload: Name,
      category: CategoryName,
      host: HostId.nullable(),
      madeMs: TimeMs,
      startMs: TimeMs,
      binMs: z.number(),
      quantiles: z.array(z.array(z.number())),
      arrivalProbability: z.array(z.number()),
      mix: z.record(z.string(), z.number()),
      /** Requests at all hosts in the last minutes that are over, oldest first. */
      recent: z.array(z.number()),
      watch: ForecastWatch,
    }),
  ),
});
export type ForecastView = z.infer<typeof ForecastView>;

export const LedgerEntry = z.object({
  id: z.string(),
  atMs: TimeMs,
  order: Order,
  forecast: z.object({ probability: z.number(), mix: z.record(z.string(), z.number()) }),
  alternatives: z.array(Order),
  outcome: OutcomeKind.nullable(),
  reward: z.number().nullable(),
  context: z.array(z.number()),
  arm: z.number(),
});
export type LedgerEntry = z.infer<typeof LedgerEntry>;
export const LedgerQuery = z.strictObject({
  workload: Name.optional(),
  category: CategoryName.optional(),
  host: HostId.optional(),
  limit: count.max(10_000).default(100),
});
export type LedgerQuery = z.infer<typeof LedgerQuery>;
export const LedgerList = z.object({ rows: z.array(LedgerEntry) });
export type LedgerList = z.infer<typeof LedgerList>;

/** `TARGET`: workload, `workload/category`, host, or artifact `name@version`. */
export const WhyQuery = z.strictObject({ target: text(400) });
export type WhyQuery = z.infer<typeof WhyQuery>;
export const WhyView = z.object({
  target: z.string(),
  kind: z.enum(["workload", "category", "host", "artifact"]),
  /** Sentences for a person, most important first. */
  summary: z.array(z.string()),
  /** Candidates of the present plan, taken and refused. */
  orders: z.array(Order),
  /** What was decided before and what became of it, newest first. */
  ledger: z.array(LedgerEntry),
});
export type WhyView = z.infer<typeof WhyView>;

export const WorkloadList = z.object({
  classes: z.array(QosClass),
  workloads: z.array(Workload),
});
export type WorkloadList = z.infer<typeof WorkloadList>;

export const ArtifactList = z.object({
  artifacts: z.array(
    z.object({
      ref: ArtifactRef,
      manifestHash: Sha256,
      bytes: Bytes,
      files: z.number(),
      publisher: HostId,
      createdMs: TimeMs,
      originUrl: z.string().nullable(),
      tags: z.array(z.string()),
      holders: z.array(HostId),
    }),
  ),
});
export type ArtifactList = z.infer<typeof ArtifactList>;

export const DoctorView = z.object({
  checks: z.array(
    z.object({
      name: z.string(),
      status: z.enum(["ok", "warn", "fail"]),
      detail: z.string(),
      /** Empty when ok. */
      remedy: z.string(),
    }),
  ),
});
export type DoctorView = z.infer<typeof DoctorView>;

export const AuditQuery = z.strictObject({
  limit: count.max(10_000).default(100),
  verify: flag.optional().describe("Walk the whole hash chain."),
});
export type AuditQuery = z.infer<typeof AuditQuery>;
export const AuditRow = z.object({
  seq: z.number(),
  atMs: TimeMs,
  actor: z.string(),
  address: z.string(),
  action: z.string(),
  object: z.string(),
  outcome: z.enum(["ok", "refused", "failed"]),
  detail: z.record(z.string(), z.unknown()),
  hash: z.string(),
});
export type AuditRow = z.infer<typeof AuditRow>;
export const AuditView = z.object({
  rows: z.array(AuditRow),
  head: z.object({ seq: z.number(), hash: z.string() }),
  /** Only when asked for; `brokenAt` is the first row that does not fit the chain. */
  verified: z
    .object({ ok: z.boolean(), rows: z.number(), brokenAt: z.number().nullable() })
    .nullable(),
});
export type AuditView = z.infer<typeof AuditView>;

// ── changing ─────────────────────────────────────────────────────────────────────────────────

export const Applied = z.object({
  added: z.array(Name),
  changed: z.array(Name),
  unchanged: z.array(Name),
  removed: z.array(Name),
});
export type Applied = z.infer<typeof Applied>;

export const Paused = z.object({ paused: z.boolean() });
export type Paused = z.infer<typeof Paused>;

export const JoinTokenRequest = z.strictObject({
  ttlMs: z
    .number()
    .int()
    .min(1_000)
    .max(7 * 24 * 3_600_000)
    .default(3_600_000),
  host: HostId.optional().describe("Only this host name may use it."),
  site: Name.optional().describe("Only for this site."),
});
export type JoinTokenRequest = z.infer<typeof JoinTokenRequest>;
export const JoinTokenGiven = z.object({ id: z.string(), token: z.string(), expiresMs: TimeMs });
export type JoinTokenGiven = z.infer<typeof JoinTokenGiven>;

export const ApiTokenRequest = z.strictObject({
  name: Name,
  role: Role,
  ttlMs: z
    .number()
    .int()
    .min(1_000)
    .max(3_650 * 24 * 3_600_000)
    .nullable()
    .default(90 * 24 * 3_600_000)
    .describe("Null = does not expire."),
});
export type ApiTokenRequest = z.infer<typeof ApiTokenRequest>;
export const ApiTokenGiven = z.object({
  name: Name,
  role: Role,
  token: z.string(),
  expiresMs: TimeMs.nullable(),
});
export type ApiTokenGiven = z.infer<typeof ApiTokenGiven>;
export const ApiTokenList = z.object({
  tokens: z.array(
    z.object({
      name: Name,
      role: Role,
      createdMs: TimeMs,
      expiresMs: TimeMs.nullable(),
      lastUsedMs: TimeMs.nullable(),
    }),
  ),
});
export type ApiTokenList = z.infer<typeof ApiTokenList>;

export const Revoked = z.object({ host: HostId, epoch: z.number() });
export type Revoked = z.infer<typeof Revoked>;

const WholeMinute = TimeMs.int().multipleOf(DEMAND_BIN_MS);
/** One line of a history import: requests of (workload, category) in one minute or at one time. */
export const HistoryRow = z.strictObject({
  timestampMs: TimeMs,
  workload: Name,
  category: CategoryName,
  origin: z.string().max(128),
  count: z.number().int().min(1),
});
export type HistoryRow = z.infer<typeof HistoryRow>;
/**
 * A batch of imported rows comes in parts, which count when the batch is committed. Sending a part
 * or the commit again, e.g. after a lost answer, changes nothing.
 */
export const ImportQuery = z.strictObject({
  source: text(200).describe("What is imported: a log, a query. Its batches replace one another."),
  batch: text(64).describe("Names this import of the source."),
  part: z.coerce.number().int().min(0).default(0).describe("In order from 0."),
});
export type ImportQuery = z.infer<typeof ImportQuery>;
export const ImportStaged = z.object({
  rows: z.number(),
  /** True when this part had been taken before: nothing was added. */
  duplicate: z.boolean(),
});
export type ImportStaged = z.infer<typeof ImportStaged>;

export const ImportCommit = z.strictObject({
  source: text(200),
  batch: text(64),
  parts: z.number().int().min(0).describe("How many parts were sent."),
  digest: text(200).describe("Equal for equal content read in the same way."),
  covers: z
    .strictObject({ fromMs: WholeMinute, toMs: WholeMinute })
    .nullable()
    .default(null)
    .describe("What earlier batches of the source said about this time is replaced; null: all."),
  cutEdges: z
    .boolean()
    .default(false)
    .describe("The first and last minute may be cut: there the fuller batch stays."),
});
export type ImportCommit = z.infer<typeof ImportCommit>;
const Counted = z.object({ bins: z.number(), requests: z.number() });
export const Imported = Counted.extend({
  /** True when the source had said exactly this: nothing was changed. */
  duplicate: z.boolean(),
  /** What the source had said before and counts no more. */
  replaced: Counted,
});
export type Imported = z.infer<typeof Imported>;

// ── joining ──────────────────────────────────────────────────────────────────────────────────

export const EnrollRequest = z.strictObject({
  token: z.string().max(300),
  /** Raw Ed25519 public key, base64url. */
  publicKey: z.string().regex(/^[A-Za-z0-9_-]{43}$/),
  peerId: z.string().max(128),
  host: HostId,
  site: Name,
  /** Ed25519 over `enrollmentProof(...)`, base64url: the key is the caller's own. */
  proof: z.string().regex(/^[A-Za-z0-9_-]{86}$/),
});
export type EnrollRequest = z.infer<typeof EnrollRequest>;
export const Enrolled = z.object({
  host: HostId,
  site: Name,
  fleet: Name,
  certPem: z.string(),
  caPem: z.string(),
});
export type Enrolled = z.infer<typeof Enrolled>;

/** The bytes an agent signs at enrolment: bound to this token, this fleet root and this name. */
export function enrollmentProof(request: {
  tokenId: string;
  rootHash: string;
  publicKey: string;
  host: string;
  site: string;
}): string {
  const { tokenId, rootHash, publicKey, host, site } = request;
  return ["prestage-enroll-1", tokenId, rootHash, publicKey, host, site].join("\n");
}

export const ErrorAnswer = z.object({
  error: z.object({
    code: z.string(),
    message: z.string(),
    remedy: z.string(),
    details: z.record(z.string(), z.unknown()),
  }),
});
export type ErrorAnswer = z.infer<typeof ErrorAnswer>;
