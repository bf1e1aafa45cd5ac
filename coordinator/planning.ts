/**
 * The loop `demand → forecast → plan → desired states → routes`: each tick gathers what the pure
 * rooms need, lets them decide, and hands the results to the sessions.
 */
import type { BudgetList } from "../shared/api-budgets.ts";
import type { Forecast, HostId, Order, Plan, Reason, RouteTable } from "../shared/domain.ts";
import { categoryKey } from "../shared/domain.ts";
import type { FollowOrder } from "../shared/follow.ts";
import type { DesiredState as DesiredMessage, ModelRef } from "../shared/protocol/bodies.ts";
import { every } from "../shared/runtime/clock.ts";
import type { Log } from "../shared/runtime/log.ts";
import type { Counter, Gauge, Histogram, Metrics } from "../shared/runtime/metrics.ts";
import type { Catalog } from "./catalog.ts";
import type { CoordinatorConfig } from "./config.ts";
import type { Fleet, HostSummary, LivenessOptions } from "./fleet/hosts.ts";
import type { ArrivalCurve } from "./forecast/arrivals.ts";
import type { Calibration } from "./forecast/calibration.ts";
import {
  type CategoryRecord,
  Foresight,
  type ForesightDeps,
  type ForesightState,
} from "./foresight.ts";
import { Leasing } from "./leasing.ts";
import type { MeasuredCosts } from "./measured.ts";
import { STAGE_HORIZON_MS } from "./plan/candidate.ts";
import type { Support } from "./plan/decide.ts";
import { type DesiredState, desiredStates } from "./plan/desired.ts";
import { hostBudget } from "./plan/host-budget.ts";
import type { Aggressiveness, PlanInput, Prices } from "./plan/input.ts";
import { plan } from "./plan/planner.ts";
import { DEFAULT_THROTTLE, NO_THROTTLE, stepThrottle, type Throttle } from "./plan/throttle.ts";
import { EMPTY_TABLE, routeTable } from "./route/table.ts";
import type { ExplicitStages, StageView } from "./stages.ts";

export type Expected = { workload: string; category: string; hazardPerMinute: readonly number[] };

export type PlanningDeps = ForesightDeps & {
  log: Log;
  metrics: Metrics;
  fleet: Fleet;
  catalog: Catalog;
  measured: MeasuredCosts;
  stages: ExplicitStages;
  affinity(workload: string, host: HostSummary): number;
  aggressiveness(workload: string, category: string): Aggressiveness;
  support(workload: string, category: string, now: number): Support;
  model(): ModelRef | null;
  /** Followed tags that the host looks after. */
  follows(host: HostId): FollowOrder[];
  /** A demand minute begins, with what is expected of every category. */
  minute(minute: number, seen: Iterable<Expected>, prices: Prices): void;
  /** Every plan as it is made. */
  planned(orders: readonly Order[], now: number): void;
  send: {
    desired(host: HostId, desired: DesiredMessage): void;
    routes(table: RouteTable): void;
  };
};

const MINUTE_MS = 60_000;
const HELD_BY = { peak: "host-peak", request: "host-request" } as const;

export class Planning {
  readonly #deps: PlanningDeps;
  readonly #config: CoordinatorConfig;
  readonly #speed: number;
  readonly #liveness: LivenessOptions;
  readonly #tickSeconds: Histogram;
  readonly #orders: Gauge<"kind">;
  readonly #ticks: Counter;
  readonly #foresight: Foresight;
  #desired: ReadonlyMap<HostId, DesiredState> = new Map();
  readonly #leasing: Leasing;
  #throttle: Throttle = NO_THROTTLE;
  #throttled: ReadonlySet<HostId> = new Set();
  #table: RouteTable;
  #homes: ReadonlyMap<string, HostId[]> = new Map();
  #peaks = new Map<HostId, number>();
  #plan: Plan = { version: 0, madeMs: 0, orders: [] };
  /** Until history calibrates it. */
  prices: Prices;
  paused = false;

