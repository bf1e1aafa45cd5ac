/** What the API takes and gives about publishers: whose signatures count for which names. */
import { z } from "zod";
import { TimeMs } from "./domain.ts";
import { NamePattern, PATTERNS_MAX, PublicKey, Publisher, PublisherName } from "./publishers.ts";

export const PublisherTrust = z.strictObject({
  name: PublisherName.describe("`hosts`, `host:NAME`, or a name for the key."),
  publicKey: PublicKey.nullable()
    .default(null)
    .describe("Raw Ed25519, base64url; null for hosts and for a key that is on the list."),
  names: z
    .array(NamePattern)
    .min(1)
    .max(PATTERNS_MAX)
    .nullable()
    .default(null)
    .describe("Artifact names it may publish, `*` for any text; null leaves them as they are."),
});
export type PublisherTrust = z.infer<typeof PublisherTrust>;

export const PublisherList = z.object({
  publishers: z.array(
    Publisher.extend({
      /** Null for what nobody has changed. */
      changedBy: z.string().nullable(),
      changedMs: TimeMs.nullable(),
      /** Published versions that it has signed. */
      versions: z.number(),
    }),
  ),
});
export type PublisherList = z.infer<typeof PublisherList>;
