/**
 * The simulated coordinator: the real session core per agent, the real fleet and the real planning
 * round (planner, leases, throttle, desired states, route table). A crash forgets everything but
 * what the ledger committed.
 */
import { Catalog } from "../../coordinator/catalog.ts";
import { CoordinatorConfig } from "../../coordinator/config.ts";
import { DemandHistory } from "../../coordinator/demand/history.ts";
import { Elsewhere, type Wanted } from "../../coordinator/fleet/elsewhere.ts";
import { Fleet } from "../../coordinator/fleet/hosts.ts";
import { UTC_CALENDAR } from "../../coordinator/forecast/calendar.ts";
import {
  AGENT_SESSION_DEFAULTS,
  type AgentSession,
  type AgentSessionEffect,
  type AgentSessionEvent,
  newAgentSession,
  nextAgentTickMs,
  stepAgent,
} from "../../coordinator/gateway/session.ts";
import { MeasuredCosts } from "../../coordinator/measured.ts";
import { PROGRAM_ALONE } from "../../coordinator/plan/decide.ts";
import { Planning } from "../../coordinator/planning.ts";
import { ExplicitStages } from "../../coordinator/stages.ts";
import type { Store } from "../../coordinator/store/store.ts";
import type { HostId, RouteTable } from "../../shared/domain.ts";
import { categoryKey } from "../../shared/domain.ts";
import type { DesiredState, Report } from "../../shared/protocol/bodies.ts";
import type { DownMessage, UpMessage } from "../../shared/protocol/messages.ts";
import { silentLog } from "../../shared/runtime/log.ts";
import { Metrics } from "../../shared/runtime/metrics.ts";
import type { Pipe } from "../support/network.ts";
import { SimLedger } from "./ledger.ts";
import type { Run } from "./run.ts";
import type { SimArtifact } from "./world.ts";

const PLAN_MS = 10_000;
const ROUTES_MS = 5000;

type Talk = {
  host: HostId;
  pipe: Pipe;
  deliver(message: DownMessage): void;
  session: AgentSession;
  tickAtMs: number;
};

type Boot = {
  alive: boolean;
  fleet: Fleet;
  elsewhere: Elsewhere;
  history: DemandHistory;
  measured: MeasuredCosts;
  planning: Planning;
  stages: ExplicitStages;
  talks: Map<Pipe, Talk>;
  byHost: Map<HostId, Talk>;
  desired: Map<HostId, DesiredState>;
  routes: RouteTable | null;
};

export class SimCoordinator {
  readonly #run: Run;
  readonly #ledger: SimLedger;
  readonly #config: CoordinatorConfig;
  #boot: Boot | null = null;
  #sessions = 0;
  /** What the store keeps under a key; survives crashes. */
  readonly #kept = new Map<string, unknown>();
  paused = false;

