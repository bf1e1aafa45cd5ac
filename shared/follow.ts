/** A tag that follows a URL: what the coordinator hands to one agent, and what that one says. */
import { z } from "zod";
import { Name, TimeMs, Version } from "./domain.ts";

export const FOLLOWS_MAX = 1_000;
export const FollowUrl = z.string().min(1).max(2_048);
export const FollowEveryMs = z
  .number()
  .int()
  .min(1_000)
  .max(30 * 86_400_000)
  .describe("Real time between looks. Lower: changes are seen sooner, more load on the source.");
const Revision = z.string().min(1).max(500);

/** For the agent that looks: when the URL has another revision, publish it and move the tag. */
export const FollowOrder = z.object({
  name: Name,
  tag: Name,
  url: FollowUrl,
  everyMs: FollowEveryMs,
  /** What the tag means now; null while it was never published by following. */
  revision: Revision.nullable(),
});
export type FollowOrder = z.infer<typeof FollowOrder>;

/** How it goes, as the agent reports it. */
export const FollowState = z.object({
  name: Name,
  tag: Name,
  url: FollowUrl,
  /** Last look that ended, well or not. */
  lookedMs: TimeMs,
  revision: Revision.nullable(),
  version: Version.nullable(),
  /** Looks that failed in a row. */
  failures: z.number().int().min(0),
  code: z.string().max(64).nullable(),
  message: z.string().max(500).nullable(),
});
export type FollowState = z.infer<typeof FollowState>;

export const followKey = ({ name, tag }: { name: string; tag: string }) => `${name}:${tag}`;
