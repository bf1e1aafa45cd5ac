/** Makes the rooms of an agent and ties each to what it needs of the others. */
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import type { Outcome } from "../shared/domain.ts";
import { demandClock } from "../shared/replay.ts";
import type { Clock } from "../shared/runtime/clock.ts";
import type { Log } from "../shared/runtime/log.ts";
import type { Metrics } from "../shared/runtime/metrics.ts";
import type { Random } from "../shared/runtime/random.ts";
import { AffinityScorer } from "./affinity/scorer.ts";
import type { AgentConfig } from "./config.ts";
import { Scrubber } from "./mesh/store/scrubber.ts";
import { DemandCounter } from "./observe/demand.ts";
import { HostSampler } from "./observe/host.ts";
import { LastKnown } from "./persisted.ts";
import { Scores } from "./scores.ts";
import { StagingGate } from "./staging.ts";
import { Router } from "./traffic/router.ts";
import { Prober } from "./traffic/shadow.ts";
import { makeSupply, makeTransfers } from "./transfers.ts";
import type { Identity } from "./trust/identity.ts";
import { WarmPool } from "./warm/pool.ts";
import { ProcessDriver } from "./warm/process.ts";

/** Before what is only forecast, after what an operator asked for. */
const REPAIR_PRIORITY = 400;
/** Of the host's peak: it stops reading before the host stops staging. */
const SCRUB_PEAK_RATIO = 0.8;
const DAY_MS = 86_400_000;

export type AgentDeps = {
  config: AgentConfig;
  identity: Identity;
  clock: Clock;
  random: Random;
  log: Log;
  metrics: Metrics;
  software: string;
  /** Environment variables that processes of workloads inherit. */
  environment: Record<string, string>;
  /** An environment variable that the config names; no process of a workload sees it. */
  secret(name: string): string | undefined;
  /** Resident memory of this process. */
  residentBytes(): number;
};

export type Rooms = ReturnType<typeof makeRooms>;

export function makeRooms(deps: AgentDeps, onOutcome: (outcome: Outcome) => void) {
  const { config, clock, identity, log } = deps;
  const common = { ...deps, demandClock: demandClock(clock, config.replay) };
  const lastKnown = new LastKnown(config.dataDir, log);
  const counter = new DemandCounter(identity.host);
  const transfers = makeTransfers(common, lastKnown, () => {
    const { host } = config.router;
    const name = config.mesh.announce ?? (isWildcard(host) ? ownAddress() : host);
    return `http://${name.includes(":") ? `[${name}]` : name}:${router.address().port}`;
  });
  const { mesh } = transfers;
  const supply = makeSupply(common, lastKnown, transfers);
  const { artifacts } = supply;
  const observer = new HostSampler(
    {
      ...common,
      requests: () => counter.total,
      rates: () => mesh.rates(),
      agentBytes: deps.residentBytes,
    },
    { dataDir: config.dataDir, periodMs: config.sampleMs },
  );
  const prober = new Prober(common);
  const pool = new WarmPool(
    {
      ...common,
      self: identity.host,
      stage: (workload, category, staging) => artifacts.stage(workload, category, staging),
      superseded: (workload, category) => artifacts.superseded(workload, category),
      driver: new ProcessDriver(common, {
        dir: join(config.dataDir, "environments"),
        baseEnv: deps.environment,
      }),
      warmup: (...given) => prober.warmup(...given),
      shadow: (...given) => prober.shadow(...given),
    },
    { memoryBytesMax: config.environments.memoryBytes, environmentsMax: config.environments.max },
  );
  const router: Router = new Router(
    {
      ...common,
      pool,
      self: identity.host,
      members: () => lastKnown.value.members.members,
      onDemand: (workload, category, atMs) => counter.count(workload, category, atMs),
      onOutcome,
    },
    config.router,
  );
  const scorer = new AffinityScorer({ clock, log });
  const scores = new Scores({
    scorer,
    workloads: () => lastKnown.value.desired.workloads,
    sample: () => observer.latest(),
    holdings: () => mesh.holdings(),
    needs: (workload, category) => artifacts.known(workload, category),
    warm: (workload) => pool.list().some((e) => e.workload === workload && e.verdict?.passed),
    demandShare: (workload) => lastKnown.value.desired.demandShare[workload] ?? 0,
  });
  const gate = new StagingGate({
    ...common,
    setRates: ({ total, ...site }) => mesh.setRate(total, site),
    cpuUsed: () => observer.latest().cpuUsed,
    peakCpu: config.peakCpu,
  });
  observer.onSample(() => gate.check());
  const scrubber = new Scrubber(
    {
      ...common,
      store: mesh.store,
      repair: (hash, signal) => {
        const foreground = mesh.pins.has(hash);
        return mesh.ensure(hash, { priority: REPAIR_PRIORITY, foreground, signal, use: false });
      },
      busy: () => mesh.busy || observer.latest().cpuUsed > config.peakCpu * SCRUB_PEAK_RATIO,
    },
    {
      dir: join(config.dataDir, "mesh"),
      passMs: config.scrub.passDays * DAY_MS,
      bytesPerSecondMax: config.scrub.bytesPerSecond,
    },
  );
  return {
    ...transfers,
    ...supply,
    scrubber,
    lastKnown,
    counter,
    observer,
    pool,
    router,
    scorer,
    scores,
    gate,
  };
}

function isWildcard(address: string): boolean {
  return address === "0.0.0.0" || address === "::";
}

/** The first address of this host that is not its loopback. */
function ownAddress(): string {
  const all = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  const outside = all.filter((a) => !a.internal);
  return (outside.find((a) => a.family === "IPv4") ?? outside[0])?.address ?? "127.0.0.1";
}
