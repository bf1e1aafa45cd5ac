/** An event as a source tells of it, before rules say what it may affect. */
import { z } from "zod";

export const SignalEvent = z.object({
  /** Unique within its source together with `startMs`. */
  id: z.string(),
  startMs: z.number(),
  endMs: z.number(),
  summary: z.string(),
  categories: z.array(z.string()),
  location: z.string(),
  description: z.string(),
  /** Posted events may say themselves what they affect. */
  targets: z
    .array(z.object({ workload: z.string().nullable(), category: z.string().nullable() }))
    .optional(),
});
export type SignalEvent = z.infer<typeof SignalEvent>;

export const TEXT_MAX = 300;
export const CATEGORIES_MAX = 20;
/** Longer events are taken for that long. */
export const EVENT_MS_MAX = 31 * 86_400_000;
/** Of one source, in the time that is looked at; the latest are left out. */
export const EVENTS_MAX = 20_000;

/** One line, bounded. */
export function shortText(text: unknown): string {
  if (typeof text !== "string") return "";
  return text
    .slice(0, 4 * TEXT_MAX)
    .replace(/[\p{Cc}\s]+/gu, " ")
    .trim()
    .slice(0, TEXT_MAX);
}
