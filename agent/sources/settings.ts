/** `sources:` and `sourceLimits:` of agent.yaml: who may read which store, and how much of it. */
import { z } from "zod";
import { isSourceScheme, schemeOf, secretIn } from "../../shared/source-url.ts";

const Prefix = z.string().superRefine((text, ctx) => {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (!url || !isSourceScheme(schemeOf(url)))
    ctx.addIssue({ code: "custom", message: "not a URL that artifacts come from" });
  else if (secretIn(url) !== null)
    ctx.addIssue({ code: "custom", message: `carries ${secretIn(url)}: give it under auth` });
});

const Auth = z
  .strictObject({
    scheme: z
      .enum(["basic", "bearer", "aws", "docker", "ssh"])
      .describe(
        "basic: USER:PASSWORD. bearer: a token. aws: ACCESS:SECRET[:SESSION], or a credentials " +
          "file with profiles. docker: a config.json. ssh: a private key.",
      ),
    file: z.string().min(1).optional().describe("Holds the secret; read again at each use."),
    env: z.string().min(1).optional().describe("Environment variable that holds it."),
    profile: z.string().min(1).default("default").describe("Of an AWS credentials file."),
  })
  .refine((a) => (a.file === undefined) !== (a.env === undefined), "needs one of file, env")
  .refine((a) => a.scheme !== "ssh" || a.file !== undefined, "an ssh key is a file");

export const SourceSettings = z.strictObject({
  url: Prefix.describe("Everything below it, by whole path segments; the longest match counts."),
  auth: Auth.optional(),
  caFile: z.string().min(1).optional().describe("CA certificates to trust there, PEM."),
  endpoint: z
    .url({ protocol: /^https?$/ })
    .optional()
    .describe("s3: where the store answers. oci: where the registry does, also without TLS."),
  region: z.string().min(1).max(64).default("us-east-1").describe("s3: what signatures name."),
});
export type SourceSettings = z.infer<typeof SourceSettings>;

export const SourceLimits = z.strictObject({
  artifactBytes: z
    .number()
    .int()
    .min(1)
    .default(64 * 2 ** 30)
    .describe("Largest version read from a URL. Higher: one mistyped URL fills more disk."),
  cacheBytes: z
    .number()
    .int()
    .min(1 << 20)
    .default(10 * 2 ** 30)
    .describe("Disk for what git and rsync bring whole. Lower: fetched again more often."),
  stallMs: z
    .number()
    .int()
    .min(100)
    .max(600_000)
    .default(30_000)
    .describe("Silence after which a source counts as gone. Lower: slow ones fail."),
});
export type SourceLimits = z.infer<typeof SourceLimits>;
