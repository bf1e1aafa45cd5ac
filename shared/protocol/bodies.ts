/**
 * What the messages between an agent and the coordinator carry. Every list is bounded, and stops
 * at its first bad element, so that a hostile frame cannot make the receiver write a long list
 * of complaints.
 */
import { z } from "zod";
import {
  AffinityScore,
  ArtifactRef,
  Bytes,
  DemandBin,
  EnvironmentStatus,
  HoldArtifact,
  HostId,
  HostSample,
  KeepEnvironment,
  Lease,
  Member,
  Name,
  Outcome,
  RouteEntry,
  Sha256,
  TimeMs,
  Version,
} from "../domain.ts";
import { FOLLOWS_MAX, FollowOrder, FollowState } from "../follow.ts";
import { PackedManifest } from "../packed-manifest.ts";
import { HOSTS_PUBLISH, Publisher } from "../publishers.ts";
import { Workload } from "../workload.ts";

/** Demand bins and outcomes in one `records` message: at most this many of each. */
export const RECORDS_ITEMS_MAX = 1_000;

/** A list of at most `max` elements that is refused at its first bad one. */
function list<S extends z.ZodType>(element: S, max: number) {
  return z
    .array(z.unknown())
    .max(max)
    .transform((values, ctx) => {
      const parsed: z.output<S>[] = [];
      for (const [index, value] of values.entries()) {
        const result = element.safeParse(value);
        if (result.success) parsed.push(result.data);
        else {
          const issue = result.error.issues[0];
          ctx.addIssue({
            code: "custom",
            path: [index, ...(issue?.path ?? [])],
            message: issue?.message ?? "invalid",
          });
          return z.NEVER;
        }
      }
      return parsed;
    });
}

const Counter = z.number().int().min(0);
const Text = z.string().max(500);
const Code = z.string().max(64);
const RequestId = z.number().int().min(1);

// ── up ───────────────────────────────────────────────────────────────────────────────────────

export const Hello = z.object({
  /** Lowest and highest protocol version the agent speaks. */
  protocol: z.object({ min: Counter.max(1_000), max: Counter.max(1_000) }),
  host: HostId,
  site: Name,
  /** New with every start of the agent: `records` are numbered within it. */
  bootId: z.string().min(8).max(64),
  peerId: z.string().max(128),
  meshAddresses: list(z.string().max(256), 16),
  routerUrl: z.string().max(256).nullable(),
  software: z.string().max(64),
  /** So many environments the agent runs at most; absent: it does not say. */
  environmentsMax: Counter.max(10_000).optional(),
  /** What the agent has taken over so far; 0 = nothing yet. */
  desiredVersion: Counter,
  routesVersion: Counter,
  membersEpoch: Counter,
});
export type Hello = z.infer<typeof Hello>;

export const Holding = z.object({
  manifestHash: Sha256,
  ref: ArtifactRef,
  bytesHave: Bytes,
  bytes: Bytes,
  /** The version's tree is in place as a whole. */
  active: z.boolean(),
  /** Since then, demand time. */
  sinceMs: TimeMs.nullish(),
  /** Where its bytes came from: hosts, and names with a colon (`origin:`, `here:`, `others:`). */
  sources: list(z.object({ from: z.string().max(65), bytes: Bytes }), 8).optional(),
});
export type Holding = z.infer<typeof Holding>;

export const Liar = z.object({
  host: HostId,
  /** Wrong chunks, and runs of chunks it claimed to have and refused. */
  lies: Counter,
  /** Ago, real time. */
  lastMs: z.number().min(0),
  /** It is asked nothing for so long, real time; 0: it is let in again. */
  shunnedMs: z.number().min(0),
});
export type Liar = z.infer<typeof Liar>;

/** Characters. */
export const ORDER_DETAIL_MAX = 300;
export const OrderState = z.object({
  orderId: z.string().max(200),
  state: z.enum(["pending", "done", "failed", "withdrawn"]),
  code: Code.nullable(),
  /** In words, why it failed there. */
  detail: z.string().max(ORDER_DETAIL_MAX).optional(),
  bytesDone: Bytes,
});
export type OrderState = z.infer<typeof OrderState>;

