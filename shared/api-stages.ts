/** What the API takes and gives about staging by hand: now, at a time, again and again. */
import { z } from "zod";
import { CronTime } from "./calendar-time.ts";
import { ArtifactRef, Bytes, HostId, Name, Reason, TimeMs, Version } from "./domain.ts";

const DAY_MS = 86_400_000;
const Span = z
  .number()
  .int()
  .min(1_000)
  .max(366 * DAY_MS);
const Hosts = z.array(HostId).min(1).max(5_000).nullable();
const Hold = Span.nullable()
  .default(null)
  .describe("Held for so long from the start, milliseconds; null: until it is cancelled.");

/** `byMs` is demand time, as all times here; `withinMs` counts from the start. */
export const Deadline = z.union([
  z.strictObject({ byMs: TimeMs }),
  z.strictObject({ withinMs: Span }),
]);
export type Deadline = z.infer<typeof Deadline>;

export const StageRequest = z.strictObject({
  ref: z.union([
    z.strictObject({ name: Name, version: Version }),
    z.strictObject({ name: Name, tag: Name.describe("What it means now.") }),
  ]),
  hosts: Hosts.describe("Null = every enrolled host."),
  deadline: Deadline.nullable().default(null),
  holdMs: Hold,
});
export type StageRequest = z.input<typeof StageRequest>;

export const StageHost = z.object({
  host: HostId,
  state: z.enum(["pending", "done", "failed", "withdrawn"]),
  code: z.string().nullable(),
  /** Why it failed there, in words. */
  detail: z.string().nullable(),
  bytesDone: Bytes,
  /** Lately, per second of demand time. */
  bytesPerSecond: z.number(),
  /** Why nothing moves there; null when something does, or nothing is to move. */
  waiting: Reason.nullable(),
});
export type StageHost = z.infer<typeof StageHost>;

export const StageStatus = z.object({
  id: z.string(),
  ref: ArtifactRef,
  bytes: Bytes,
  createdMs: TimeMs,
  createdBy: z.string(),
  /** The schedule that made it. */
  schedule: z.string().nullable(),
  deadlineMs: TimeMs.nullable(),
  /** Held until then; null: until it is cancelled. */
  untilMs: TimeMs.nullable(),
  done: z.boolean(),
  bytesPerSecond: z.number(),
  /** Until the last host has it at the present rate; null when nothing moves. */
  remainingMs: z.number().nullable(),
  /** Whether the deadline will be met at the present rate; null: no deadline, or unknown. */
  onTime: z.boolean().nullable(),
  hosts: z.array(StageHost),
});
export type StageStatus = z.infer<typeof StageStatus>;

export const ScheduleRequest = z
  .strictObject({
    artifact: z.strictObject({
      name: Name,
      version: Version.nullable(),
      tag: Name.nullable().describe("What it means is looked up at each run."),
    }),
    hosts: Hosts.describe("Null = the hosts enrolled at the time."),
    at: TimeMs.nullable().default(null).describe("Once, at this time."),
    cron: CronTime.nullable().default(null).describe("Again and again."),
    deadline: Deadline.nullable().default(null),
    holdMs: Hold,
  })
  .refine((r) => (r.at === null) !== (r.cron === null), "one of at and cron")
  .refine((r) => (r.artifact.version === null) !== (r.artifact.tag === null), "a version or a tag")
  .refine(
    (r) => r.cron === null || r.deadline === null || "withinMs" in r.deadline,
    "with cron the deadline counts from each start: withinMs",
  );
export type ScheduleRequest = z.input<typeof ScheduleRequest>;

export const Schedule = z.object({
  id: z.string(),
  artifact: z.object({ name: Name, version: Version.nullable(), tag: Name.nullable() }),
  hosts: z.array(HostId).nullable(),
  at: TimeMs.nullable(),
  cron: CronTime.nullable(),
  deadline: Deadline.nullable(),
  holdMs: z.number().nullable(),
  createdMs: TimeMs,
  createdBy: z.string(),
  /** Null: never again. */
  nextMs: TimeMs.nullable(),
  /** When it should have run last, and when it did. */
  lastDueMs: TimeMs.nullable(),
  lastRunMs: TimeMs.nullable(),
  lastStage: z.string().nullable(),
  /** Why the last run staged nothing. */
  problem: z.string().nullable(),
  /** Runs that fell out because the coordinator was away at their time. */
  missed: z.number(),
  lastMissedMs: TimeMs.nullable(),
});
export type Schedule = z.infer<typeof Schedule>;

export const StageList = z.object({
  stages: z.array(StageStatus),
  schedules: z.array(Schedule),
});
export type StageList = z.infer<typeof StageList>;

// ── what is where ────────────────────────────────────────────────────────────────────────────

export const StagedQuery = z.strictObject({
  artifact: z.string().min(1).max(130).optional().describe("NAME or NAME@VERSION; default: all."),
});
export type StagedQuery = z.infer<typeof StagedQuery>;

export const StagedHost = z.object({
  host: HostId,
  connected: z.boolean(),
  /** `waiting`: asked for, and nothing of it moves. */
  state: z.enum(["active", "fetching", "waiting", "failed"]),
  code: z.string().nullable(),
  /** Why it failed there, in words. */
  detail: z.string().nullable(),
  bytesDone: Bytes,
  bytesPerSecond: z.number(),
  remainingMs: z.number().nullable(),
  waiting: Reason.nullable(),
  /** Whole there since then. */
  sinceMs: TimeMs.nullable(),
  /** Held until then at least; null: see `why`. */
  untilMs: TimeMs.nullable(),
  why: z.array(
    z.object({
      kind: z.enum(["explicit", "schedule", "plan", "route", "kept"]),
      order: z.string().nullable(),
      detail: z.string(),
    }),
  ),
  /** Hosts, and `origin:`, `here:` (other versions on this host), `others:`. */
  sources: z.array(z.object({ from: z.string(), bytes: Bytes })),
});
export type StagedHost = z.infer<typeof StagedHost>;

export const StagedList = z.object({
  artifacts: z.array(
    z.object({
      ref: ArtifactRef,
      manifestHash: z.string(),
      bytes: Bytes,
      publisher: HostId,
      tags: z.array(z.string()),
      hosts: z.array(StagedHost),
    }),
  ),
});
export type StagedList = z.infer<typeof StagedList>;
