/**
 * `workloads.yaml`: what an operator declares with `prestage apply`. One strict schema; types are
 * inferred from it and the reference page and example are checked against it.
 */
import { z } from "zod";
import { CategoryName, Name, Version } from "./domain.ts";

const milliseconds = (max: number) => z.number().int().min(0).max(max);

export const Mode = z.enum(["observe", "advise", "act"]);
export type Mode = z.infer<typeof Mode>;

export const QosClass = z.strictObject({
  name: Name,
  priority: z.number().int().min(0).max(1000).describe("Higher is staged first."),
});
export type QosClass = z.infer<typeof QosClass>;

const HttpRequest = z.strictObject({
  method: z.enum(["GET", "HEAD", "POST", "PUT"]).default("GET"),
  path: z.string().startsWith("/").max(2048),
  headers: z.record(z.string(), z.string()).default({}),
  body: z
    .string()
    .max(64 << 10)
    .optional(),
});
export type HttpRequest = z.infer<typeof HttpRequest>;

const CategoryRule = z.strictObject({
  from: z.enum(["path", "header", "query", "fixed"]).default("fixed"),
  name: z.string().max(128).optional().describe("Header or query parameter."),
  segment: z.number().int().min(0).max(16).optional().describe("Path segment, 0 = first."),
  default: CategoryName.default("default").describe("When the request has none."),
});
export type CategoryRule = z.infer<typeof CategoryRule>;

const WorkloadArtifact = z.strictObject({
  name: z
    .string()
    .max(128)
    .describe("Artifact name; `{category}` in it is replaced by the request's category."),
  version: Version.optional().describe("One immutable version."),
  tag: Name.optional().describe("A moving tag, e.g. latest."),
  kind: z.enum(["data", "code"]),
  as: Name.describe("Name by which commands refer to it: `{artifact:AS}`."),
});
export type WorkloadArtifact = z.infer<typeof WorkloadArtifact>;

export const Workload = z.strictObject({
  name: Name,
  mode: Mode.default("observe"),
  class: Name.default("default"),
  match: z
    .strictObject({
      pathPrefix: z.string().startsWith("/").max(256).optional(),
      host: z.string().max(253).optional(),
    })
    .describe("Which requests are this workload's: both must hold where both are given."),
  category: CategoryRule.prefault({}),
  artifacts: z.array(WorkloadArtifact).max(16).default([]),
  environment: z.strictObject({
    driver: z.literal("process").default("process"),
    command: z
      .array(z.string().max(4096))
      .min(1)
      .max(64)
      .describe("`{artifact:AS}`, `{port}` and `{category}` are replaced."),
    env: z.record(z.string(), z.string()).default({}),
    readiness: z
      .strictObject({
        path: z.string().startsWith("/").default("/"),
        timeoutMs: milliseconds(600_000).default(30_000),
        intervalMs: milliseconds(60_000).default(25),
      })
      .prefault({}),
    warmup: z.array(HttpRequest).max(32).default([]).describe("Dummy requests before use."),
    resources: z
      .strictObject({
        memoryMb: z
          .number()
          .int()
          .min(1)
          .max(1 << 20)
          .default(128),
        cpu: z.number().min(0).max(1024).default(0.1),
      })
      .prefault({}),
  }),
  shadow: z
    .strictObject({
      request: HttpRequest,
      expect: z
        .strictObject({
          status: z.number().int().min(100).max(599).default(200),
          bodyIncludes: z.string().max(1024).optional(),
          maxMs: milliseconds(60_000).default(5_000),
        })
        .prefault({}),
    })
    .prefault({ request: { path: "/" } }),
  placement: z
    .strictObject({
      hosts: z.number().int().min(1).max(64).default(1).describe("Top-N hosts to prepare."),
    })
    .prefault({}),
  keepAliveMs: milliseconds(7 * 24 * 3_600_000)
    .default(600_000)
    .describe("Idle time before an environment that a request made is dropped, demand clock."),
  missCostSeconds: z
    .number()
    .min(0)
    .max(86_400)
    .optional()
    .describe("What a miss costs; default: the measured wait of a miss."),
});
export type Workload = z.infer<typeof Workload>;

/** One `workloads.yaml`. */
export const WorkloadsFile = z
  .strictObject({
    classes: z
      .array(QosClass)
      .max(64)
      .default([{ name: "default", priority: 100 }]),
    workloads: z.array(Workload).max(10_000).default([]),
  })
  .superRefine((file, ctx) => {
    const classes = new Set(file.classes.map((c) => c.name));
    const seen = new Set<string>();
    file.workloads.forEach((w, i) => {
      if (!classes.has(w.class) && w.class !== "default")
        ctx.addIssue({
          code: "custom",
          path: ["workloads", i, "class"],
          message: `no class ${w.class} under classes: (${[...classes].join(", ")})`,
        });
      if (seen.has(w.name))
        ctx.addIssue({ code: "custom", path: ["workloads", i, "name"], message: "declared twice" });
      seen.add(w.name);
      if (!w.match.pathPrefix && !w.match.host)
        ctx.addIssue({
          code: "custom",
          path: ["workloads", i, "match"],
          message: "needs pathPrefix or host",
        });
      w.artifacts.forEach((a, j) => {
        if ((a.version === undefined) === (a.tag === undefined))
          ctx.addIssue({
            code: "custom",
            path: ["workloads", i, "artifacts", j],
            message: "needs exactly one of version and tag",
          });
      });
    });
  });
export type WorkloadsFile = z.infer<typeof WorkloadsFile>;