  constructor(run: Run) {
    this.#run = run;
    this.#ledger = new SimLedger(run);
    const { fleet, perHost, floor } = run.world.budget;
    this.#config = CoordinatorConfig.parse({
      dataDir: "/none",
      plan: { tickMs: PLAN_MS },
      qos: {
        stagingBytesPerSecond: fleet,
        perHostBytesPerSecond: perHost,
        floorBytesPerSecond: floor,
        leaseMs: 25_000,
      },
    });
  }

  get up(): boolean {
    return this.#boot !== null;
  }

  get ledger(): SimLedger {
    return this.#ledger;
  }

  get planning(): Planning | null {
    return this.#boot?.planning ?? null;
  }

  start(): void {
    const { queue, world, random } = this.#run;
    const fleet = new Fleet();
    for (const { id, site } of world.hosts)
      fleet.apply(id, { kind: "enrolled", site }, queue.now());
    const history = new DemandHistory();
    for (const bin of this.#ledger.bins) history.add(bin);
    const measured = new MeasuredCosts();
    const elsewhere = new Elsewhere((hash) =>
      fleet.with(hash, world.artifacts.get(hash)?.publisher),
    );
    const boot = { alive: true, fleet, elsewhere, history, measured } as Boot;
    const stages = new ExplicitStages({
      state: (key) => this.#kept.get(key),
      setState: (key, value) => {
        this.#kept.set(key, value);
        return Promise.resolve();
      },
    });
    const planning = new Planning(
      {
        clock: queue,
        demandClock: queue,
        log: silentLog,
        metrics: new Metrics(),
        calendar: UTC_CALENDAR,
        fleet,
        history,
        catalog: new Catalog(storeOf(this.#run)),
        measured,
        stages,
        eventEffect: () => null,
        outlook: () => new Map(),
        forecastState: null,
        affinity: (workload, host) => this.#run.affinity(workload, host.id),
        aggressiveness: () => ({ threshold: 1, lead: 1 }),
        support: () => PROGRAM_ALONE,
        model: () => null,
        follows: () => [],
        minute: () => {},
        planned: (orders) =>
          this.#run.note(`plan: ${orders.filter((o) => o.taken).length} of ${orders.length}`),
        send: {
          desired: (host, desired) => this.#wantDesired(boot, host, desired),
          routes: (table) => this.#wantRoutes(boot, table),
        },
      },
      this.#config,
    );
    planning.paused = this.paused;
    Object.assign(boot, {
      planning,
      stages,
      talks: new Map(),
      byHost: new Map(),
      desired: new Map(),
      routes: null,
    });
    this.#boot = boot;
    this.#run.note("coordinator starts");
    const first = random.int(PLAN_MS);
    queue.in(first, () => this.#planLoop(boot));
    queue.in(first + ROUTES_MS, () => this.#routesLoop(boot));
  }

  crash(): void {
    if (!this.#boot) return;
    this.#run.note("coordinator crashes");
    this.#boot.alive = false;
    this.#boot = null;
    this.#run.network.crash("coordinator");
  }

  /** Null while it is down. */
  elsewhere(host: HostId, want: Wanted) {
    const { fleet, elsewhere } = this.#boot ?? {};
    const site = fleet?.get(host)?.site ?? "";
    return elsewhere?.answer({ host, site }, want, this.#run.queue.now()) ?? null;
  }

  /** An operator stops or resumes all pre-work. */
  pause(paused: boolean): void {
    this.paused = paused;
    this.#run.note(paused ? "paused" : "resumed");
    if (!this.#boot) return;
    this.#boot.planning.paused = paused;
    this.#boot.planning.tick();
  }

  /** An operator wants an artifact on these hosts. */
  stage(id: string, artifact: SimArtifact, hosts: HostId[]): void {
    const boot = this.#boot;
    if (!boot) return;
    const { ref, manifestHash, bytes } = artifact;
    this.#run.note(`operator stages ${ref.name} on ${hosts.length} hosts`);
    void boot.stages.add({ id, ref, manifestHash, bytes, hosts });
    boot.planning.tick();
  }

  #planLoop(boot: Boot): void {
    if (!boot.alive) return;
    boot.planning.tick();
    this.#run.checker.bounded("sessions", boot.talks.size, 4 * this.#run.world.hosts.length);
    this.#run.queue.in(PLAN_MS, () => this.#planLoop(boot));
  }

  #routesLoop(boot: Boot): void {
    if (!boot.alive) return;
    boot.planning.publishRoutes();
    this.#run.queue.in(ROUTES_MS, () => this.#routesLoop(boot));
  }

  #wantDesired(boot: Boot, host: HostId, sent: DesiredState): void {
    const desired = this.#run.breaks.has("lease-overgrant")
      ? { ...sent, lease: overgranted(sent.lease) }
      : sent;
    boot.desired.set(host, desired);
    const talk = boot.byHost.get(host);
    if (!talk) return;
    const bytes = 200 * (desired.hold.length + desired.environments.length);
    this.#step(boot, talk, { type: "want", what: "desired", version: desired.version, bytes });
  }

  #wantRoutes(boot: Boot, made: RouteTable): void {
    const table = this.#run.breaks.has("route-without-verdict") ? this.#unproven(made) : made;
    for (const entry of table.entries)
      for (const host of entry.serving) {
        const key = categoryKey(entry.workload, entry.category);
        const environments = boot.fleet.get(host)?.report?.environments ?? [];
        const proven = environments.some(
          (e) =>
            categoryKey(e.workload, e.category) === key &&
            e.verdict?.passed === true &&
            (e.state === "warm" || e.state === "serving"),
        );
        this.#run.checker.routed(key, host, proven);
      }
    this.#run.note(`routes ${table.version}: ${table.entries.length} entries`);
    boot.routes = table;
    const want = { type: "want", what: "routes", version: table.version } as const;
    for (const talk of boot.byHost.values())
      this.#step(boot, talk, { ...want, bytes: 100 * table.entries.length });
  }

  /** The deliberate bug: routes to where an environment is only being made. */
  #unproven(table: RouteTable): RouteTable {
    return {
      ...table,
      entries: table.entries.map((e) => ({ ...e, serving: [...e.serving, ...e.home.slice(0, 1)] })),
    };
  }

  // ── sessions ─────────────────────────────────────────────────────────────────────────────

  accept(pipe: Pipe, host: HostId, deliver: (message: DownMessage) => void): void {
    const boot = this.#boot;
    if (!boot) return;
    const { queue } = this.#run;
    const session = newAgentSession(`s${++this.#sessions}`, host, queue.now());
    const talk: Talk = { host, pipe, deliver, session, tickAtMs: Number.POSITIVE_INFINITY };
    boot.talks.set(pipe, talk);
    pipe.onClose.b = () => {
      if (boot.alive) this.#ended(boot, talk);
    };
    this.#armTick(boot, talk);
  }

  receive(pipe: Pipe, message: UpMessage): void {
    const boot = this.#boot;
    const talk = boot?.talks.get(pipe);
    if (!boot || !talk) return;
    if (message.type !== "hello") {
      this.#step(boot, talk, { type: "message", message });
      return;
    }
    const older = boot.byHost.get(talk.host);
    if (older && older !== talk)
      this.#step(boot, older, { type: "end", code: "CONFLICT", message: "a newer session" });
    this.#step(boot, talk, {
      type: "hello",
      hello: message.body,
      lastSeq: this.#ledger.lastSeq(message.body.bootId),
      chance: this.#run.random.next(),
    });
  }

  #step(boot: Boot, talk: Talk, event: AgentSessionEvent): void {
    const now = this.#run.queue.now();
    const next = stepAgent(talk.session, event, now, AGENT_SESSION_DEFAULTS);
    talk.session = next.session;
    for (const effect of next.effects) this.#carry(boot, talk, effect);
    this.#armTick(boot, talk);
  }

  #armTick(boot: Boot, talk: Talk): void {
    const { queue } = this.#run;
    const atMs = nextAgentTickMs(talk.session, AGENT_SESSION_DEFAULTS);
    if (atMs >= talk.tickAtMs || !Number.isFinite(atMs)) return;
    const due = Math.max(atMs, queue.now());
    talk.tickAtMs = due;
    queue.in(due - queue.now(), () => {
      if (!boot.alive || talk.tickAtMs !== due) return;
      talk.tickAtMs = Number.POSITIVE_INFINITY;
      this.#step(boot, talk, { type: "tick" });
    });
  }

  #carry(boot: Boot, talk: Talk, effect: AgentSessionEffect): void {
    const now = this.#run.queue.now();
    switch (effect.type) {
      case "send":
        this.#send(talk, effect.message);
        break;
      case "push":
        this.#push(boot, talk, effect.what);
        break;
      case "opened": {
        const { hello } = effect;
        boot.byHost.set(talk.host, talk);
        boot.fleet.apply(talk.host, { kind: "hello", site: hello.site, hello }, now);
        this.#wantAll(boot, talk);
        break;
      }
      case "report":
        this.#report(boot, talk.host, effect.report, now);
        break;
      case "store":
        this.#store(boot, talk, effect.records);
        break;
      case "answer":
        break;
      case "close":
        this.#send(talk, {
          type: "bye",
          body: { code: effect.code, message: effect.message },
        });
        talk.pipe.close("b");
        this.#ended(boot, talk);
        break;
    }
  }

  #report(boot: Boot, host: HostId, report: Report, now: number): void {
    const event = { kind: "report", report: { ...report, stagedBytes: report.staged } } as const;
    boot.fleet.apply(host, event, now);
    boot.measured.reported(report.environments);
  }

  #send(talk: Talk, message: DownMessage): void {
    talk.pipe.send("a", () => talk.deliver(message));
  }

  #push(boot: Boot, talk: Talk, what: "desired" | "routes" | "members"): void {
    const desired = boot.desired.get(talk.host);
    if (what === "desired" && desired) this.#send(talk, { type: "desired", body: desired });
    if (what === "routes" && boot.routes) this.#send(talk, { type: "routes", body: boot.routes });
  }

  #wantAll(boot: Boot, talk: Talk): void {
    const desired = boot.desired.get(talk.host);
    if (desired)
      this.#step(boot, talk, {
        type: "want",
        what: "desired",
        version: desired.version,
        bytes: 1000,
      });
    if (boot.routes)
      this.#step(boot, talk, {
        type: "want",
        what: "routes",
        version: boot.routes.version,
        bytes: 1000,
      });
  }

  #store(boot: Boot, talk: Talk, records: Parameters<SimLedger["commit"]>[1]): void {
    const bootId = talk.session.bootId ?? "";
    const stored = () => {
      if (boot.alive) this.#step(boot, talk, { type: "stored", seq: records.seq, ok: true });
    };
    if (this.#run.breaks.has("ack-before-commit")) this.#run.queue.in(0, stored);
    this.#ledger.commit(
      bootId,
      records,
      () => boot.alive,
      () => {
        for (const bin of records.demand) boot.history.add(bin);
        for (const outcome of records.outcomes) boot.measured.learn(outcome);
        if (!this.#run.breaks.has("ack-before-commit")) stored();
      },
    );
  }

  #ended(boot: Boot, talk: Talk): void {
    boot.talks.delete(talk.pipe);
    if (boot.byHost.get(talk.host) !== talk) return;
    boot.byHost.delete(talk.host);
    boot.fleet.apply(talk.host, { kind: "disconnected" }, this.#run.queue.now());
  }
}

function overgranted(lease: DesiredState["lease"]): DesiredState["lease"] {
  return { ...lease, stagingBytesPerSecond: 4 * lease.stagingBytesPerSecond + (1 << 20) };
}

/** As much of a store as the catalog reads. */
function storeOf(run: Run): Store {
  const byName = new Map([...run.world.artifacts.values()].map((a) => [a.ref.name, a]));
  return {
    workloads: { list: () => run.world.workloads, classes: () => run.world.classes },
    artifacts: {
      resolve: (name: string) => {
        const found = byName.get(name);
        return found && { ...found.ref, hash: found.manifestHash, bytes: found.bytes };
      },
    },
  } as unknown as Store;
}
