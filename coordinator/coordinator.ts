/**
 * The conductor of a coordinator: opens the store, makes the rooms, hands each what it needs of
 * the others. Only this file and its neighbours at this level know more than one room.
 */
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { categoryKey, type HostId } from "../shared/domain.ts";
import { PrestageError } from "../shared/errors.ts";
import { packManifest } from "../shared/packed-manifest.ts";
import type { Hello, ReplyBody, Report, RequestBody } from "../shared/protocol/bodies.ts";
import { demandClock } from "../shared/replay.ts";
import { type Clock, every } from "../shared/runtime/clock.ts";
import type { Log } from "../shared/runtime/log.ts";
import type { Metrics } from "../shared/runtime/metrics.ts";
import type { Random } from "../shared/runtime/random.ts";
import { TaskGroup } from "../shared/runtime/tasks.ts";
import { Affinities } from "./affinities.ts";
import { Catalog } from "./catalog.ts";
import type { CoordinatorConfig } from "./config.ts";
import { DemandHistory } from "./demand/history.ts";
import { Experts } from "./experts.ts";
import { Elsewhere } from "./fleet/elsewhere.ts";
import { Fleet } from "./fleet/hosts.ts";
import { Following } from "./following.ts";
import { calendarOf } from "./forecast/calendar.ts";
import { Gateway } from "./gateway/api.ts";
import { Sessions } from "./gateway/sessions.ts";
import { ImageCatalog } from "./images.ts";
import { Importing } from "./importing.ts";
import { Learning } from "./learning.ts";
import { MeasuredCosts } from "./measured.ts";
import { makeOperations } from "./operations.ts";
import type { Prices } from "./plan/input.ts";
import { type Expected, Planning } from "./planning.ts";
import { Prewarming } from "./prewarming.ts";
import { Publications } from "./publications.ts";
import { Relearning } from "./relearning.ts";
import { makeScheduling, type Scheduling } from "./scheduling.ts";
import { Signalling } from "./signalling.ts";
import { ExplicitStages } from "./stages.ts";
import { Store } from "./store/store.ts";
import { Trust } from "./trust/trust.ts";
import { Tuning } from "./tuning.ts";
import { serving } from "./views.ts";

export type CoordinatorDeps = {
  config: CoordinatorConfig;
  clock: Clock;
  random: Random;
  log: Log;
  metrics: Metrics;
  software: string;
  /** Environment variables, for secrets that the config names. */
  env: Readonly<Record<string, string | undefined>>;
};

const HOUSEKEEPING_MS = 600_000;
const DAY_MS = 86_400_000;
const BANDIT = "bandit";
const PREWARM = "prewarm";
const FORECAST = "forecast";
const CLI_FILE = "cli.json";

export class Coordinator {
  readonly #config: CoordinatorConfig;
  readonly #clock: Clock;
  readonly #demandClock: Clock;
  readonly #log: Log;
  readonly #store: Store;
  readonly #trust: Trust;
  readonly #fleet = new Fleet();
  readonly #history = new DemandHistory();
  readonly #catalog: Catalog;
  readonly #measured = new MeasuredCosts();
  readonly #images: ImageCatalog;
  readonly #sessions: Sessions;
  readonly #learning: Learning;
  readonly #affinities: Affinities;
  readonly #experts: Experts;
  readonly #signals: Signalling;
  readonly #tuning: Tuning;
  readonly #prewarming: Prewarming;
  readonly #planning: Planning;
  readonly #stages: ExplicitStages;
  readonly #scheduling: Scheduling;
  readonly #gateway: Gateway;
  readonly #following: Following;
  readonly #publications: Publications;
  readonly #elsewhere: Elsewhere;
  readonly #importing: Importing;
  readonly #reports = new Map<HostId, Report>();
  readonly #relearning: Relearning;
  #port = 0;