/** The agent's whole state as it is now: only the latest matters. */
export const Report = z.object({
  sample: HostSample,
  environments: list(EnvironmentStatus, 1_000),
  holdings: list(Holding, 2_000),
  scores: list(AffinityScore, 2_000),
  desiredVersion: Counter,
  routesVersion: Counter,
  membersEpoch: Counter,
  orders: list(OrderState, 4_000),
  /** Totals since the agent started. */
  staged: z.object({
    peerBytes: Bytes,
    originBytes: Bytes,
    foregroundBytes: Bytes,
    wastedBytes: Bytes,
  }),
  /** Memory environments have held, byte-milliseconds on the demand clock since the start. */
  memoryTime: z.object({ planned: z.number().min(0), unplanned: z.number().min(0) }),
  lease: z
    .object({
      id: z.string().max(64),
      spentBytes: Bytes,
      /** Hosts of other sites wait for what this one sends. */
      gives: z.boolean().optional(),
      /** What it stages may come from other sites, or from where the artifacts come from. */
      takes: z.boolean().optional(),
    })
    .nullable(),
  /** What on the host itself holds staging back: its own peak, or a request's transfer. */
  heldBy: z.enum(["peak", "request"]).optional(),
  /** Peers that gave something else than they were asked for. */
  liars: list(Liar, 100).default(() => []),
  /** Reading again what is stored; null: it never does. */
  scrub: z
    .object({
      /** How long ago the version was read whose turn is longest ago, real time. */
      oldestMs: z.number().min(0),
      found: Counter,
      repaired: Counter,
    })
    .nullish(),
  /** Of the followed tags that are this agent's; absent: none was looked at yet. */
  follows: list(FollowState, FOLLOWS_MAX).optional(),
});
export type Report = z.infer<typeof Report>;

/** What must not be lost: kept by the agent until acknowledged, taken over exactly once. */
export const Records = z.object({
  /** From 1, rising by 1 within a boot. */
  seq: Counter.min(1),
  demand: list(DemandBin, RECORDS_ITEMS_MAX),
  outcomes: list(Outcome, RECORDS_ITEMS_MAX),
});
export type Records = z.infer<typeof Records>;

/** Versions in one question about other sites; hosts in its answer, for each. */
export const ELSEWHERE_MAX = 64;
export const ELSEWHERE_HOSTS_MAX = 8;

/** Versions in the answer about one repository. */
export const IMAGES_MAX = 100;

export const RequestBody = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("publish"),
    manifest: PackedManifest,
    tags: list(Name, 16),
  }),
  /** Exactly one of version and tag. */
  z.object({
    kind: z.literal("resolve"),
    name: Name,
    version: Version.nullable(),
    tag: Name.nullable(),
  }),
  z.object({ kind: z.literal("manifest"), hash: Sha256 }),
  z.object({ kind: z.literal("model") }),
  /** A peer that is no member knocked at the mesh: for the audit trail. */
  z.object({ kind: z.literal("refused"), peerId: z.string().max(128) }),
  /** Versions whose origin is an image of that repository; null asks for any. */
  z.object({
    kind: z.literal("images"),
    /** `oci://REGISTRY/REPOSITORY`. */
    repository: z.string().max(512),
    tag: z.string().max(128).nullable(),
    digest: z.string().max(128).nullable(),
  }),
  /** Who in other sites has versions that this host brings into its own. */
  z.object({
    kind: z.literal("elsewhere"),
    wants: list(
      z.object({
        hash: Sha256,
        /** A request waits for it. */
        foreground: z.boolean(),
        /** The way to its origin works, as far as the host knows. */
        reaches: z.boolean(),
      }),
      ELSEWHERE_MAX,
    ),
  }),
  /** Work that one host of the fleet should do: it has the time, or until it gives it back (0). */
  z.object({ kind: z.literal("claim"), key: z.string().max(1024), forMs: TimeMs.max(600_000) }),
  /** Moves a tag that this agent follows to a version that is published already. */
  z.object({ kind: z.literal("tag"), name: Name, version: Version, tag: Name }),
]);
export type RequestBody = z.infer<typeof RequestBody>;
export type RequestKind = RequestBody["kind"];

export const Request = z.object({ id: RequestId, body: RequestBody });
export type Request = z.infer<typeof Request>;

