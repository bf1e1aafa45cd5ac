/** What the API takes and gives about tags that follow a URL. */
import { z } from "zod";
import { HostId, Name, TimeMs, Version } from "./domain.ts";
import { FollowEveryMs, FollowUrl } from "./follow.ts";

export const FollowRequest = z.strictObject({
  name: Name,
  tag: Name,
  url: FollowUrl.describe("Without credentials; these stand in agent.yaml of those that look."),
  everyMs: FollowEveryMs,
});
export type FollowRequest = z.infer<typeof FollowRequest>;

export const FollowRemoval = z.strictObject({ name: Name, tag: Name });
export type FollowRemoval = z.infer<typeof FollowRemoval>;

export const FollowList = z.object({
  follows: z.array(
    FollowRequest.extend({
      state: z.enum(["pending", "ok", "failing"]),
      /** The host that looks now; null while none is there. */
      host: HostId.nullable(),
      lookedMs: TimeMs.nullable(),
      /** When the tag was last moved, and to what. */
      changedMs: TimeMs.nullable(),
      version: Version.nullable(),
      revision: z.string().nullable(),
      failures: z.number().int(),
      error: z.object({ code: z.string(), message: z.string() }).nullable(),
      addedBy: z.string(),
      addedMs: TimeMs,
    }),
  ),
});
export type FollowList = z.infer<typeof FollowList>;
