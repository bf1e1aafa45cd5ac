/** `coordinator.yaml`: every setting of the coordinator, default, unit, and what gets worse. */
import { z } from "zod";
import { TimeZone } from "../shared/calendar-time.ts";
import { Name } from "../shared/domain.ts";
import { ReplaySettings } from "../shared/replay.ts";
import { SignalSettings } from "./signals/settings.ts";

const LinkBytesPerSecond = z.number().min(0).nullable().default(null);
const SiteBudget = z.strictObject({
  inBytesPerSecond: LinkBytesPerSecond.describe(
    "What staging may bring into the site, from other sites and from origins; null: no budget.",
  ),
  outBytesPerSecond: LinkBytesPerSecond.describe(
    "What staging of other sites may take out of it; null: no budget.",
  ),
});

export const CoordinatorConfig = z.strictObject({
  dataDir: z.string().min(1).describe("Database, CA and keys; only the coordinator writes here."),
  fleet: Name.default("fleet").describe("Name of the fleet; stands in every certificate."),
  listen: z
    .strictObject({
      host: z.string().default("0.0.0.0"),
      port: z.number().int().min(0).max(65535).default(7400).describe("API and agents, TLS."),
    })
    .prefault({}),
  hostnames: z
    .array(z.string().min(1))
    .default(["localhost", "127.0.0.1"])
    .describe("Names and addresses its certificate is valid for; the first is announced."),
  plan: z
    .strictObject({
      tickMs: z
        .number()
        .int()
        .min(20)
        .max(600_000)
        .default(5_000)
        .describe("Real time between plans. Lower: quicker reaction, more CPU."),
      memoryRatio: z
        .number()
        .min(0.05)
        .max(10)
        .default(0.9)
        .describe("Memory-time to spend, relative to a fixed 10-minute keep-alive. Lower: colder."),
      historyDays: z
        .number()
        .int()
        .min(1)
        .max(400)
        .default(28)
        .describe(
          "Demand kept in minute bins. Under 15 the days of a week are not told apart. Higher: more memory and slower starts.",
        ),
      gbHourCost: z
        .number()
        .min(0)
        .default(2)
        .describe("Cost of a GB·hour held, in seconds of latency, until history calibrates it."),
    })
    .prefault({}),
  forecast: z
    .strictObject({
      timeZone: TimeZone.default("UTC").describe(
        "Where the people live whose demand it is: when their days off begin, and their clocks change.",
      ),
    })
    .prefault({}),
  qos: z
    .strictObject({
      stagingBytesPerSecond: z
        .number()
        .min(0)
        .default(50e6)
        .describe("Fleet-wide budget of background transfers, bytes on the wire, real time."),
      perHostBytesPerSecond: z.number().min(0).default(25e6).describe("Cap of one host's lease."),
      floorBytesPerSecond: z
        .number()
        .min(0)
        .default(256e3)
        .describe("What a host may use when its lease ran out without a coordinator."),
      eachSite: SiteBudget.prefault({}).describe("Budget of a site that `sites` does not name."),
      sites: z
        .record(Name, SiteBudget)
        .default({})
        .describe("Budgets of sites by name: what staging takes of a thin link."),
      leaseMs: z.number().int().min(1000).default(15_000).describe("Life of a lease, real time."),
      peakCpu: z
        .number()
        .min(0.05)
        .max(1)
        .default(0.85)
        .describe("Host CPU share from which staging to it stops; 1 = never."),
      peakRequestsPerSecond: z
        .number()
        .min(0)
        .default(2_000)
        .describe("Requests per second on a host over which staging to it stops."),
    })
    .prefault({}),
  affinity: z
    .strictObject({
      retrainRows: z
        .number()
        .int()
        .min(16)
        .default(256)
        .describe("New ledger rows before the network is trained again."),
    })
    .prefault({}),
  signals: SignalSettings.prefault({}).describe("Announced events: calendars, feeds, webhooks."),
  logLevel: z.enum(["error", "warn", "info", "debug"]).default("info"),
  replay: ReplaySettings.optional().describe("Only for demos: demand time runs faster."),
});
export type CoordinatorConfig = z.infer<typeof CoordinatorConfig>;