  private constructor(deps: CoordinatorDeps, store: Store, trust: Trust) {
    const { config, clock, random, log, metrics } = deps;
    this.#config = config;
    this.#clock = clock;
    this.#demandClock = demandClock(clock, config.replay);
    this.#log = log;
    this.#store = store;
    this.#trust = trust;
    this.#images = new ImageCatalog({ store, trust, clock: this.#clock });
    const common = { clock, demandClock: this.#demandClock, random, log, metrics, store };
    this.#catalog = new Catalog(store);
    this.#elsewhere = new Elsewhere((hash) =>
      this.#fleet.with(hash, store.artifacts.facts(hash)?.publisher),
    );
    const stages = new ExplicitStages(store.models);
    this.#stages = stages;
    const measured = this.#measured;
    this.#affinities = new Affinities(
      { ...common, history: this.#history },
      { dataDir: config.dataDir, signingKey: trust.signingKey },
    );
    this.#experts = new Experts(
      { ...common, history: this.#history },
      { learns: config.replay === undefined },
    );
    const { env } = deps;
    this.#signals = new Signalling({
      ...common,
      env,
      history: this.#history,
      settings: config.signals,
      pastLearned: () => this.#relearning.pastChanged(),
    });
    this.#prewarming = new Prewarming({
      ...common,
      history: this.#history,
      catalog: this.#catalog,
      measured,
      speed: config.replay?.speed ?? 1,
      state: store.models.state(PREWARM),
    });
    this.#tuning = new Tuning({
      ...common,
      history: this.#history,
      catalog: this.#catalog,
      measured,
      speed: config.replay?.speed ?? 1,
      state: store.models.state(BANDIT),
    });
    this.#learning = new Learning({
      ...common,
      measured,
      weight: (workload) => this.#catalog.priority(workload) / 100,
      arm: (workload, category) => this.#tuning.current(workload, category),
      mix: (workload, category) => this.#planning.forecast(workload, category, null, 1).mix,
    });
    this.#sessions = new Sessions({
      ...common,
      identify: (socket) => trust.identify(socket),
      handlers: this.#handlers(),
    });
    this.#following = new Following({
      ...common,
      live: () => this.#fleet.all().flatMap((h) => (h.connected && !h.revoked ? [h.id] : [])),
      changed: () => this.#planning.tick(),
    });
    this.#publications = new Publications({
      store,
      trust,
      changed: () => this.#catalog.artifactsChanged(),
      follows: (host) => this.#following.ordersFor(host),
    });
    this.#planning = new Planning(
      {
        ...common,
        fleet: this.#fleet,
        history: this.#history,
        catalog: this.#catalog,
        measured,
        stages,
        eventEffect: (...asked) => this.#signals.eventEffect(...asked),
        calendar: calendarOf(config.forecast.timeZone),
        outlook: (...asked) => this.#experts.outlook(...asked),
        forecastState: store.models.state(FORECAST),
        affinity: (workload, host) => this.#affinities.score(workload, host),
        aggressiveness: (workload, category) => this.#tuning.arm(workload, category),
        support: (workload, category, now) => this.#prewarming.support(workload, category, now),
        minute: (minute, seen, prices) => this.#minute(minute, seen, prices),
        model: () => this.#affinities.model,
        follows: (host) => this.#following.ordersFor(host),
        planned: (orders, now) => this.#learning.planned(orders, now, this.#planning.prices),
        send: {
          desired: (host, desired) => this.#sessions.setDesired(host, desired),
          routes: (table) => this.#sessions.setRoutes(table),
        },
      },
      config,
    );
    const { planning, fleet } = { planning: this.#planning, fleet: this.#fleet };
    this.#scheduling = makeScheduling({ ...common, trust, stages, planning, fleet });
    this.#relearning = new Relearning({
      clock: this.#clock,
      freeze: () => planning.freeze(),
      forecasts: async (signal) => {
        await planning.relearn(signal);
        await this.#saveForecasts();
      },
      prices: async (signal) => {
        const { memoryRatio } = config.plan;
        const known = await this.#prewarming.relearn(memoryRatio, this.#demandClock.now(), signal);
        if (known) this.#reprice();
        return known;
      },
    });
    this.#importing = new Importing({
      ...common,
      history: this.#history,
      demandChanges: () => this.#relearning.historyChanges(),
      demandChanged: () => {
        this.#signals.historyChanged();
        this.#relearning.historyChanged();
      },
    });
    this.#gateway = new Gateway(
      {
        ...common,
        trust,
        modelsDir: join(config.dataDir, "models"),
        operations: makeOperations(
          {
            ...common,
            fleetName: config.fleet,
            software: deps.software,
            trust,
            fleet: this.#fleet,
            importing: this.#importing,
            catalog: this.#catalog,
            planning: this.#planning,
            signals: this.#signals,
            following: this.#following,
            experts: this.#experts,
            stages,
            scheduling: this.#scheduling,
            reports: this.#reports,
            calibration: () => this.#planning.calibration(),
            workloadsChanged: () => this.#relearning.workloadsChanged(),
          },
          clock.now(),
        ),
      },
      config.listen,
    );
  }

  /** Opens store and trust; throws what they refuse. */
  static async open(deps: CoordinatorDeps): Promise<Coordinator> {
    const { config, clock, log } = deps;
    const store = Store.open(config.dataDir);
    try {
      const trust = await Trust.open({ ...config, store, clock, log });
      return new Coordinator(deps, store, trust);
    } catch (cause) {
      store.close();
      throw cause;
    }
  }

  /** Works until the signal aborts; what was acknowledged is on disk whenever that is. */
  async run(signal: AbortSignal): Promise<void> {
    const tasks = new TaskGroup(signal);
    try {
      this.#restore();
      this.#followTrust();
      this.#sessions.attach(this.#gateway.server);
      tasks.start("trust", (s) => this.#trust.run(s));
      tasks.start("gateway", (s) => this.#gateway.run(s));
      this.#port = (await this.#gateway.address()).port;
      await this.#writeCliContext();
      tasks.start("sessions", (s) => this.#sessions.run(s));
      tasks.start("planning", (s) => this.#planning.run(s));
      tasks.start("scheduling", (s) => this.#scheduling.run(s));
      tasks.start("learning", (s) => this.#learning.run(s));
      tasks.start("following", (s) => this.#following.run(s));
      tasks.start("signals", (s) => this.#signals.run(s));
      tasks.start("experts", (s) => this.#experts.run(s));
      tasks.start("affinities", (s) => this.#affinities.run(s));
      tasks.start("relearning", (s) => this.#relearning.run(s));
      tasks.start("housekeeping", (s) =>
        every(this.#clock, HOUSEKEEPING_MS, s, () => this.#housekeep()),
      );
      this.#log.info({ url: this.#url(), fleet: this.#config.fleet }, "coordinator serves");
    } catch (cause) {
      tasks.stop(cause);
      throw cause;
    } finally {
      try {
        await tasks.done();
        await this.#saveForecasts();
      } finally {
        this.#store.close();
      }
    }
  }

  // ── start ──────────────────────────────────────────────────────────────────────────────────

  #restore(): void {
    const now = this.#demandClock.now();
    const fromMs = now - this.#config.plan.historyDays * DAY_MS;
    for (const bin of this.#store.demand.bins({ fromMs, toMs: now + DAY_MS }))
      this.#history.add(bin);
    for (const { host, site, revoked } of this.#trust.hosts()) {
      this.#fleet.apply(host, { kind: "enrolled", site }, now);
      if (revoked) this.#fleet.apply(host, { kind: "revoked" }, now);
    }
    this.#signals.restore();
    this.#planning.paused = this.#store.models.state("paused") === true;
    for (const outcome of this.#store.ledger.outcomes({ fromMs: now - DAY_MS }))
      this.#measured.learn(outcome);
  }

  #followTrust(): void {
    const announce = (list: ReturnType<Trust["members"]>) => {
      const now = this.#demandClock.now();
      for (const { host, site } of list.members)
        if (!this.#fleet.get(host) || this.#fleet.get(host)?.revoked)
          this.#fleet.apply(host, { kind: "enrolled", site }, now);
      this.#sessions.setMembers(list);
    };
    this.#trust.onMembers(announce);
    announce(this.#trust.members());
    this.#trust.onRevoked((host) => {
      this.#fleet.apply(host, { kind: "revoked" }, this.#demandClock.now());
      this.#sessions.disconnect(host, "REVOKED");
      this.#planning.tick();
    });
  }

  #url(): string {
    const [name = "localhost"] = this.#config.hostnames;
    return `https://${name.includes(":") ? `[${name}]` : name}:${this.#port}`;
  }

  /** How the commands on this machine reach and prove themselves to this coordinator. */
  async #writeCliContext(): Promise<void> {
    const file = join(this.#config.dataDir, CLI_FILE);
    const token = await this.#trust.firstAdminToken({ lost: !existsSync(file) });
    if (token === null) return;
    const context = { url: this.#url(), caFile: "ca.pem", token };
    writeFileSync(file, `${JSON.stringify(context, null, 2)}\n`, { mode: 0o600 });
    this.#log.info({ file }, "wrote the admin's context for the command line");
  }

  // ── sessions ───────────────────────────────────────────────────────────────────────────────

  #handlers() {
    const now = () => this.#demandClock.now();
    return {
      connected: (host: HostId, hello: Hello) => {
        this.#fleet.apply(host, { kind: "hello", site: hello.site, hello }, now());
        const { meshAddresses, routerUrl } = hello;
        void this.#trust.updateMember(host, { meshAddresses, routerUrl }).catch((cause) => {
          this.#log.error({ err: cause, host }, "addresses of a member not kept");
        });
        this.#planning.tick();
      },
      disconnected: (host: HostId) => {
        this.#fleet.apply(host, { kind: "disconnected" }, now());
      },
      report: (host: HostId, report: Report) => this.#takeReport(host, report),
      records: async (...[host, bootId, seq, demand, outcomes]: RecordsArguments) => {
        const own = demand.filter((bin) => bin.host === host);
        const added = await this.#store.demand.append(host, bootId, seq, own, outcomes);
        if (!added) return;
        for (const bin of own) this.#history.add(bin);
        this.#learning.outcomes(outcomes);
        for (const outcome of outcomes) this.#affinities.learn(outcome);
      },
      request: (host: HostId, body: RequestBody) => this.#answer(host, body),
      lastSeq: (host: HostId, bootId: string) => this.#store.demand.lastSeq(host, bootId),
    };
  }

  #takeReport(host: HostId, report: Report): void {
    const before = this.#reports.get(host);
    this.#reports.set(host, report);
    this.#fleet.apply(
      host,
      { kind: "report", report: { ...report, stagedBytes: report.staged } },
      this.#demandClock.now(),
    );
    this.#affinities.sampled(host, report);
    this.#stages.reported(this.#fleet.get(host), this.#demandClock.now());
    this.#measured.reported(report.environments);
    this.#following.reported(host, report.follows ?? []).catch((cause: unknown) => {
      this.#log.error({ err: cause, host }, "state of followed tags not kept");
    });
    if (serving(before) !== serving(report)) this.#planning.publishRoutes();
  }

  async #answer(host: HostId, body: RequestBody): Promise<ReplyBody> {
    const { artifacts } = this.#store;
    switch (body.kind) {
      case "publish":
        return this.#publications.publish(host, body);
      case "resolve": {
        const { name, version, tag } = body;
        const row = artifacts.resolve(
          name,
          version === null ? { tag: tag ?? "latest" } : { version },
        );
        if (!row)
          throw new PrestageError(
            "NOT_FOUND",
            `${name}${version ? `@${version}` : `:${tag}`} is not published`,
          );
        const ref = { name: row.name, version: row.version };
        this.#trust.publishers.require(row);
        return { kind: "resolve", ref, manifestHash: row.hash };
      }
      case "manifest": {
        const manifest = artifacts.manifest(body.hash);
        const facts = artifacts.facts(body.hash);
        if (!manifest || !facts) throw new PrestageError("NOT_FOUND", `no manifest ${body.hash}`);
        this.#trust.publishers.require(facts);
        return { kind: "manifest", manifest: await packManifest(manifest) };
      }
      case "model":
        return { kind: "model", model: this.#affinities.model };
      case "refused":
        this.#trust.audit.refused({
          actor: "unknown",
          address: "",
          action: "mesh.connect",
          object: body.peerId,
          detail: { at: host },
        });
        return { kind: "refused" };
      case "elsewhere": {
        const asker = { host, site: this.#fleet.get(host)?.site ?? "" };
        const now = this.#clock.monotonic();
        const wants = body.wants.map((want) => this.#elsewhere.answer(asker, want, now));
        return { kind: "elsewhere", wants };
      }
      case "images":
      case "claim":
        return this.#images.answer(host, body);
      case "tag":
        return { kind: "tag", moved: await this.#publications.moveTag(host, body) };
    }
  }

  // ── upkeep ─────────────────────────────────────────────────────────────────────────────────

  #minute(minute: number, seen: Iterable<Expected>, { memoryGbHour }: Prices): void {
    const curves = [...seen];
    this.#tuning.minute(minute, curves, memoryGbHour);
    this.#prewarming.minute(minute, curves, memoryGbHour);
    this.#reprice();
  }

  #reprice(): void {
    const memoryGbHour = this.#prewarming.memoryGbHour(this.#config.plan.memoryRatio);
    if (memoryGbHour !== null) this.#planning.prices = { ...this.#planning.prices, memoryGbHour };
  }

  async #saveForecasts(): Promise<void> {
    const state = this.#planning.forecastState();
    if (state) await this.#store.models.setState(FORECAST, state);
  }

  async #housekeep(): Promise<void> {
    const beforeMs = this.#demandClock.now() - this.#config.plan.historyDays * DAY_MS;
    this.#history.prune(beforeMs);
    const keys = this.#history.keys().map((k) => categoryKey(k.workload, k.category));
    this.#tuning.retain(new Set(keys));
    this.#prewarming.retain(new Set(keys));
    await this.#store.models.setState(BANDIT, this.#tuning.state());
    await this.#store.models.setState(PREWARM, this.#prewarming.state());
    await this.#saveForecasts();
    await this.#store.demand.prune(beforeMs);
    await this.#store.imports.prune(beforeMs);
    await this.#importing.dropLeftOver();
    await this.#store.ledger.prune(beforeMs);
  }
}

type RecordsArguments = Parameters<
  ConstructorParameters<typeof Sessions>[0]["handlers"]["records"]
>;
