/** `agent.yaml`: every setting of the agent, with its default, unit, and what gets worse. */
import { z } from "zod";
import { HostId, Name } from "../shared/domain.ts";
import { ReplaySettings } from "../shared/replay.ts";
import { MirrorSettings } from "./mirror/settings.ts";
import { SourceLimits, SourceSettings } from "./sources/settings.ts";

export const AgentConfig = z.strictObject({
  dataDir: z.string().min(1).describe("Keys, chunks, activated trees; only the agent writes here."),
  coordinator: z.url().describe("https://HOST:PORT of the coordinator."),
  host: HostId.describe("Name of this host; bound into its certificate at join."),
  site: Name.default("default").describe("Group of hosts with fast links between them."),
  router: z
    .strictObject({
      host: z.string().default("0.0.0.0").describe("Address the router listens on."),
      port: z.number().int().min(0).max(65535).default(7480).describe("0 takes any free port."),
      announce: z
        .url()
        .optional()
        .describe("http://HOST:PORT by which other routers reach it; default: from mesh.announce."),
    })
    .prefault({}),
  mesh: z
    .strictObject({
      listen: z.string().default("0.0.0.0").describe("Address of the chunk mesh."),
      port: z.number().int().min(0).max(65535).default(7481),
      bulkPort: z
        .number()
        .int()
        .min(0)
        .max(65535)
        .optional()
        .describe("Port for chunks; default: the one after mesh.port, or any free one."),
      announce: z
        .string()
        .optional()
        .describe("IP address other hosts reach this one by; default: the listen address."),
    })
    .prefault({}),
  store: z
    .strictObject({
      quotaBytes: z
        .number()
        .int()
        .min(1 << 20)
        .default(20 * 2 ** 30)
        .describe(
          "Disk for artifact versions, in bytes on disk; what versions share counts once. " +
            "Higher: more fits; lower: more is fetched twice.",
        ),
      reserveRatio: z
        .number()
        .min(0)
        .max(0.9)
        .default(0.05)
        .describe(
          "Share of the file system that staging leaves free for others, but at least 1 GiB and " +
            "at most 20 GiB; what a request waits for may use it down to 64 MiB. 0 = no reserve. " +
            "Higher: less is staged on full disks; lower: other programs may run out of disk.",
        ),
    })
    .prefault({}),
  sources: z
    .array(SourceSettings)
    .max(200)
    .default([])
    .describe("Credentials and endpoints of the stores that artifacts come from, by URL."),
  sourceLimits: SourceLimits.prefault({}),
  mirror: MirrorSettings.prefault({}),
  scrub: z
    .strictObject({
      passDays: z
        .number()
        .min(0)
        .max(365)
        .default(7)
        .describe(
          "All that is stored is read again, to find what rotted, in so many days; 0 = never. " +
            "Higher: it is found later; lower: more disk reads.",
        ),
      bytesPerSecond: z
        .number()
        .int()
        .min(1_000)
        .default(5_000_000)
        .describe("At most so much of the disk. Lower: a pass over much data takes longer."),
    })
    .prefault({}),
  environments: z
    .strictObject({
      memoryBytes: z
        .number()
        .int()
        .min(1 << 20)
        .default(4 * 2 ** 30)
        .describe("Memory for all environments. Higher: fewer misses, less left for others."),
      max: z.number().int().min(1).max(10_000).default(200).describe("Environments at once."),
    })
    .prefault({}),
  peakCpu: z
    .number()
    .min(0.05)
    .max(1)
    .default(0.95)
    .describe(
      "Share of all cores over which this host stops staging by itself; 1 = never. " +
        "Higher: staging goes on while requests may suffer.",
    ),
  sampleMs: z
    .number()
    .int()
    .min(100)
    .max(60_000)
    .default(5_000)
    .describe("Between host samples. Lower: a peak is seen sooner, more CPU."),
  reportMs: z
    .number()
    .int()
    .min(50)
    .max(60_000)
    .default(5_000)
    .describe("Between reports when nothing changes. Lower: fresher plans, more traffic."),
  recordsMs: z
    .number()
    .int()
    .min(50)
    .max(60_000)
    .default(2_000)
    .describe("Between batches of demand and outcomes. Lower: forecasts learn sooner."),
  logLevel: z.enum(["error", "warn", "info", "debug"]).default("info"),
  replay: ReplaySettings.optional().describe("Only for demos: demand time runs faster."),
});
export type AgentConfig = z.infer<typeof AgentConfig>;
