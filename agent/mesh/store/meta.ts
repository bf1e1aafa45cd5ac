/** What is known of a version's use: `meta/HASH.json`, a hint that is not synced. */
import { z } from "zod";
import { EXPECTED_COUNT } from "./worth.ts";

const Meta = z.object({
  /** Bytes fetched ahead of need; they count as wasted if the version goes unused. */
  stagedBytes: z.number().min(0),
  used: z.boolean(),
  usage: z.object({ count: z.number().min(0), countedMs: z.number() }),
  priority: z.number(),
});
export type Meta = z.infer<typeof Meta>;

export function newMeta(nowMs: number, priority: number): Meta {
  const usage = { count: EXPECTED_COUNT, countedMs: nowMs };
  return { stagedBytes: 0, used: false, usage, priority };
}

/** A torn one counts as none. */
export function parseMeta(text: string | null): Meta | null {
  if (text === null) return null;
  try {
    return Meta.parse(JSON.parse(text));
  } catch {
    return null;
  }
}
