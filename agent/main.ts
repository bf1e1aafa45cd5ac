/** Starts an agent from its config file: settings, identity, log; then the conductor runs. */
import { readFileSync } from "node:fs";
import { readYaml } from "../shared/config.ts";
import { PrestageError } from "../shared/errors.ts";
import { systemClock } from "../shared/runtime/clock.ts";
import { createLog } from "../shared/runtime/log.ts";
import { trimWhenQuiet } from "../shared/runtime/memory.ts";
import { Metrics } from "../shared/runtime/metrics.ts";
import { systemRandom } from "../shared/runtime/random.ts";
import { softwareVersion } from "../shared/runtime/software.ts";
import { Agent } from "./agent.ts";
import { AgentConfig } from "./config.ts";
import { loadIdentity } from "./trust/identity.ts";

/** What a workload's process sees of the agent's own environment. */
const INHERITED = ["PATH", "HOME", "LANG", "TZ", "TMPDIR", "USER"];

export async function runAgent(options: { configFile: string; signal: AbortSignal }) {
  const text = readFileSync(options.configFile, "utf8");
  const config = readYaml(text, options.configFile, AgentConfig);
  const identity = loadIdentity(config.dataDir);
  if (!identity)
    throw new PrestageError(
      "UNAUTHENTICATED",
      `${config.host} has not joined a fleet: prestage join --data ${config.dataDir} …`,
    );
  const { host, site, peerId } = identity;
  if (host !== config.host)
    throw new PrestageError(
      "CONFIG_INVALID",
      `${options.configFile}: host: ${config.host}, but this data folder joined as ${host}`,
    );
  const log = createLog({ name: "agent", level: config.logLevel, destination: process.stderr });
  const agent = new Agent({
    config,
    identity,
    clock: systemClock,
    random: systemRandom(),
    log,
    metrics: new Metrics(),
    software: softwareVersion(),
    residentBytes: () => process.memoryUsage.rss(),
    secret: (name) => process.env[name],
    environment: Object.fromEntries(
      INHERITED.flatMap((name) => {
        const value = process.env[name];
        return value === undefined ? [] : [[name, value]];
      }),
    ),
  });
  log.info({ host, site, peerId }, "agent starts");
  const running = new AbortController();
  const trimming = trimWhenQuiet(systemClock, running.signal);
  try {
    await agent.run(options.signal);
  } finally {
    running.abort();
    await trimming;
  }
  log.info({ host }, "agent stopped");
}
