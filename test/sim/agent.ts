/**
 * One simulated agent: the real session core, warm pool, transfer core and staging rate, wired as
 * the agent's conductor wires them, over a simulated network, disk and driver. A crash ends the
 * boot; disk and last known state go on to the next.
 */
import {
  type HelloFacts,
  newSession,
  nextTickMs,
  type ReportFacts,
  SESSION_DEFAULTS,
  type Session,
  type SessionContext,
  type SessionEffect,
  type SessionEvent,
  step,
} from "../../agent/link/session.ts";
import { stagingRates } from "../../agent/staging.ts";
import { WarmPool } from "../../agent/warm/pool.ts";
import type { Lease, RouteEntry } from "../../shared/domain.ts";
import { categoryKey } from "../../shared/domain.ts";
import type { DesiredState } from "../../shared/protocol/bodies.ts";
import type { DownMessage } from "../../shared/protocol/messages.ts";
import type { Clock } from "../../shared/runtime/clock.ts";
import { silentLog } from "../../shared/runtime/log.ts";
import { Metrics } from "../../shared/runtime/metrics.ts";
import type { Workload } from "../../shared/workload.ts";
import type { Pipe } from "../support/network.ts";
import { Accounts, type Numbered } from "./accounts.ts";
import { DemandBins } from "./bins.ts";
import { SimDisk } from "./disk.ts";
import { SimDriver } from "./driver.ts";
import { SimMesh } from "./mesh.ts";
import { OrderWatch } from "./orders.ts";
import { COORDINATOR, type Run } from "./run.ts";
import type { SimHostSpec } from "./world.ts";

const REPORT_MS = 5000;
const RATE_MS = 500;
/** The staging gate's period and marks; see agent/staging.ts. */
const GATE_MS = 200;
const PEAK_CPU = 0.95;
const CALM_CPU = 0.85;

type Boot = {
  number: number;
  alive: boolean;
  session: Session;
  pool: WarmPool;
  driver: SimDriver;
  mesh: SimMesh;
  stop: AbortController;
  pipe: Pipe | null;
  tickAtMs: number;
  lease: Lease | null;
  told: { paused: boolean; throttled: boolean };
  demand: DemandBins;
  outcomes: Numbered[];
  /** How many things the last desired state asked for. */
  wanted: number;
};

/** What `agent/persisted.ts` keeps. */
type LastKnown = {
  desired: DesiredState | null;
  routes: { version: number; entries: Map<string, RouteEntry> };
};

export class SimAgent {
  readonly spec: SimHostSpec;
  readonly disk: SimDisk;
  readonly #run: Run;
  readonly #context: SessionContext;
  readonly #known: LastKnown = { desired: null, routes: { version: 0, entries: new Map() } };
  readonly orders: OrderWatch;
  #boot: Boot | null = null;
  #boots = 0;
  /** CPU share of other things on the host. */
  cpuUsed = 0.2;
  #atPeak = false;
  readonly #accounts: Accounts;

