/** Carries out what the HTTP API asks for, with what the conductor has. */
import type {
  Applied,
  AuditQuery,
  AuditView,
  DoctorView,
  ForecastQuery,
  ForecastView,
  HistoryRow,
  HostList,
  ImportCommit,
  Imported,
  ImportQuery,
  ImportStaged,
  LedgerQuery,
  PlanQuery,
  PlanView,
  Status,
  WhyView,
} from "../shared/api.ts";
import type { EventsQuery, EventsRemoval, EventsRequest } from "../shared/api-signals.ts";
import type {
  ScheduleRequest,
  StagedList,
  StagedQuery,
  StageRequest,
  StageStatus,
} from "../shared/api-stages.ts";
import type { HostId } from "../shared/domain.ts";
import { PrestageError } from "../shared/errors.ts";
import type { Report } from "../shared/protocol/bodies.ts";
import type { Clock } from "../shared/runtime/clock.ts";
import type { WorkloadsFile } from "../shared/workload.ts";
import type { Catalog } from "./catalog.ts";
import type { Experts } from "./experts.ts";
import type { Fleet } from "./fleet/hosts.ts";
import type { Following } from "./following.ts";
import type { Calibration } from "./forecast/calibration.ts";
import type { Caller, Operations } from "./gateway/operations.ts";
import type { Importing } from "./importing.ts";
import type { Planning } from "./planning.ts";
import type { Scheduling } from "./scheduling.ts";
import type { Signalling } from "./signalling.ts";
import { staged } from "./staged.ts";
import type { ExplicitStages } from "./stages.ts";
import type { Store } from "./store/store.ts";
import type { Trust } from "./trust/trust.ts";
import {
  accusations,
  environmentCounts,
  followCheck,
  hostChecks,
  hostView,
  liarCheck,
  publisherCheck,
  scrubCheck,
  signalCheck,
  stageChecks,
  totals,
  why,
} from "./views.ts";

export type OperationsDeps = {
  clock: Clock;
  demandClock: Clock;
  fleetName: string;
  software: string;
  store: Store;
  trust: Trust;
  fleet: Fleet;
  importing: Importing;
  catalog: Catalog;
  planning: Planning;
  signals: Signalling;
  following: Following;
  experts: Experts;
  stages: ExplicitStages;
  scheduling: Scheduling;
  reports: ReadonlyMap<HostId, Report>;
  calibration(): Calibration;
  /** Workloads came in: what is derived from them has to be made anew. */
  workloadsChanged(): void;
};

const HOUR_MS = 3_600_000;
const FORECAST_BINS = 60;
const RECENT_BINS = 120;

/** `startedMs` is when this process began to serve. */
export function makeOperations(deps: OperationsDeps, startedMs: number): Operations {
  const reading = makeReading(deps, startedMs);
  const changing = makeChanging(deps);
  const { trust, experts } = deps;
  return {
    ...reading,
    ...changing,
    models: () => experts.list(),
    addModel: (request, by) => experts.add(request, by.name),
    removeModel: (name) => experts.remove(name),
    createJoinToken: (request, by) => trust.createJoinToken(request, by),
    revokeHost: async (host, by) => ({ host, epoch: await trust.revoke(host, by) }),
    createApiToken: async (request, by) => ({
      name: request.name,
      role: request.role,
      ...(await trust.access.create(request, by)),
    }),
    apiTokens: () => ({ tokens: trust.access.list() }),
    revokeApiToken: async (name, by) => {
      await trust.access.revoke(name, by);
      return { tokens: trust.access.list() };
    },
    publishers: () => ({ publishers: trust.publishers.views() }),
    trustPublisher: async (request, by) => {
      await trust.publishers.trust(request, by);
      return { publishers: trust.publishers.views() };
    },
    distrustPublisher: async (name, by) => {
      await trust.publishers.distrust(name, by);
      return { publishers: trust.publishers.views() };
    },
    follows: () => deps.following.list(),
    follow: (request, by) => deps.following.add(request, by.name),
    unfollow: (request) => deps.following.remove(request),
    ca: () => trust.caPem,
    enroll: (request, address) => trust.enroll(request, address),
    renew: (identity, address) => trust.renew(identity, address),
  };
}

