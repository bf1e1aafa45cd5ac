/** Starts a coordinator from its config file: settings, log; then the conductor runs. */
import { readFileSync } from "node:fs";
import { readYaml } from "../shared/config.ts";
import { systemClock } from "../shared/runtime/clock.ts";
import { createLog } from "../shared/runtime/log.ts";
import { trimWhenQuiet } from "../shared/runtime/memory.ts";
import { Metrics } from "../shared/runtime/metrics.ts";
import { systemRandom } from "../shared/runtime/random.ts";
import { softwareVersion } from "../shared/runtime/software.ts";
import { CoordinatorConfig } from "./config.ts";
import { Coordinator } from "./coordinator.ts";

export async function runCoordinator(options: { configFile: string; signal: AbortSignal }) {
  const text = readFileSync(options.configFile, "utf8");
  const config = readYaml(text, options.configFile, CoordinatorConfig);
  const log = createLog({
    name: "coordinator",
    level: config.logLevel,
    destination: process.stderr,
  });
  const coordinator = await Coordinator.open({
    config,
    clock: systemClock,
    random: systemRandom(),
    log,
    metrics: new Metrics(),
    software: softwareVersion(),
    env: process.env,
  });
  const running = new AbortController();
  const trimming = trimWhenQuiet(systemClock, running.signal);
  try {
    await coordinator.run(options.signal);
  } finally {
    running.abort();
    await trimming;
  }
  log.info({}, "coordinator stopped");
}