/** Answer to a ping, with the ping's own stamp. */
export const Pong = z.object({ at: TimeMs });
export type Pong = z.infer<typeof Pong>;

// ── down ─────────────────────────────────────────────────────────────────────────────────────

export const Welcome = z.object({
  /** The version both sides speak from here on. */
  protocol: Counter.max(1_000),
  sessionId: z.string().max(64),
  /** Period of pings; silence of a few periods ends the session on either side. */
  heartbeatMs: z.number().min(10).max(600_000),
  /** Highest `records` number of this boot that is stored; 0 = none. */
  lastSeq: Counter,
});
export type Welcome = z.infer<typeof Welcome>;

/** The affinity model as an artifact. */
export const ModelRef = z.object({ ref: ArtifactRef, manifestHash: Sha256 });
export type ModelRef = z.infer<typeof ModelRef>;

/** What the coordinator wants of one agent, whole. A version is never reused for other content. */
export const DesiredState = z.object({
  version: Counter,
  hold: list(HoldArtifact, 4_000),
  environments: list(KeepEnvironment, 1_000),
  workloads: list(Workload, 10_000),
  lease: Lease,
  /** An operator stopped all pre-work. */
  paused: z.boolean(),
  /** Host or site is at its peak: no background staging. */
  throttled: z.boolean(),
  /** Share of each workload's requests that enter at this host, 0..1; for its affinity. */
  demandShare: z.record(Name, z.number().min(0).max(1)),
  model: ModelRef.nullable(),
  /** Tags whose URL this agent looks after; absent: none. */
  follows: list(FollowOrder, FOLLOWS_MAX).optional(),
});
export type DesiredState = z.infer<typeof DesiredState>;

export const MemberList = z.object({
  epoch: Counter,
  members: list(Member, 10_000),
  /** Whose signatures count; see `shared/publishers.ts`. */
  publishers: list(Publisher, 5_000).default(() => [...HOSTS_PUBLISH]),
});
export type MemberList = z.infer<typeof MemberList>;

/** `RouteTable` of the domain, as it travels. */
export const Routes = z.object({ version: Counter, entries: list(RouteEntry, 20_000) });

export const Ack = z.object({ seq: Counter });
export type Ack = z.infer<typeof Ack>;

export const ReplyBody = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("publish"), manifestHash: Sha256 }),
  z.object({ kind: z.literal("resolve"), ref: ArtifactRef, manifestHash: Sha256 }),
  z.object({ kind: z.literal("manifest"), manifest: PackedManifest }),
  z.object({ kind: z.literal("model"), model: ModelRef.nullable() }),
  z.object({ kind: z.literal("refused") }),
  z.object({
    kind: z.literal("images"),
    /** The latest published first. */
    versions: list(
      z.object({
        manifestHash: Sha256,
        originUrl: z.string().max(2048),
        createdMs: TimeMs,
        bytes: Bytes,
      }),
      IMAGES_MAX,
    ),
  }),
  z.object({
    kind: z.literal("elsewhere"),
    wants: list(
      z.object({
        hash: Sha256,
        /** It is for the host's site to go to the origin. */
        origin: z.boolean(),
        /** Another host of the site has it, or brings it in since before. */
        ahead: z.boolean(),
        hosts: list(HostId, ELSEWHERE_HOSTS_MAX),
      }),
      ELSEWHERE_MAX,
    ),
  }),
  z.object({ kind: z.literal("claim"), granted: z.boolean() }),
  /** False: there is no such version. */
  z.object({ kind: z.literal("tag"), moved: z.boolean() }),
]);
export type ReplyBody = z.infer<typeof ReplyBody>;

/** `body` when ok, else `code` and `message`. */
export const Reply = z.object({
  id: RequestId,
  ok: z.boolean(),
  code: Code.nullable(),
  message: Text,
  body: ReplyBody.nullable(),
});
export type Reply = z.infer<typeof Reply>;

export const Ping = z.object({ at: TimeMs });
export type Ping = z.infer<typeof Ping>;

/** The last message of a session that is ended on purpose. */
export const Bye = z.object({ code: Code, message: Text });
export type Bye = z.infer<typeof Bye>;