function makeReading(deps: OperationsDeps, startedMs: number) {
  const { store, fleet, catalog, planning, trust, signals } = deps;
  return {
    signals: () => signals.view(),
    events: (query: EventsQuery) => signals.events(query),
    status: (): Status => status(deps, startedMs),
    hosts: (): HostList => hostList(deps),
    plan: ({ workload, host, includeRefused }: PlanQuery): PlanView => ({
      version: planning.plan.version,
      madeMs: planning.plan.madeMs,
      paused: planning.paused,
      orders: planning.plan.orders.filter(
        (o) =>
          (includeRefused || o.taken) &&
          (workload === undefined || o.workload === workload) &&
          (host === undefined || o.host === host),
      ),
    }),
    forecast: ({ workload, category, host }: ForecastQuery): ForecastView => {
      if (!catalog.workload(workload))
        throw new PrestageError("NOT_FOUND", `no workload is called ${workload}`);
      const categories = category === undefined ? planning.categories(workload) : [category];
      return {
        forecasts: categories.map((c) => ({
          ...planning.forecast(workload, c, host ?? null, FORECAST_BINS),
          ...planning.watched(workload, c, RECENT_BINS),
        })),
      };
    },
    why: (target: string): WhyView =>
      why(target, {
        orders: planning.plan.orders,
        ledger: (filter) => store.ledger.query({ ...filter, limit: 20 }),
        isWorkload: (name) => catalog.workload(name) !== undefined,
        isHost: (name) => fleet.get(name) !== undefined,
        isArtifact: (name, version) => catalog.manifestHash(name, version) !== null,
        serving: (workload, category) =>
          planning.routes.entries.find((e) => e.workload === workload && e.category === category)
            ?.serving ?? [],
        announced: (workload, category) => signals.announced(workload, category),
      }),
    ledger: (query: LedgerQuery) => ({ rows: store.ledger.query(query) }),
    doctor: (): DoctorView => doctor(deps),
    workloads: () => ({ classes: catalog.classes, workloads: catalog.workloads }),
    budgets: () => planning.budgets(),
    artifacts: () => ({
      artifacts: store.artifacts.list().map(({ name, version, hash, ...row }) => ({
        ...row,
        ref: { name, version },
        manifestHash: hash,
        holders: holders(deps, hash),
      })),
    }),
    stageStatus: (id: string): StageStatus => {
      const stage = deps.stages.get(id);
      if (!stage) throw new PrestageError("NOT_FOUND", `no staging has the id ${id}`);
      return deps.stages.status(stage, planning.stageView());
    },
    stages: () => deps.scheduling.list(),
    staged: ({ artifact }: StagedQuery): StagedList =>
      staged(artifact, {
        artifacts: store.artifacts.list(),
        hosts: fleet.all().filter((h) => !h.revoked),
        orders: planning.plan.orders,
        stages: deps.stages,
        needs: (workload, category) => catalog.needs(workload, category),
        ...planning.stageView(),
      }),
    audit: ({ limit, verify }: AuditQuery): AuditView => ({
      rows: trust.audit.newest(limit),
      head: trust.audit.head(),
      verified: verify ? trust.audit.verify() : null,
    }),
  };
}

function makeChanging(deps: OperationsDeps) {
  const { store, catalog, planning } = deps;
  const changed = () => {
    catalog.reload();
    planning.tick();
  };
  const setPaused = async (paused: boolean) => {
    await store.models.setState("paused", paused);
    planning.paused = paused;
    changed();
    return { paused };
  };
  return {
    postEvents: (request: EventsRequest) => deps.signals.post(request),
    removeEvents: (request: EventsRemoval) => deps.signals.remove(request),
    apply: async (file: WorkloadsFile, by: Caller): Promise<Applied> => {
      const applied = await store.workloads.apply(file, by.name);
      changed();
      deps.workloadsChanged();
      return applied;
    },
    removeWorkload: async (name: string): Promise<Applied> => {
      const applied = await store.workloads.remove([name]);
      if (applied.removed.length === 0)
        throw new PrestageError("NOT_FOUND", `no workload is called ${name}`);
      changed();
      return applied;
    },
    stage: (request: StageRequest, by: Caller) => deps.scheduling.stage(request, by.name),
    schedule: (request: ScheduleRequest, by: Caller) => deps.scheduling.add(request, by.name),
    cancelStage: (id: string) => deps.scheduling.cancel(id),
    pause: () => setPaused(true),
    resume: () => setPaused(false),
    stageHistory: (query: ImportQuery, rows: AsyncIterable<HistoryRow>): Promise<ImportStaged> =>
      deps.importing.stage(query, rows),
    importHistory: (body: ImportCommit): Promise<Imported> => deps.importing.commit(body),
  };
}

