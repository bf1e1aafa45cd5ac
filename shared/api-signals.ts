/** What the API takes and gives about signals: announced events, their sources, learned effects. */
import { z } from "zod";
import { CategoryName, Name, TimeMs } from "./domain.ts";

const text = (max: number) => z.string().min(1).max(max);

const instant = z
  .union([z.iso.datetime({ offset: true }), TimeMs])
  .transform((at) => (typeof at === "number" ? at : Date.parse(at)));

/** An event that may change demand, past or to come. */
export const PostedEvent = z.strictObject({
  id: text(200).describe("Posted again with the same id it replaces what was posted before."),
  summary: text(300).describe("Events of the same summary, digits aside, are one signal."),
  start: instant.describe("ISO 8601 with offset, or milliseconds since the epoch."),
  end: instant.optional().describe("Default: the start, an event without duration."),
  categories: z.array(text(100)).max(20).default([]),
  location: text(300).optional(),
  description: text(300).optional(),
  targets: z
    .array(z.strictObject({ workload: Name, category: CategoryName.optional() }))
    .max(100)
    .optional()
    .describe("What it may affect, besides what the rules of its source say."),
});
export type PostedEvent = z.infer<typeof PostedEvent>;
export const EventsRequest = z.strictObject({
  source: Name.default("events").describe("A source of type webhook; `events` is always there."),
  events: z.array(PostedEvent).min(1).max(1_000),
});
export type EventsRequest = z.infer<typeof EventsRequest>;
export const EventsPosted = z.object({
  source: Name,
  added: z.number(),
  changed: z.number(),
  unchanged: z.number(),
  /** Ids of events that no rule takes and that name no target: they affect nothing. */
  unmatched: z.array(z.string()),
});
export type EventsPosted = z.infer<typeof EventsPosted>;
export const EventsRemoval = z.strictObject({
  source: Name.default("events"),
  ids: z.array(text(200)).min(1).max(1_000),
});
export type EventsRemoval = z.infer<typeof EventsRemoval>;
export const EventsRemoved = z.object({ source: Name, removed: z.number() });
export type EventsRemoved = z.infer<typeof EventsRemoved>;

export const EventsQuery = z.strictObject({
  source: Name.optional(),
  fromMs: z.coerce.number().min(0).optional().describe("Default: now."),
  toMs: z.coerce.number().min(0).optional(),
  limit: z.coerce.number().int().min(1).max(1_000).default(100),
});
export type EventsQuery = z.infer<typeof EventsQuery>;
const Target = z.object({
  /** Null = every one. */
  workload: Name.nullable(),
  category: CategoryName.nullable(),
});
export const EventList = z.object({
  events: z.array(
    z.object({
      source: Name,
      id: z.string(),
      summary: z.string(),
      startMs: z.number(),
      endMs: z.number(),
      /** What its occurrences are learned under. */
      signals: z.array(z.string()),
      targets: z.array(Target),
    }),
  ),
});
export type EventList = z.infer<typeof EventList>;

export const SignalsView = z.object({
  sources: z.array(
    z.object({
      name: Name,
      type: z.enum(["calendar", "feed", "holidays", "webhook"]),
      /** Without what may be secret in it; null for webhooks. */
      address: z.string().nullable(),
      state: z.enum(["ok", "pending", "failing"]),
      /** Last good look, last look, next one; null where there was or will be none. */
      okMs: TimeMs.nullable(),
      triedMs: TimeMs.nullable(),
      nextMs: TimeMs.nullable(),
      error: z.object({ code: z.string(), message: z.string() }).nullable(),
      /** What of it could not be read. */
      problems: z.array(z.string()),
      /** Events known, those to come, and those that no rule takes. */
      events: z.object({ known: z.number(), coming: z.number(), unmatched: z.number() }),
    }),
  ),
  /** Learned, strongest first. */
  effects: z.array(
    z.object({
      signal: z.string(),
      workload: Name,
      category: CategoryName,
      occurrences: z.number(),
      zones: z.array(
        z.object({
          zone: z.enum(["lead", "during", "lag"]),
          /** What demand is multiplied by where there is an effect, and how sure it is that there is one. */
          factor: z.number(),
          certainty: z.number(),
        }),
      ),
    }),
  ),
});
export type SignalsView = z.infer<typeof SignalsView>;