  constructor(deps: PlanningDeps, config: CoordinatorConfig) {
    this.#deps = deps;
    this.#foresight = new Foresight(deps);
    this.#config = config;
    this.#leasing = new Leasing(deps, config);
    this.#speed = config.replay?.speed ?? 1;
    // A number no earlier start has used: an agent that comes back must not take it for its own.
    this.#table = { ...EMPTY_TABLE, version: Math.floor(deps.demandClock.now()) };
    this.#liveness = { suspectMs: 15_000 * this.#speed, goneMs: 60_000 * this.#speed };
    this.prices = { memoryGbHour: config.plan.gbHourCost, movedGb: 0.5, diskGbHour: 0.002 };
    this.#tickSeconds = deps.metrics.histogram({
      name: "prestage_plan_tick_seconds",
      help: "Time one plan took",
      buckets: [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3],
    });
    this.#ticks = deps.metrics.counter({ name: "prestage_plan_ticks_total", help: "Plans made" });
    this.#orders = deps.metrics.gauge({
      name: "prestage_plan_orders",
      help: "Orders of the present plan",
      labelNames: ["kind"],
    });
  }

  get plan(): Plan {
    return this.#plan;
  }
  get routes(): RouteTable {
    return this.#table;
  }
  get throttled(): ReadonlySet<HostId> {
    return this.#throttled;
  }
  budgets(): BudgetList {
    return this.#leasing.budgets(this.#deps.demandClock.now());
  }
  views(): HostSummary[] {
    return this.#deps.fleet.views(this.#deps.demandClock.now(), this.#liveness);
  }

  async run(signal: AbortSignal): Promise<void> {
    await this.#foresight.prepare(signal);
    await every(this.#deps.clock, this.#config.plan.tickMs, signal, () => this.tick());
  }

  /** One whole round. Called by the clock, and at once when an operator changes something. */
  tick(): void {
    const startMs = this.#deps.clock.monotonic();
    const now = this.#deps.demandClock.now();
    this.#learn(now);
    const views = this.views();
    this.#stepThrottle(views, now);
    const result = plan(this.#input(views, now));
    this.#homes = result.homes;
    this.#plan = { version: this.#plan.version + 1, madeMs: now, orders: result.orders };
    this.#leasing.grant(
      {
        connected: views.flatMap((v) => (v.connected ? [v.id] : [])),
        orders: result.orders,
        stopped: (host) => this.paused || this.#throttled.has(host),
      },
      now,
    );
    this.#sendDesired(views);
    this.publishRoutes(views);
    this.#deps.planned(result.orders, now);
    this.#observe(result.orders, startMs);
  }

  /** After reports changed what serves; cheap, and nothing is sent when nothing changed. */
  publishRoutes(views: readonly HostSummary[] = this.views()): void {
    const byId = new Map(views.map((v) => [v.id, v]));
    const table = routeTable(
      {
        hosts: views,
        keys: this.#keys(),
        affinity: (workload, host) => this.#affinity(workload, byId.get(host)),
        home: (workload, category) => this.#homes.get(categoryKey(workload, category)) ?? [],
        reportedVersion: Math.max(
          0,
          ...this.#deps.fleet.all().map((h) => reportedVersion(h, "routesVersion")),
        ),
      },
      this.#table,
    );
    if (table.version === this.#table.version) return;
    this.#table = table;
    this.#deps.send.routes(table);
  }

  forecast(workload: string, category: string, host: HostId | null, bins: number): Forecast {
    return this.#foresight.forecast(workload, category, host, bins);
  }

  /** Of `minutes` that are over. */
  watched(workload: string, category: string, minutes: number): CategoryRecord {
    return this.#foresight.watched(workload, category, minutes);
  }

  calibration(): Calibration {
    return this.#foresight.calibration();
  }

  curve(workload: string, category: string, now: number): ArrivalCurve {
    return this.#foresight.curve(workload, category, now);
  }

  /** What a planner that is started later is given, to go on forecasting as this one would. */
  forecastState(): ForesightState | null {
    return this.#foresight.state();
  }

  /** Before an import; see `Foresight.freeze`. */
  freeze(): void {
    this.#foresight.freeze();
  }

  /** After an import: what was learned is of another past. */
  async relearn(signal: AbortSignal): Promise<void> {
    await this.#foresight.relearn(signal);
    this.tick();
  }

  categories(workload: string): string[] {
    const found = new Set(this.#byWorkload.get(workload) ?? []);
    if (this.#deps.catalog.workload(workload)?.category.from === "fixed")
      found.add(this.#deps.catalog.workload(workload)?.category.default ?? "default");
    return [...found];
  }

  #byWorkload = new Map<string, string[]>();

  /** Forecasts learn a minute when it is over, not before. */
  #learn(now: number): void {
    const { history } = this.#deps;
    if (this.#foresight.update(now)) {
      const perSecond = this.#speed / 60;
      this.#peaks = new Map(
        [...this.#foresight.peaks(now)].map(([host, perMinute]) => [host, perMinute * perSecond]),
      );
      this.#deps.minute(Math.floor(now / MINUTE_MS), this.#expected(now), this.prices);
    }
    this.#byWorkload = Map.groupBy(history.keys(), (k) => k.workload)
      .entries()
      .reduce(
        (all, [workload, keys]) =>
          all.set(
            workload,
            keys.map((k) => k.category),
          ),
        new Map<string, string[]>(),
      );
  }

  *#expected(now: number): Generator<Expected> {
    for (const { workload, category } of this.#deps.history.keys()) {
      const { hazardPerMinute } = this.curve(workload, category, now);
      yield { workload, category, hazardPerMinute };
    }
  }

  #stepThrottle(views: readonly HostSummary[], now: number): void {
    const { peakRequestsPerSecond } = this.#config.qos;
    const peakCpu = this.#config.qos.peakCpu < 1 ? this.#config.qos.peakCpu : Infinity;
    const loads = views.flatMap((v) =>
      v.sample && v.connected
        ? [
            {
              host: v.id,
              site: v.site,
              cpuUsed: v.sample.cpuUsed,
              requestsPerSecond: v.sample.requestsPerSecond,
              forecastRequestsPerSecond: this.#peaks.get(v.id) ?? 0,
            },
          ]
        : [],
    );
    const calmMs = DEFAULT_THROTTLE.calmMs * this.#speed;
    const sitePeakCpu =
      Math.min(DEFAULT_THROTTLE.sitePeakCpu / DEFAULT_THROTTLE.peakCpu, 1) * peakCpu;
    const options = { peakCpu, peakRequestsPerSecond, sitePeakCpu, calmMs };
    const step = stepThrottle(this.#throttle, loads, { ...DEFAULT_THROTTLE, ...options }, now);
    this.#throttle = step.state;
    this.#throttled = step.throttled;
  }

  #input(views: readonly HostSummary[], now: number): PlanInput {
    const { catalog, measured, aggressiveness, support, stages } = this.#deps;
    const byId = new Map(views.map((v) => [v.id, v]));
    return {
      now,
      speed: this.#speed,
      workloads: catalog.workloads,
      classes: catalog.classes,
      hosts: views,
      categories: (workload) => this.categories(workload),
      curve: (workload, category) => this.curve(workload, category, now),
      artifacts: (workload, category) => catalog.needs(workload, category),
      measured: (workload) => measured.of(workload),
      affinity: (workload, host) => this.#affinity(workload, byId.get(host)),
      aggressiveness,
      support: (workload, category) => support(workload, category, now),
      budgets: {
        stagingBytes:
          (this.#config.qos.stagingBytesPerSecond * STAGE_HORIZON_MS) / 1000 / this.#speed,
        host: (id) => hostBudget(byId.get(id)),
      },
      prices: this.prices,
      explicit: stages.explicit(),
      paused: this.paused,
      throttled: this.#throttled,
      previous: this.#plan.orders,
    };
  }

  #affinity(workload: string, host: HostSummary | undefined): number {
    return host ? this.#deps.affinity(workload, host) : 0;
  }

  /** How things stand, for what was asked for by hand. */
  stageView(): StageView {
    const explicit = this.#plan.orders.filter((o) => o.workload === null);
    const byId = new Map(explicit.map((o) => [o.id, o]));
    const stopped = (order: Order): Reason | null => {
      const report = this.#deps.fleet.get(order.host)?.report;
      // Who has just come has no budget until it says what room it has.
      if (!order.taken && order.reason === "no-budget" && !report?.sample) return null;
      if (!order.taken) return order.reason;
      if (this.paused) return "paused";
      if (this.#throttled.has(order.host)) return "throttled";
      const heldBy = report?.heldBy;
      return heldBy ? HELD_BY[heldBy] : null;
    };
    return {
      record: (host) => this.#deps.fleet.get(host),
      waiting: (id) => {
        const order = byId.get(id);
        return order ? stopped(order) : null;
      },
      now: this.#deps.demandClock.now(),
    };
  }

  #sendDesired(views: readonly HostSummary[]): void {
    const { catalog, fleet, send, stages } = this.#deps;
    const view = this.stageView();
    const model = this.#deps.model();
    const connected = views.filter((v) => v.connected).map((v) => v.id);
    const next = desiredStates(
      {
        orders: this.#plan.orders,
        hosts: connected,
        manifestHash: (name, version) => catalog.manifestHash(name, version),
        priority: ({ id, workload }) =>
          workload === null ? stages.priority(id, view) : catalog.priority(workload),
        fingerprint: (host) =>
          [
            catalog.revision,
            this.#leasing.lease(host)?.id,
            this.paused,
            this.#throttled.has(host),
            model?.manifestHash,
            JSON.stringify(this.#deps.follows(host)),
          ].join("|"),
        reportedVersion: (host) => {
          const record = fleet.get(host);
          return record ? reportedVersion(record, "desiredVersion") : 0;
        },
      },
      this.#desired,
    );
    const shareOf = this.#demandShares();
    for (const [host, state] of next) {
      const lease = this.#leasing.lease(host);
      if (!lease || this.#desired.get(host)?.version === state.version) continue;
      send.desired(host, {
        version: state.version,
        hold: state.hold,
        environments: state.environments,
        workloads: catalog.workloads,
        lease,
        paused: this.paused,
        throttled: this.#throttled.has(host),
        demandShare: shareOf(host),
        model,
        follows: this.#deps.follows(host),
      });
    }
    // Hosts that are away keep theirs: a version must not come again with other content.
    this.#desired = new Map([...this.#desired, ...next]);
  }

  /** Share of each workload's requests that enter at a host, in tenths so that it keeps still. */
  #demandShares(): (host: HostId) => Record<string, number> {
    const { history, catalog } = this.#deps;
    const sharesOf = (workload: string) =>
      this.categories(workload).map((category) => history.hostShare(workload, category));
    let all: { name: string; shares: Map<HostId, number>[] }[] | null = null;
    return (host) => {
      all ??= catalog.workloads.map(({ name }) => ({ name, shares: sharesOf(name) }));
      return Object.fromEntries(
        all.map(({ name, shares }) => {
          const sum = shares.reduce((total, share) => total + (share.get(host) ?? 0), 0);
          const mean = sum / Math.max(1, shares.length);
          return [name, Math.min(1, Math.round(mean * 10) / 10)] as const;
        }),
      );
    };
  }

  *#keys(): Generator<{ workload: string; category: string }> {
    for (const { name } of this.#deps.catalog.workloads)
      for (const category of this.categories(name)) yield { workload: name, category };
  }

  #observe(orders: readonly Order[], startMs: number): void {
    this.#ticks.inc();
    this.#tickSeconds.observe((this.#deps.clock.monotonic() - startMs) / 1000);
    for (const kind of ["stage", "warm"] as const)
      this.#orders.set({ kind }, orders.filter((o) => o.taken && o.kind === kind).length);
  }
}

/** The version the agent last said it has, in its report or, before one, its hello. */
function reportedVersion(
  host: ReturnType<Fleet["all"]>[number],
  which: "desiredVersion" | "routesVersion",
): number {
  return Math.max(host.report?.[which] ?? 0, host.hello?.[which] ?? 0);
}
