/** Makes the rooms of an agent and ties each to what it needs of the others. */
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import type { Outcome } from "../shared/domain.ts";
import { demandClock } from "../shared/replay.ts";
import type { Clock } from "../shared/runtime/clock.ts";
import type { Log } from "../shared/runtime/log.ts";
import type { Metrics } from "../shared/runtime/metrics.ts";
import { type Random, secret } from "../shared/runtime/random.ts";
import { AffinityScorer } from "./affinity/scorer.ts";
import { Artifacts } from "./artifacts.ts";
import type { AgentConfig } from "./config.ts";
import { Following } from "./following.ts";
import { Link } from "./link/link.ts";
import { WsTransport } from "./link/ws-transport.ts";
import { Mesh } from "./mesh/mesh.ts";
import { Reader } from "./mesh/reader.ts";
import { Scrubber } from "./mesh/scrubber.ts";
import { Mirroring } from "./mirroring.ts";
import { DemandCounter } from "./observe/demand.ts";
import { HostSampler } from "./observe/host.ts";
import { LastKnown } from "./persisted.ts";
import { Publishing } from "./publishing.ts";
import { Refusals } from "./refusals.ts";
import { Scores } from "./scores.ts";
import { Sources } from "./sources/sources.ts";
import { StagingGate } from "./staging.ts";
import { Router } from "./traffic/router.ts";
import { Prober } from "./traffic/shadow.ts";
import type { Identity } from "./trust/identity.ts";
import { Renewal } from "./trust/renewal.ts";
import { WarmPool } from "./warm/pool.ts";
import { ProcessDriver } from "./warm/process.ts";

/** Before what is only forecast, after what an operator asked for. */
const REPAIR_PRIORITY = 400;
/** Of the host's peak: it stops reading before the host stops staging. */
const SCRUB_PEAK_RATIO = 0.8;
const DAY_MS = 86_400_000;
const MANIFEST_MS_MAX = 30_000;
const PUBLISH_MS_MAX = 60_000;
const IMAGES_MS_MAX = 10_000;
/** While the coordinator is away: peers are asked in between. */
const MANIFEST_AWAY_MS_MAX = 2_000;

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
  const { link, mesh, artifacts, renewal, sources, refusals, publishing, mirroring, following } =
    makeTransfers(common, lastKnown, () => {
      const { host } = config.router;
      const name = config.mesh.announce ?? (isWildcard(host) ? ownAddress() : host);
      return `http://${name.includes(":") ? `[${name}]` : name}:${router.address().port}`;
    });
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
    setRate: (rate) => mesh.setRate(rate),
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
    scrubber,
    lastKnown,
    counter,
    observer,
    link,
    mesh,
    artifacts,
    pool,
    router,
    scorer,
    scores,
    gate,
    renewal,
    sources,
    refusals,
    publishing,
    mirroring,
    following,
  };
}

function makeTransfers(
  deps: AgentDeps & { demandClock: Clock },
  lastKnown: LastKnown,
  routerUrl: () => string,
) {
  const { config, identity } = deps;
  const bootId = secret(12);
  const renewal = new Renewal(deps, { coordinatorUrl: config.coordinator });
  const transport = new WsTransport({ url: config.coordinator, tls: () => identity.linkTls() });
  const { desired, routes, members } = lastKnown.value;
  const link: Link = new Link(
    {
      ...deps,
      transport,
      hello: () => ({
        host: identity.host,
        site: identity.site,
        bootId,
        peerId: identity.peerId,
        meshAddresses: mesh.addresses(),
        routerUrl: config.router.announce ?? routerUrl(),
        software: deps.software,
        environmentsMax: config.environments.max,
      }),
    },
    { have: { desired: desired.version, routes: routes.version, members: members.epoch } },
  );
  const sources = new Sources(deps, {
    settings: config.sources,
    limits: config.sourceLimits,
    cacheDir: join(config.dataDir, "sources"),
    fleet: { url: config.coordinator, tls: () => identity.linkTls() },
  });
  const mesh = new Mesh(
    {
      ...deps,
      onRefused: (peerId) => refusals.note(peerId),
      resolveManifest: async (hash) => {
        const timeoutMs = link.connected ? MANIFEST_MS_MAX : MANIFEST_AWAY_MS_MAX;
        return (await link.request({ kind: "manifest", hash }, { timeoutMs })).manifest;
      },
      source: sources,
    },
    {
      dir: join(config.dataDir, "mesh"),
      ...config.store,
      listen: [multiaddr(config.mesh.listen, config.mesh.port)],
      bulk: bulkEndpoint(config.mesh),
      ...(config.mesh.announce && config.mesh.port > 0
        ? { announce: [multiaddr(config.mesh.announce, config.mesh.port)] }
        : {}),
    },
  );
  const refusals: Refusals = new Refusals({
    ...deps,
    tell: async (peerId) => void (await link.request({ kind: "refused", peerId })),
  });
  const artifacts = new Artifacts({
    ...deps,
    lastKnown,
    ask: (name, version, tag, options) =>
      link.request({ kind: "resolve", name, version, tag }, options),
    connected: () => link.connected,
    ensure: (hash, staging) => mesh.ensure(hash, staging),
    pin: (hash, owner) => void mesh.pins.add(hash, owner),
    unpin: (hash, owner) => mesh.pins.remove(hash, owner),
    markUsed: (hash) => mesh.markUsed(hash),
    active: (hash) => mesh.path(hash) !== null,
  });
  const publishing = new Publishing({
    ...deps,
    mesh,
    sources,
    announce: (manifest, tags) =>
      link.request({ kind: "publish", manifest, tags }, { timeoutMs: PUBLISH_MS_MAX }),
  });
  const mirroring = new Mirroring(
    {
      ...deps,
      mesh,
      reader: new Reader({ clock: deps.clock, mesh }),
      sources,
      publishing,
      lastKnown,
      ask: (asking) => link.request(asking, { timeoutMs: IMAGES_MS_MAX }),
      connected: () => link.connected,
    },
    config.mirror,
  );
  const following = new Following({
    ...deps,
    sources,
    publishing,
    connected: () => link.connected,
    moveTag: async (ref, tag) => (await link.request({ kind: "tag", ...ref, tag })).moved,
  });
  return { link, mesh, artifacts, renewal, sources, refusals, publishing, mirroring, following };
}

/** The port after the node's unless another is set. */
function bulkEndpoint({ listen, port, bulkPort }: AgentConfig["mesh"]) {
  const next = port === 0 || port === 65535 ? 0 : port + 1;
  return { host: listen, port: bulkPort ?? next, insist: bulkPort !== undefined && bulkPort > 0 };
}

function multiaddr(address: string, port: number): string {
  return `/${address.includes(":") ? "ip6" : "ip4"}/${address}/tcp/${port}`;
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