function hostList({ trust, fleet, planning, reports }: OperationsDeps): HostList {
  const accused = accusations(reports);
  const routers = new Map(trust.members().members.map((m) => [m.host, m.routerUrl]));
  const hosts = trust.hosts().flatMap((facts) => {
    const record = fleet.get(facts.host);
    if (!record) return [];
    return [
      hostView(record, {
        peerId: facts.peerId,
        certificateExpiresMs: facts.certificateExpiresMs,
        routerUrl: routers.get(facts.host) ?? null,
        throttled: planning.throttled.has(facts.host),
        accusedBy: accused.get(facts.host) ?? [],
      }),
    ];
  });
  return { hosts };
}

function holders({ reports }: OperationsDeps, hash: string): HostId[] {
  return [...reports]
    .filter(([, r]) => r.holdings.some((h) => h.manifestHash === hash && h.bytesHave === h.bytes))
    .map(([host]) => host);
}

/** Versions whose signer counts no more, and the hosts that still have them. */
function distrustedHeld(deps: OperationsDeps): { what: string; reason: string; hosts: HostId[] }[] {
  const policy = deps.trust.publishers.policy();
  return deps.store.artifacts.list().flatMap(({ name, version, hash, publicKey }) => {
    const reason = policy.judge(publicKey, name);
    if (!reason) return [];
    const held = [...deps.reports].filter(([, r]) =>
      r.holdings.some((h) => h.manifestHash === hash),
    );
    const hosts = held.map(([host]) => host);
    return hosts.length > 0 ? [{ what: `${name}@${version}`, reason, hosts }] : [];
  });
}

function status(deps: OperationsDeps, startedMs: number): Status {
  const { clock, demandClock, fleet, catalog, planning, store, trust } = deps;
  const hosts = fleet.all().filter((h) => !h.revoked);
  const modes = { observe: 0, advise: 0, act: 0 };
  for (const { mode } of catalog.workloads) modes[mode]++;
  const { plan, routes } = planning;
  const calibration = deps.calibration();
  return {
    fleet: deps.fleetName,
    version: deps.software,
    nowMs: clock.now(),
    demandNowMs: demandClock.now(),
    startedMs,
    paused: planning.paused,
    hosts: { enrolled: hosts.length, connected: hosts.filter((h) => h.connected).length },
    workloads: modes,
    environments: environmentCounts(hosts),
    plan:
      plan.version === 0
        ? null
        : {
            version: plan.version,
            madeMs: plan.madeMs,
            orders: plan.orders.filter((o) => o.taken).length,
          },
    routesVersion: routes.version,
    membersEpoch: trust.members().epoch,
    outcomes: store.ledger.outcomeCounts(Math.max(0, demandClock.now() - 24 * HOUR_MS)),
    ...totals(deps.reports.values()),
    calibration: calibration.samples > 0 ? calibration : null,
    signals: deps.signals.counts(),
  };
}

function doctor(deps: OperationsDeps): DoctorView {
  const { fleet, planning, catalog, store, signals, clock } = deps;
  const unpublished = catalog.workloads
    .filter(
      (w) => w.category.from === "fixed" && catalog.needs(w.name, w.category.default) === null,
    )
    .map((w) => w.name);
  const { commits, writers } = store.durability;
  return {
    checks: [
      ...hostChecks(fleet.all(), planning.throttled),
      ...stageChecks(deps.scheduling.list(), deps.demandClock.now()),
      scrubCheck(deps.reports),
      liarCheck(accusations(deps.reports)),
      publisherCheck(distrustedHeld(deps)),
      {
        name: "artifacts",
        status: unpublished.length === 0 ? "ok" : "fail",
        detail:
          unpublished.length === 0
            ? "all declared ones are published"
            : `not published for ${unpublished.slice(0, 5).join(", ")}`,
        remedy: unpublished.length === 0 ? "" : "Publish them with `prestage publish`.",
      },
      followCheck(deps.following.list().follows),
      signalCheck(signals.failing(), signals.counts(), clock.now()),
      {
        name: "pre-work",
        status: planning.paused ? "warn" : "ok",
        detail: planning.paused ? "paused by an operator" : "running",
        remedy: planning.paused ? "`prestage resume`" : "",
      },
      {
        name: "database",
        status: "ok",
        detail: `${writers} writes in ${commits} synced transactions since the start`,
        remedy: "",
      },
    ],
  };
}
