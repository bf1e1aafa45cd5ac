/** One host's pool, process driver and router put together as the agent does, on real processes. */

import { Router } from "../../agent/traffic/router.ts";
import { Prober } from "../../agent/traffic/shadow.ts";
import { WarmPool } from "../../agent/warm/pool.ts";
import type { WarmPoolOptions } from "../../agent/warm/pool-options.ts";
import { ProcessDriver } from "../../agent/warm/process.ts";
import type { Member, Outcome } from "../../shared/domain.ts";
import { type Clock, systemClock } from "../../shared/runtime/clock.ts";
import { silentLog } from "../../shared/runtime/log.ts";
import { Metrics } from "../../shared/runtime/metrics.ts";
import { systemRandom } from "../../shared/runtime/random.ts";
import type { Workload } from "../../shared/workload.ts";
import { baseEnv } from "./servers.ts";

export type WarmHost = {
  pool: WarmPool;
  router: Router;
  url: string;
  outcomes: Outcome[];
  demand: string[];
  members: Member[];
  stop(): Promise<void>;
};

export async function startWarmHost(
  name: string,
  dir: string,
  workloads: Workload[],
  options: Partial<WarmPoolOptions> & { demandClock?: Clock } = {},
): Promise<WarmHost> {
  const { demandClock = systemClock, ...limits } = options;
  const metrics = new Metrics();
  const base = { clock: systemClock, demandClock, log: silentLog, metrics, self: name };
  const prober = new Prober(base);
  const pool = new WarmPool(
    {
      ...base,
      random: systemRandom(),
      driver: new ProcessDriver(base, { dir, baseEnv }),
      stage: async () => ({ app: dir }),
      warmup: (port, workload, category, o) => prober.warmup(port, workload, category, o),
      shadow: (port, workload, category, o) => prober.shadow(port, workload, category, o),
    },
    { memoryBytesMax: 2 ** 31, environmentsMax: 8, ...limits },
  );
  const outcomes: Outcome[] = [];
  const demand: string[] = [];
  const host: Partial<WarmHost> = { members: [] };
  const router = new Router(
    {
      ...base,
      pool,
      members: () => host.members ?? [],
      onDemand: (workload, category) => demand.push(`${workload}/${category}`),
      onOutcome: (outcome) => outcomes.push(outcome),
    },
    { host: "127.0.0.1", port: 0, drainMs: 200 },
  );
  router.setWorkloads(workloads);
  const stopping = new AbortController();
  const running = [pool.run(stopping.signal), router.run(stopping.signal)];
  await router.started;
  pool.setDesired([], workloads, { paused: false });
  return Object.assign(host, {
    pool,
    router,
    url: `http://127.0.0.1:${router.address().port}`,
    outcomes,
    demand,
    members: host.members ?? [],
    stop: async () => {
      stopping.abort();
      await Promise.all(running);
    },
  });
}
