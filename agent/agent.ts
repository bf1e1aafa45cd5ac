/**
 * The conductor of an agent: the only file that knows every loop. What the coordinator says goes
 * to the rooms, what the rooms know goes back as reports and records, and a person on this host
 * gets their answers here.
 */
import {
  categoryKey,
  type EnvironmentStatus,
  type HostSample,
  type Outcome,
} from "../shared/domain.ts";
import { PrestageError } from "../shared/errors.ts";
import type { DesiredState, MemberList, ModelRef, Report } from "../shared/protocol/bodies.ts";
import { demandClock } from "../shared/replay.ts";
import { type Clock, every } from "../shared/runtime/clock.ts";
import { BoundedQueue } from "../shared/runtime/queue.ts";
import { TaskGroup } from "../shared/runtime/tasks.ts";
import type { LocalOperations, Progress } from "./local.ts";
import { LocalApi } from "./local.ts";
import type { Liar } from "./mesh/transfer/reputation.ts";
import { type AgentDeps, makeRooms, type Rooms } from "./rooms.ts";

/** Outcomes between two batches; the link bounds what it holds itself. */
const OUTCOMES_MAX = 50_000;
/** After a change the report goes out this soon, so that several changes share one. */
const REPORT_SOON_MS = 50;
const PROGRESS_MS = 200;
/** What the coordinator said is on disk this much later at most. */
const SAVE_MS = 500;
/** Peers that lied, in a report. */
const LIARS_MAX = 100;
const FOREGROUND_PRIORITY = 1_000;