  constructor(run: Run, spec: SimHostSpec) {
    this.#run = run;
    this.spec = spec;
    this.disk = new SimDisk(spec.quotaBytes);
    this.#context = { random: run.random.fork(`session/${spec.id}`), options: SESSION_DEFAULTS };
    this.#accounts = new Accounts({
      batchName: (seq) => `${this.bootId(this.#boots)}/${seq}`,
      isCommitted: (batch) => run.checker.isBatchCommitted(batch),
    });
    this.orders = new OrderWatch(run, spec.id);
  }

  get up(): boolean {
    return this.#boot !== null;
  }

  get mesh(): SimMesh | null {
    return this.#boot?.mesh ?? null;
  }

  get driver(): SimDriver | null {
    return this.#boot?.driver ?? null;
  }

  get pool(): WarmPool | null {
    return this.#boot?.pool ?? null;
  }

  get session(): Session | null {
    return this.#boot?.session ?? null;
  }

  get routesVersion(): number {
    return this.#known.routes.version;
  }

  mayHold(serial: number): boolean {
    return this.#accounts.mayHold(serial, this.#owed());
  }

  uncounted(): number {
    return this.#accounts.uncounted(this.#owed());
  }

  #owed() {
    const boot = this.#boot;
    if (!boot) return null;
    return { demand: boot.demand, outcomes: boot.outcomes, outbox: boot.session.outbox };
  }

  checkBounds(): void {
    const boot = this.#boot;
    if (!boot) return;
    const { checker } = this.#run;
    const { outbox, requests } = boot.session;
    const { outcomesMax, demandMax } = SESSION_DEFAULTS.outbox;
    checker.bounded("outcomes waiting", outbox.outcomes.size, outcomesMax);
    checker.bounded("demand waiting", outbox.demand.size, demandMax);
    checker.bounded("requests waiting", requests.waiting.size, SESSION_DEFAULTS.requestsMax);
    checker.bounded("wants", boot.mesh.wantCount, this.#run.world.artifacts.size);
    checker.bounded("environments", boot.pool.list().length, 8 * this.spec.environmentsMax + 8);
  }

  entry(key: string): RouteEntry | undefined {
    return this.#known.routes.entries.get(key);
  }

  start(): void {
    const number = ++this.#boots;
    const { queue, random } = this.#run;
    const boot = { alive: true } as Boot;
    const alive = () => boot.alive;
    const clock = gated(queue, alive);
    const mesh = new SimMesh(this.#run, this.spec, this.disk, (hash) => this.#uses(hash));
    const driver = new SimDriver(this.#run, this.spec, alive);
    const generous = this.#run.breaks.has("overcommit-memory") ? 4 : 1;
    const pool = new WarmPool(
      {
        self: this.spec.id,
        clock,
        demandClock: clock,
        random: random.fork(`pool/${this.spec.id}/${number}`),
        log: silentLog,
        metrics: new Metrics(),
        stage: (workload, category, options) => this.#stage(mesh, workload, category, options),
        driver,
        warmup: () => Promise.resolve(),
        shadow: (port) => driver.shadow(port),
      },
      {
        memoryBytesMax: this.spec.memoryBytesMax * generous,
        environmentsMax: this.spec.environmentsMax * generous,
      },
    );
    const have = {
      desired: this.#known.desired?.version ?? 0,
      routes: this.#known.routes.version,
      members: 1,
    };
    Object.assign(boot, {
      number,
      session: newSession(queue.now(), have),
      pool,
      driver,
      mesh,
      stop: new AbortController(),
      pipe: null,
      tickAtMs: Number.POSITIVE_INFINITY,
      lease: null,
      told: { paused: false, throttled: false },
      demand: new DemandBins(this.spec.id),
      outcomes: [],
      wanted: 0,
    });
    this.#boot = boot;
    this.#run.note(`${this.spec.id} starts (${number})`);
    this.#run.checker.agentUp(this.spec.id, true);
    this.#run.group.push(pool.run(boot.stop.signal));
    queue.settleNext();
    const { desired } = this.#known;
    // pool.run starts its tasks in a microtask: what was last known is given after it.
    queue.in(1, () => {
      if (!boot.alive) return;
      if (desired) {
        mesh.setHold(desired.hold);
        pool.setDesired(desired.environments, desired.workloads, { paused: desired.paused });
        pool.setConnected(false);
      }
      queue.settleNext();
      this.#reportLoop(boot);
      this.#rateLoop(boot);
      this.#step(boot, { type: "start" });
    });
  }

  crash(): void {
    const boot = this.#boot;
    if (!boot) return;
    this.#run.note(`${this.spec.id} crashes`);
    boot.alive = false;
    boot.mesh.stop();
    boot.driver.powerOff();
    const { demand, outcomes, session } = boot;
    this.#accounts.died({ demand, outcomes, outbox: session.outbox });
    this.#boot = null;
    this.#run.checker.agentUp(this.spec.id, false);
    this.orders.clear();
    this.#run.network.crash(this.spec.id);
  }

  /** A request came in at this router. */
  countDemand(workload: string, category: string): void {
    this.#boot?.demand.add(workload, category, this.#run.queue.now());
  }

  /** False when this agent is gone: the outcome of a request that entered here dies with it. */
  countOutcome(outcome: Numbered): void {
    this.#boot?.outcomes.push(outcome);
  }

  /** Other things on the host take this much of its CPU from now on; the gate looks by period. */
  load(cpuUsed: number): void {
    this.cpuUsed = cpuUsed;
    this.#run.checker.peak(this.spec.id, cpuUsed > PEAK_CPU);
    const boot = this.#boot;
    if (!boot) return;
    this.#run.queue.in(this.#run.random.int(GATE_MS), () => boot.alive && this.#applyRate(boot));
  }

  // ── the session ──────────────────────────────────────────────────────────────────────────

  #step(boot: Boot, event: SessionEvent): void {
    const now = this.#run.queue.now();
    const before = boot.session;
    const next = step(before, event, now, this.#context);
    boot.session = next.session;
    this.#watchAcks(boot, before);
    for (const effect of next.effects) if (boot.alive) this.#carry(boot, effect);
    this.#armTick(boot);
    if (before.phase !== next.session.phase) {
      const connected = next.session.phase === "open";
      if (connected || before.phase === "open") {
        boot.pool.setConnected(connected);
        this.#run.queue.settleNext();
      }
    }
  }

  #armTick(boot: Boot): void {
    const atMs = nextTickMs(boot.session, this.#context.options);
    const now = this.#run.queue.now();
    if (atMs >= boot.tickAtMs || !Number.isFinite(atMs)) return;
    boot.tickAtMs = Math.max(atMs, now);
    const due = boot.tickAtMs;
    this.#run.queue.in(due - now, () => {
      if (!boot.alive || boot.tickAtMs !== due) return;
      boot.tickAtMs = Number.POSITIVE_INFINITY;
      this.#step(boot, { type: "tick" });
    });
  }

  /** A batch that is not under way any more was acknowledged: it must be in the store. */
  #watchAcks(boot: Boot, before: Session): void {
    const was = before.outbox.underWay?.records.seq;
    if (was === undefined || boot.session.outbox.underWay?.records.seq === was) return;
    this.#run.checker.batchAcknowledged(this.#batch(boot, was));
  }

  #batch(boot: Boot, seq: number): string {
    return `${this.bootId(boot.number)}/${seq}`;
  }

  bootId(number: number): string {
    return `${this.spec.id}-boot-${number}`;
  }

  #carry(boot: Boot, effect: SessionEffect): void {
    switch (effect.type) {
      case "connect":
        this.#connect(boot, effect.connection);
        break;
      case "close":
        boot.pipe?.close("a");
        boot.pipe = null;
        break;
      case "send": {
        const { pipe } = boot;
        pipe?.send("b", () => this.#run.coordinator.receive(pipe, effect.message));
        break;
      }
      case "deliver":
        this.#deliver(boot, effect.message);
        break;
      case "settle":
        break;
    }
  }

  #connect(boot: Boot, connection: number): void {
    const { network, queue } = this.#run;
    queue.in(2 * network.delay(), () => {
      if (!boot.alive || boot.session.connection !== connection) return;
      const pipe = this.#run.coordinator.up ? network.connect(this.spec.id, COORDINATOR) : null;
      const closed = { type: "closed", connection, code: "UNREACHABLE", message: "cut" } as const;
      if (!pipe) return this.#step(boot, closed);
      boot.pipe = pipe;
      pipe.onClose.a = () => {
        if (boot.alive) this.#step(boot, closed);
      };
      this.#run.coordinator.accept(pipe, this.spec.id, (message) => {
        if (boot.alive) this.#step(boot, { type: "message", connection, message });
      });
      this.#step(boot, { type: "connected", connection, hello: this.#hello(boot) });
    });
  }

  #hello(boot: Boot): HelloFacts {
    return {
      host: this.spec.id,
      site: this.spec.site,
      bootId: this.bootId(boot.number),
      peerId: this.spec.id,
      meshAddresses: [],
      routerUrl: null,
      software: "sim",
      ...(!this.#run.breaks.has("untold-limit") && {
        environmentsMax: this.spec.environmentsMax,
      }),
    };
  }

  #deliver(boot: Boot, message: Extract<DownMessage, { type: "desired" | "routes" | "members" }>) {
    if (message.type === "routes") {
      const { version, entries } = message.body;
      this.#run.checker.versionRises(`${this.spec.id}: routes`, this.routesVersion, version);
      this.#known.routes = {
        version,
        entries: new Map(entries.map((e) => [categoryKey(e.workload, e.category), e])),
      };
      return this.#step(boot, { type: "took", what: "routes", version });
    }
    if (message.type === "members")
      return this.#step(boot, { type: "took", what: "members", version: message.body.epoch });
    const desired = message.body;
    this.#checkVersion(desired);
    this.#known.desired = desired;
    boot.lease = desired.lease;
    boot.told = { paused: desired.paused, throttled: desired.throttled };
    this.#run.checker.told(this.spec.id, desired.paused || desired.throttled);
    this.#run.checker.leaseTaken(this.spec.id, desired.lease);
    this.#applyRate(boot);
    boot.mesh.setHold(desired.hold);
    boot.pool.setDesired(desired.environments, desired.workloads, { paused: desired.paused });
    this.orders.desired(desired);
    const { hold, environments, lease } = desired;
    const line =
      `${this.spec.id} takes desired ${desired.version}: ${hold.length} held, ` +
      `${environments.length} kept, ${Math.round(lease.stagingBytesPerSecond)} B/s`;
    if (hold.length + environments.length === boot.wanted) this.#run.journal.digestOnly(line);
    else this.#run.note(line);
    boot.wanted = hold.length + environments.length;
    this.#run.queue.settleNext();
    this.#step(boot, { type: "took", what: "desired", version: desired.version });
  }

  #checkVersion(next: DesiredState): void {
    const before = this.#known.desired;
    if (!before) return;
    const { checker } = this.#run;
    checker.versionRises(`${this.spec.id}: desired`, before.version, next.version);
    if (before.version !== next.version) return;
    const same = JSON.stringify([before.hold, before.environments, before.lease]);
    checker.holds(
      "a version is never reused for other content",
      same === JSON.stringify([next.hold, next.environments, next.lease]),
      () => `${this.spec.id}: desired ${next.version}`,
    );
  }

  // ── loops ────────────────────────────────────────────────────────────────────────────────

  #rateLoop(boot: Boot): void {
    if (!boot.alive) return;
    this.#applyRate(boot);
    this.#run.queue.in(RATE_MS, () => this.#rateLoop(boot));
  }

  #applyRate(boot: Boot): void {
    this.#atPeak = this.cpuUsed > (this.#atPeak ? CALM_CPU : PEAK_CPU);
    const orders = { lease: boot.lease, ...boot.told };
    const { total: rate } = stagingRates(orders, this.#atPeak, this.#run.queue.now());
    const deaf = this.#run.breaks.has("ignore-throttle");
    boot.mesh.setRate(deaf ? Math.max(rate, this.#run.world.budget.floor) : rate);
  }

  #reportLoop(boot: Boot): void {
    if (!boot.alive) return;
    const now = this.#run.queue.now();
    boot.mesh.retryFailed();
    this.orders.look(boot.mesh, boot.pool, boot.session, this.cpuUsed, now);
    this.#step(boot, { type: "report", report: this.#report(boot) });
    const demand = boot.demand.take();
    if (demand.length > 0 || boot.outcomes.length > 0) {
      const outcomes = boot.outcomes;
      boot.outcomes = [];
      this.#step(boot, { type: "record", demand, outcomes });
    }
    this.#run.queue.in(REPORT_MS, () => this.#reportLoop(boot));
  }

  #report(boot: Boot): ReportFacts {
    const environments = boot.pool.list();
    for (const { workload, category, state, verdict } of environments) {
      if (verdict?.passed !== true || (state !== "warm" && state !== "serving")) continue;
      const key = categoryKey(workload, category);
      this.#run.checker.reportedProven(this.spec.id, key, boot.driver.provenFor(key));
    }
    const used = environments.reduce((sum, e) => sum + e.memoryBytes, 0);
    const lease = boot.lease ? { id: boot.lease.id, spentBytes: boot.mesh.spentBytes } : null;
    return {
      sample: {
        atMs: this.#run.queue.now(),
        cpuUsed: this.cpuUsed,
        memoryBytes: this.spec.memoryBytesMax,
        memoryFreeBytes: Math.max(0, this.spec.memoryBytesMax - used),
        diskFreeBytes: this.spec.quotaBytes - this.disk.usedBytes,
        requestsPerSecond: 0,
        peerBytesPerSecond: 0,
        originBytesPerSecond: 0,
        loopDelayMs: 1,
        agentBytes: 1,
      },
      environments,
      holdings: boot.mesh.holdings(),
      scores: [],
      orders: [...boot.mesh.orderStates(), ...boot.pool.orderStates()],
      staged: {
        peerBytes: boot.mesh.peerBytes,
        originBytes: boot.mesh.originBytes,
        foregroundBytes: boot.mesh.foregroundBytes,
        wastedBytes: 0,
      },
      memoryTime: { planned: 0, unplanned: 0 },
      lease,
      liars: [],
    };
  }

  async #stage(
    mesh: SimMesh,
    workload: Workload,
    category: string,
    options: { foreground: boolean; priority: number; signal: AbortSignal },
  ): Promise<Record<string, string>> {
    const needs = this.#run.world.byKey.get(categoryKey(workload.name, category))?.needs ?? [];
    const paths = await Promise.all(needs.map((n) => mesh.ensure(n.manifestHash, options)));
    return Object.fromEntries(paths.map((path, i) => [i === 0 ? "code" : "data", path]));
  }

  /** An environment here is made of it. */
  #uses(manifestHash: string): boolean {
    const list = this.#boot?.pool?.list() ?? [];
    return list.some((e) => {
      const needs = this.#run.world.byKey.get(categoryKey(e.workload, e.category))?.needs ?? [];
      return needs.some((n) => n.manifestHash === manifestHash);
    });
  }
}

/** Time that stops with the boot. */
function gated(base: Clock, alive: () => boolean): Clock {
  return {
    now: () => base.now(),
    monotonic: () => base.monotonic(),
    sleep: (ms, options) => base.sleep(ms, options),
    after: (ms, fn) => base.after(ms, () => alive() && fn()),
  };
}