export class Agent {
  readonly #deps: AgentDeps;
  readonly #clock: Clock;
  readonly #demandClock: Clock;
  readonly #rooms: Rooms;
  readonly #outcomes = new BoundedQueue<Outcome>({
    capacity: OUTCOMES_MAX,
    overflow: "drop-oldest",
  });
  readonly #memoryTime = { planned: 0, unplanned: 0 };
  #model: ModelRef | null = null;
  /** The last lease by which all goes: what earlier ones allowed beyond it is used no more. */
  #heldLease: string | null = null;
  #cancelSoon: (() => void) | null = null;
  #loading: TaskGroup | null = null;

  constructor(deps: AgentDeps) {
    this.#deps = deps;
    this.#clock = deps.clock;
    this.#demandClock = demandClock(deps.clock, deps.config.replay);
    this.#rooms = makeRooms(deps, (outcome) => this.#keepOutcome(outcome));
  }

  /** Works until the signal aborts; then no process of it is left and what it knew is sent. */
  async run(signal: AbortSignal): Promise<void> {
    const { mesh, scrubber, link, gate, renewal, observer, pool, router } = this.#rooms;
    const back = new TaskGroup();
    const front = new TaskGroup(signal);
    back.signal.addEventListener("abort", () => front.stop(), { once: true });
    this.#loading = back;
    back.start("mesh", (s) => mesh.run(s));
    back.start("scrubber", async (s) => {
      await mesh.started;
      await scrubber.run(s);
    });
    back.start("observer", (s) => observer.run(s));
    back.start("renewal", (s) => renewal.run(s));
    back.start("refusals", (s) => this.#rooms.refusals.run(s));
    this.#listen();
    this.#resumeLastKnown();
    front.start("pool", (s) => pool.run(s));
    front.start("router", (s) => router.run(s));
    front.start("gate", (s) => gate.run(s));
    front.start("local", (s) => this.#local().run(s));
    front.start("mirror", (s) => this.#rooms.mirroring.run(s));
    front.start("link", async () => {
      await Promise.all([mesh.started, router.started]);
      back.start("link", (s) => link.run(s));
    });
    front.start("following", (s) => this.#rooms.following.run(s));
    front.start("reports", (s) => this.#reports(s));
    front.start("records", (s) => this.#records(s));
    back.start("last known", (s) =>
      every(this.#clock, SAVE_MS, s, () => this.#rooms.lastKnown.save()),
    );
    front.start("scores", (s) =>
      every(this.#clock, this.#deps.config.sampleMs, s, () => this.#score()),
    );
    try {
      await front.done();
      this.#record();
    } finally {
      this.#cancelSoon?.();
      back.stop();
      await back.done();
      this.#rooms.lastKnown.save();
      await this.#rooms.scorer.close();
      await this.#rooms.sources.close();
    }
  }

  // ── from the coordinator ───────────────────────────────────────────────────────────────────

  #listen(): void {
    const { link, pool, mesh, router, lastKnown, artifacts, following } = this.#rooms;
    link.onDesired((desired) => this.#takeDesired(desired));
    link.onMembers((list) => this.#takeMembers(list));
    link.onRoutes((routes) => {
      lastKnown.update({ routes });
      router.setRoutes(routes);
      this.#prepareHomes();
    });
    following.onChange(() => this.#reportSoon());
    mesh.onSettled = () => this.#reportSoon();
    pool.onChange(() => {
      const key = (e: EnvironmentStatus) => categoryKey(e.workload, e.category);
      const all = pool.list();
      const ending = all.filter((e) => e.state === "draining").map(key);
      artifacts.keepOnly(new Set(all.map(key)), new Set(ending));
      this.#reportSoon();
    });
  }

  /** What was in force when this agent last ran, until the coordinator says otherwise. */
  #resumeLastKnown(): void {
    const { lastKnown, mesh, router, pool, gate, following } = this.#rooms;
    const { members, routes, desired } = lastKnown.value;
    const { lease, paused, throttled, model } = desired;
    if (members.epoch > 0) mesh.setMembers(members.members, members.publishers);
    router.setRoutes(routes);
    router.setWorkloads(desired.workloads);
    mesh.setHold(desired.hold);
    gate.set({ lease, paused, throttled });
    pool.setDesired(desired.environments, desired.workloads, { paused });
    following.set(desired.follows ?? []);
    if (desired.workloads.length > 0) this.#takeModel(model);
  }

  #takeDesired(desired: DesiredState): void {
    const { lastKnown, mesh, router, pool, gate, following } = this.#rooms;
    const { hold, environments, workloads, paused, lease, throttled } = desired;
    this.#learnVersions(desired);
    lastKnown.update({ desired });
    router.setWorkloads(workloads);
    mesh.setHold(hold);
    following.set(desired.follows ?? []);
    gate.set({ lease, paused, throttled });
    pool.setDesired(environments, workloads, { paused });
    // Nothing to score: onnxruntime, tens of megabytes, is not worth loading.
    if (workloads.length > 0) this.#takeModel(desired.model);
    this.#prepareHomes();
    this.#reportSoon();
  }

  /** What would be made here on a miss is known here, also when the coordinator goes. */
  #prepareHomes(): void {
    const { artifacts, lastKnown } = this.#rooms;
    const { routes, desired } = lastKnown.value;
    const workloads = new Map(desired.workloads.map((w) => [w.name, w]));
    const wanted = routes.entries.flatMap(({ workload: name, category, home }) => {
      const workload = home.includes(this.#deps.identity.host) ? workloads.get(name) : undefined;
      return workload ? [{ workload, category }] : [];
    });
    this.#loading?.start("prepare homes", () => artifacts.prepare(wanted));
  }

  /** What tags mean now, before the pool looks at what is wanted. */
  #learnVersions({ environments, workloads }: DesiredState): void {
    const byName = new Map(workloads.map((workload) => [workload.name, workload]));
    for (const { workload: name, category, artifacts = [] } of environments) {
      const workload = byName.get(name);
      if (workload) this.#rooms.artifacts.told(workload, category, artifacts);
    }
  }

  #takeMembers(list: MemberList): void {
    this.#rooms.lastKnown.update({ members: list });
    this.#rooms.mesh.setMembers(list.members, list.publishers);
  }

  /** Fetches and loads the affinity model in the background; a bad one is refused and logged. */
  #takeModel(model: ModelRef | null): void {
    if (!model || model.manifestHash === this.#model?.manifestHash) return;
    const { mesh, scorer } = this.#rooms;
    const before = this.#model;
    this.#model = model;
    this.#loading?.start("model", async (signal) => {
      try {
        // Some kilobytes: not worth a lease.
        const options = { priority: FOREGROUND_PRIORITY, foreground: true, signal };
        const dir = await mesh.ensure(model.manifestHash, options);
        await scorer.loadFrom(dir);
        mesh.markUsed(model.manifestHash);
      } catch (cause) {
        if (signal.aborted) return;
        if (this.#model === model) this.#model = before;
        this.#deps.log.warn({ err: cause, model }, "affinity model not taken");
      }
    });
  }

  // ── to the coordinator ─────────────────────────────────────────────────────────────────────

  #keepOutcome(outcome: Outcome): void {
    this.#outcomes.push(outcome);
    if (outcome.kind !== "wasted")
      this.#loading?.start("mark used", () =>
        this.#rooms.artifacts.used(outcome.workload, outcome.category),
      );
    if (outcome.kind === "hit" && outcome.host === this.#deps.identity.host)
      this.#rooms.scorer.observeLatency(
        outcome.workload,
        null,
        outcome.firstByteMs,
        outcome.status >= 500,
      );
  }

  #reportSoon(): void {
    if (this.#cancelSoon) return;
    this.#cancelSoon = this.#clock.after(REPORT_SOON_MS, () => {
      this.#cancelSoon = null;
      this.#report();
    });
  }

  async #reports(signal: AbortSignal): Promise<void> {
    await every(this.#clock, this.#deps.config.reportMs, signal, () => {
      this.#rooms.pool.setConnected(this.#rooms.link.connected);
      this.#report();
    });
  }

  #report(): void {
    const { link, pool, mesh, scores, gate } = this.#rooms;
    const sample = this.#sample();
    if (!sample) return;
    for (const row of pool.takeMemoryTime()) {
      this.#memoryTime.planned += row.plannedByteMs;
      this.#memoryTime.unplanned += row.unplannedByteMs;
    }
    const counters = mesh.counters();
    const { stagingSpentBytes: spentBytes } = counters;
    const { peerBytes, originBytes, foregroundBytes, wastedBytes } = counters;
    const { settled, ...told } = mesh.paced;
    if (settled) this.#heldLease = gate.lease?.id ?? null;
    link.report({
      sample,
      environments: pool.list(),
      holdings: mesh.holdings().map((h) => ({ ...h, sinceMs: this.#demandTime(h.sinceMs) })),
      scores: scores.latest,
      orders: [...mesh.orderStates(), ...pool.orderStates()],
      staged: { peerBytes, originBytes, foregroundBytes, wastedBytes },
      memoryTime: { ...this.#memoryTime },
      scrub: this.#rooms.scrubber.state(),
      liars: mesh.liars().slice(0, LIARS_MAX).map(toldLiar(this.#clock.monotonic())),
      lease: this.#heldLease === null ? null : { id: this.#heldLease, spentBytes, ...told },
      heldBy: this.#heldBy(),
      follows: this.#rooms.following.states(),
    });
  }

  /** What on this host itself holds staging back. */
  #heldBy(): Report["heldBy"] {
    const { gate, mesh } = this.#rooms;
    if (gate.atPeak) return "peak";
    return mesh.busy ? "request" : undefined;
  }

  /** Of a real time that has passed. */
  #demandTime(realMs: number | null): number | null {
    if (realMs === null) return null;
    const speed = this.#deps.config.replay?.speed ?? 1;
    return Math.max(0, this.#demandClock.now() - (this.#clock.now() - realMs) * speed);
  }

  /** The host's sample, with what Prestage may still use of its disk and memory; null at first. */
  #sample(): HostSample | null {
    const { observer, mesh, pool } = this.#rooms;
    const sample = observer.latest();
    if (sample.atMs === 0) return null;
    const { store, environments } = this.#deps.config;
    // What is under way is no more gone than what is planned: plans count it whole themselves.
    const held = mesh.store.usedBytes - mesh.store.room.promisedBytes();
    const rates = mesh.rates();
    const speed = this.#deps.config.replay?.speed ?? 1;
    const used = pool.list().reduce((sum, e) => sum + e.memoryBytes, 0);
    return {
      ...sample,
      peerBytesPerSecond: rates.peerBytesPerSecond / speed,
      originBytesPerSecond: rates.originBytesPerSecond / speed,
      diskFreeBytes: Math.max(0, Math.min(sample.diskFreeBytes, store.quotaBytes - held)),
      memoryFreeBytes: Math.max(
        0,
        Math.min(sample.memoryFreeBytes, environments.memoryBytes - used),
      ),
    };
  }

  async #records(signal: AbortSignal): Promise<void> {
    await every(this.#clock, this.#deps.config.recordsMs, signal, () => this.#record());
    this.#record();
  }

  #record(): void {
    const { counter, link, pool } = this.#rooms;
    const demand = counter.take();
    const outcomes = [...this.#outcomes.drain(), ...pool.takeWaste()];
    if (demand.length > 0 || outcomes.length > 0) link.record(demand, outcomes);
  }

  async #score(): Promise<void> {
    await this.#rooms.scores.refresh();
  }

  // ── to people on this host ─────────────────────────────────────────────────────────────────

  #local(): LocalApi {
    const { config, log, metrics, identity, software } = this.#deps;
    const { mesh, link, router, pool, gate, publishing } = this.#rooms;
    const operations: LocalOperations = {
      publish: (...given) => publishing.publish(...given),
      get: (request, progress, signal) => this.#get(request, progress, signal),
      status: () => ({
        host: identity.host,
        site: identity.site,
        peerId: identity.peerId,
        software,
        connected: link.connected,
        routerUrl: router.address(),
        mirror: this.#rooms.mirroring.address(),
        mesh: mesh.addresses(),
        environments: pool.list(),
        holdings: mesh.holdings(),
        transfers: mesh.counters(),
        store: {
          usedBytes: mesh.store.usedBytes,
          logicalBytes: mesh.store.logicalBytes,
          ...config.store,
        },
        staging: { bytesPerSecond: gate.rates.total, heldBy: this.#heldBy(), lease: gate.lease },
        orders: [...mesh.orderStates(), ...pool.orderStates()],
        demandNowMs: this.#demandClock.now(),
      }),
      metrics: () => metrics.text(),
    };
    return new LocalApi({ operations, log }, { dataDir: config.dataDir });
  }

  async #get(
    { name, version, tag }: { name: string; version: string | null; tag: string | null },
    progress: Progress,
    signal: AbortSignal,
  ): Promise<unknown> {
    const { artifacts, mesh } = this.#rooms;
    const at = version === null ? { tag: tag ?? "latest" } : { version };
    const resolved = await artifacts.resolve(name, at);
    const { manifestHash } = resolved;
    const watching = new AbortController();
    const shown = every(this.#clock, PROGRESS_MS, watching.signal, () => {
      const holding = mesh.holdings().find((h) => h.manifestHash === manifestHash);
      if (holding) progress(holding.bytesHave, holding.bytes);
    });
    try {
      const options = { priority: FOREGROUND_PRIORITY, foreground: true, signal };
      const path = await mesh.ensure(manifestHash, options);
      mesh.markUsed(manifestHash);
      return { ...resolved.ref, manifestHash, path };
    } catch (cause) {
      if (cause instanceof PrestageError || signal.aborted) throw cause;
      throw new PrestageError("UNAVAILABLE", `cannot get ${name}`, { cause });
    } finally {
      watching.abort();
      await shown;
    }
  }
}

function toldLiar(nowMs: number) {
  return ({ host, lies, lastMs, untilMs }: Liar): Report["liars"][number] => ({
    host,
    lies,
    lastMs: nowMs - lastMs,
    shunnedMs: Math.max(0, (untilMs ?? nowMs) - nowMs),
  });
}
