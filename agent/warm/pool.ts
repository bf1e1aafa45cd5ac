/**
 * The warm pool of one host: keeps what the plan lists, makes what requests ask for, proves each
 * with a shadow request, replaces what died, and drops what is not worth its memory, all within the
 * host's budget. The state machine (`environment.ts`) says what may happen and the policy who stays;
 * this file carries it out. At most one environment of a (workload, category) is current; others of
 * it may be on their way out.
 */
import {
  categoryKey,
  type EnvironmentStatus,
  type KeepEnvironment,
  type Outcome,
} from "../../shared/domain.ts";
import { PrestageError } from "../../shared/errors.ts";
import { assert } from "../../shared/runtime/assert.ts";
import { TaskGroup } from "../../shared/runtime/tasks.ts";
import type { Workload } from "../../shared/workload.ts";
import { Admission } from "./admission.ts";
import { Desired } from "./desired.ts";
import {
  type EnvironmentEffect,
  type EnvironmentEvent,
  holdsMemory,
  routable,
  stepEnvironment,
  underWay,
} from "./environment.ts";
import { Making } from "./making.ts";
import { MemoryLedger, type MemoryTime } from "./memory-time.ts";
import { PoolMetrics } from "./pool-metrics.ts";
import {
  type OrderState,
  type WarmPoolDeps,
  type WarmPoolOptions,
  withDefaults,
} from "./pool-options.ts";
import {
  type Acquired,
  declaredBytes,
  isIdle,
  newId,
  newSlot,
  type Slot,
  statusOf,
  type Waiter,
} from "./slot.ts";
import { Succession } from "./succession.ts";
import { Waste } from "./waste.ts";

export class WarmPool {
  readonly #deps: WarmPoolDeps;
  readonly #options: Required<WarmPoolOptions>;
  readonly #making: Making;
  readonly #admission: Admission;
  readonly #succession: Succession;
  readonly #metrics: PoolMetrics;
  readonly #ledger = new MemoryLedger();
  readonly #waste: Waste;
  readonly #desired: Desired;
  /** The current one per key: where requests go or wait. */
  readonly #current = new Map<string, Slot>();
  /** Every one that is not gone, the current and those on their way out. */
  readonly #all = new Set<Slot>();
  readonly #listeners = new Set<() => void>();
  readonly #started = Promise.withResolvers<void>();
  #tasks: TaskGroup | null = null;
  #closing = false;
  #order = 0;
  #changing = false;
  #empty: (() => void) | null = null;

  constructor(deps: WarmPoolDeps, options: WarmPoolOptions) {
    this.#deps = deps;
    this.#options = withDefaults(options);
    this.#desired = new Desired({ ...this.#options, superseded: deps.superseded });
    this.#waste = new Waste(deps.self);
    this.#metrics = new PoolMetrics(deps.metrics);
    this.#succession = new Succession(
      {
        ...deps,
        desired: this.#desired,
        apply: (slot, event) => this.#apply(slot, event),
        successor: (old) =>
          this.#newSlot(old.workload, old.category, {
            origin: old.origin,
            restarts: old.restarts + 1,
          }),
        reconcile: () => this.#reconcile(),
      },
      this.#options,
    );
    this.#making = new Making(
      {
        ...deps,
        apply: (slot, event) => this.#apply(slot, event),
        start: (name, task) => this.#start(name, task),
      },
      this.#options,
    );
    this.#admission = new Admission(
      {
        all: () => this.#all,
        launch: (slot) => this.#apply(slot, { type: "start" }),
        reclaim: (slot) => this.#apply(slot, { type: "drop" }),
        refuse: (slot, cause) => this.#refuse(slot, cause),
      },
      this.#options,
    );
  }

  /** Works until the signal aborts; when it returns, no process of the pool is left. */
  async run(signal: AbortSignal): Promise<void> {
    const orphans = await this.#deps.driver.recover();
    if (orphans > 0) this.#deps.log.warn({ orphans }, "ended environments of an earlier agent");
    const tasks = new TaskGroup();
    this.#tasks = tasks;
    this.#started.resolve();
    const { promise: stopped, resolve } = Promise.withResolvers<void>();
    const stop = () => resolve();
    signal.addEventListener("abort", stop, { once: true });
    tasks.signal.addEventListener("abort", stop, { once: true });
    if (!signal.aborted) {
      this.#reconcile();
      await stopped;
    }
    signal.removeEventListener("abort", stop);
    await this.#close();
    tasks.stop();
    await tasks.done();
    this.#tasks = null;
  }

  /** What the plan wants kept here, and the workloads that exist. Level-triggered. */
  setDesired(
    keep: readonly KeepEnvironment[],
    workloads: readonly Workload[],
    { paused }: { paused: boolean },
  ): void {
    this.#desired.set(keep, workloads, paused);
    this.#reconcile();
  }

  /** Whether the coordinator is there; without it, keep-alive replaces the plan's judgement. */
  setConnected(connected: boolean): void {
    if (this.#desired.connected === connected) return;
    this.#desired.connected = connected;
    this.#reconcile();
  }

  /** Whether a request could begin at once. */
  ready(workload: string, category: string): boolean {
    const slot = this.#current.get(categoryKey(workload, category));
    return slot !== undefined && routable(slot.environment);
  }

  /** Whether one is being made, so that waiting here is likely shortest. */
  making(workload: string, category: string): boolean {
    const slot = this.#current.get(categoryKey(workload, category));
    return slot !== undefined && !routable(slot.environment);
  }

  /**
   * An environment for one request: the warm one, else the one under way, else a new one. Throws
   * PrestageError: UNAVAILABLE (no room, closing), ENVIRONMENT_FAILED, or what staging threw; or
   * the signal's reason.
   */
  async acquire(
    workload: Workload,
    category: string,
    { signal }: { signal?: AbortSignal } = {},
  ): Promise<Acquired> {
    await this.#started.promise;
    signal?.throwIfAborted();
    const key = categoryKey(workload.name, category);
    if (this.#closing || !this.#tasks)
      throw new PrestageError("UNAVAILABLE", "the agent is not serving now");
    const found = this.#current.get(key);
    if (found && routable(found.environment)) return this.#begin(found, "warm", 0);
    if (!found) this.#succession.throwIfPaused(key);
    const slot = found ?? this.#makeForRequest(workload, category);
    const { promise, resolve, reject } = Promise.withResolvers<Acquired>();
    const waiter: Waiter = {
      kind: slot.origin === "plan" ? "late" : "made",
      arrivedMs: this.#deps.clock.monotonic(),
      resolve,
      reject,
    };
    slot.waiters.add(waiter);
    const abort = () => {
      // It may wait for a successor of that slot by now.
      for (const one of this.#all) one.waiters.delete(waiter);
      for (const one of this.#current.values()) one.waiters.delete(waiter);
      reject(signal?.reason);
    };
    signal?.addEventListener("abort", abort, { once: true });
    this.#hurry(slot);
    return promise.finally(() => signal?.removeEventListener("abort", abort));
  }

  list(): EnvironmentStatus[] {
    return [...this.#all].map(statusOf);
  }

  /** How the orders of the current plan stand. */
  orderStates(): OrderState[] {
    return [...this.#desired.orders].map(([key, { orderId }]) => {
      const slot = this.#current.get(key);
      if (slot && routable(slot.environment))
        return { orderId, state: "done", code: null, bytesDone: 0 };
      const failure = this.#succession.failure(key);
      if (failure) return { orderId, state: "failed", code: failure.code, bytesDone: 0 };
      if (this.#desired.paused) return { orderId, state: "pending", code: "PAUSED", bytesDone: 0 };
      return { orderId, state: "pending", code: null, bytesDone: 0 };
    });
  }

  /** Called after changes, at most once a turn. The returned function ends it. */
  onChange(fn: () => void): () => void {
    this.#listeners.add(fn);
    return () => this.#listeners.delete(fn);
  }

  /** Memory-time per (workload, category) since the last call. */
  takeMemoryTime(): MemoryTime[] {
    const nowMs = this.#deps.demandClock.now();
    for (const slot of this.#all) slot.meter.settle(nowMs);
    return this.#ledger.take();
  }

  /** Planned environments that went unused since the last call. */
  takeWaste(): Outcome[] {
    return this.#waste.take();
  }

  // ── requests ───────────────────────────────────────────────────────────────────────────────

  #makeForRequest(workload: Workload, category: string): Slot {
    if (!this.#desired.declares(workload.name))
      throw new PrestageError("NOT_FOUND", `workload ${workload.name} is not declared`);
    const making = [...this.#current.values()].filter((s) => underWay(s.environment.state)).length;
    if (making >= this.#options.makingMax)
      throw new PrestageError("UNAVAILABLE", "too many environments are being made", {
        details: { making, retryAfterMs: 1000 },
      });
    const slot = this.#newSlot(workload, category, { origin: "request", restarts: 0 });
    slot.foreground = true;
    this.#apply(slot, { type: "stage" });
    return slot;
  }

  /** A request waits now: what is still in the background goes to the front. */
  #hurry(slot: Slot): void {
    if (slot.foreground) return;
    slot.foreground = true;
    if (slot.environment.state === "staging") this.#making.stage(slot);
    if (slot.environment.state === "cold") this.#admission.run();
  }

  #begin(slot: Slot, kind: Acquired["kind"], waitedMs: number): Acquired {
    const { running } = slot;
    assert(running !== null, "a routable environment has a process");
    const { id } = slot.environment;
    this.#cancelTimer(slot);
    const began = this.#apply(slot, { type: "begin" });
    assert(began, "requests begin only on a routable environment");
    if (slot.keep) slot.usedUnderOrder = true;
    this.#metrics.acquired(kind);
    let released = false;
    return {
      kind,
      environment: { id, port: running.port, orderId: slot.keep?.orderId ?? null },
      waitedMs,
      memoryByteMs: slot.meter.takeSinceOutcome(this.#deps.demandClock.now()),
      release: (failed = false) => {
        if (released) return;
        released = true;
        if (failed && routable(slot.environment)) this.#apply(slot, { type: "suspect" });
        if (slot.environment.inFlight === 0) return;
        this.#apply(slot, { type: "end" });
        this.#arm(slot);
      },
    };
  }

  #serveWaiters(slot: Slot): void {
    const nowMs = this.#deps.clock.monotonic();
    const waiters = [...slot.waiters];
    slot.waiters.clear();
    for (const waiter of waiters)
      waiter.resolve(this.#begin(slot, waiter.kind, nowMs - waiter.arrivedMs));
  }

  /** It cannot be made at all: those who wait are told, and it goes. */
  #refuse(slot: Slot, cause: PrestageError): void {
    for (const waiter of slot.waiters) waiter.reject(cause);
    slot.waiters.clear();
    slot.failure = cause;
    this.#apply(slot, { type: "drop" });
  }

  // ── the plan ───────────────────────────────────────────────────────────────────────────────

  /** Brings what is here toward what is wanted. */
  #reconcile(): void {
    if (this.#closing || !this.#tasks) return;
    const nowMs = this.#deps.demandClock.now();
    for (const slot of [...this.#current.values()]) {
      const keep = this.#desired.orders.get(slot.key) ?? null;
      if (keep && !slot.keep) slot.usedUnderOrder = false;
      slot.keep = keep;
      if (keep) slot.lastOrderId = keep.orderId;
      this.#account(slot, nowMs);
      if (this.#desired.outdated(slot) || this.#desired.givenUp(slot)) this.#discard(slot);
      else this.#arm(slot);
    }
    if (this.#desired.paused) return;
    for (const [key, keep] of this.#desired.orders) {
      const workload = this.#desired.workload(keep.workload);
      if (!workload || this.#current.has(key) || this.#succession.postpones(key)) continue;
      this.#makeForPlan(workload, keep);
    }
    this.#admission.run();
  }

  #makeForPlan(workload: Workload, keep: KeepEnvironment): void {
    const slot = this.#newSlot(workload, keep.category, { origin: "plan", restarts: 0 });
    slot.keep = keep;
    slot.lastOrderId = keep.orderId;
    this.#apply(slot, { type: "stage" });
  }

  #discard(slot: Slot): void {
    if (slot.environment.state !== "absent") this.#apply(slot, { type: "drop" });
    else this.#remove(slot);
  }

  /** Sets the timer after which an idle environment is dropped; drops it when that is past. */
  #arm(slot: Slot): void {
    if (slot.environment.state !== "warm" || this.#closing) return;
    this.#cancelTimer(slot);
    const nowMs = this.#deps.demandClock.now();
    const untilMs = this.#desired.keepUntil(slot);
    if (untilMs <= nowMs) this.#apply(slot, { type: "drop" });
    else if (Number.isFinite(untilMs))
      slot.cancelTimer = this.#deps.demandClock.after(untilMs - nowMs, () => this.#arm(slot));
    // An idle one may be what a waiting start needs.
    if (isIdle(slot)) this.#admission.run();
  }

  // ── steps and effects ──────────────────────────────────────────────────────────────────────

  #apply(slot: Slot, event: EnvironmentEvent): boolean {
    const nowMs = this.#deps.demandClock.now();
    const step = stepEnvironment(slot.environment, event, nowMs);
    if (!step.ok) {
      this.#deps.log.debug(
        { environment: slot.environment.id, refused: step.refused },
        "refused an environment's step",
      );
      return false;
    }
    const { state } = step.next;
    slot.environment = step.next;
    if (state === "draining" || state === "absent") {
      if (this.#current.get(slot.key) === slot) this.#current.delete(slot.key);
    }
    this.#account(slot, nowMs);
    for (const effect of step.effects) this.#effect(slot, effect);
    if (state === "draining" && !step.next.stopping && event.type === "drop") {
      this.#cancelTimer(slot);
      slot.cancelTimer = this.#deps.clock.after(this.#options.drainMs, () =>
        this.#apply(slot, { type: "deadline" }),
      );
    }
    if (event.type !== "begin" && event.type !== "end") this.#changed();
    return true;
  }

  #effect(slot: Slot, effect: EnvironmentEffect): void {
    switch (effect) {
      case "stage":
        this.#making.stage(slot);
        break;
      case "cancel-stage":
        this.#making.cancelStage(slot);
        break;
      case "queue":
        this.#admission.run();
        break;
      case "launch":
        this.#making.launch(slot);
        break;
      case "recheck":
        this.#making.recheck(slot);
        break;
      case "stop":
        this.#making.stop(slot);
        break;
      case "serve":
        this.#onReady(slot);
        break;
      case "failed":
        this.#metrics.failed();
        this.#succession.failed(slot);
        break;
      case "gone":
        this.#remove(slot);
        break;
    }
  }

  #onReady(slot: Slot): void {
    slot.readyMs ??= this.#deps.demandClock.now();
    slot.readyMonotonicMs ??= this.#deps.clock.monotonic();
    this.#succession.passed(slot.key);
    this.#serveWaiters(slot);
    this.#arm(slot);
    // A planned start is over, the next may go.
    this.#admission.run();
  }

  #newSlot(
    workload: Workload,
    category: string,
    more: { origin: Slot["origin"]; restarts: number },
  ): Slot {
    const slot = newSlot(newId(this.#deps.random), workload, category, {
      ...more,
      order: this.#order++,
      ledger: this.#ledger,
      nowMs: this.#deps.demandClock.now(),
    });
    this.#current.set(slot.key, slot);
    this.#all.add(slot);
    return slot;
  }

  #remove(slot: Slot): void {
    this.#cancelTimer(slot);
    const nowMs = this.#deps.demandClock.now();
    slot.meter.set(0, false, nowMs);
    this.#all.delete(slot);
    if (this.#current.get(slot.key) === slot) this.#current.delete(slot.key);
    for (const waiter of slot.waiters)
      waiter.reject(new PrestageError("UNAVAILABLE", "the environment went away"));
    slot.waiters.clear();
    if (!this.#closing) this.#waste.gone(slot, nowMs);
    if (this.#all.size === 0) this.#empty?.();
    if (!this.#closing) this.#admission.run();
    this.#changed();
  }

  #account(slot: Slot, nowMs: number): void {
    const bytes = holdsMemory(slot.environment.state) ? declaredBytes(slot) : 0;
    slot.meter.set(bytes, slot.keep !== null, nowMs);
  }

  #cancelTimer(slot: Slot): void {
    slot.cancelTimer?.();
    slot.cancelTimer = null;
  }

  #changed(): void {
    this.#metrics.holding(this.#admission.used());
    if (this.#changing) return;
    this.#changing = true;
    queueMicrotask(() => {
      this.#changing = false;
      for (const listener of this.#listeners) listener();
    });
  }

  #start(name: string, task: () => Promise<void>): void {
    assert(this.#tasks !== null, "the pool runs");
    this.#tasks.start(name, task);
  }

  async #close(): Promise<void> {
    this.#closing = true;
    this.#succession.close();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#empty = resolve;
    for (const slot of [...this.#all]) {
      for (const waiter of slot.waiters)
        waiter.reject(new PrestageError("UNAVAILABLE", "the agent is stopping"));
      slot.waiters.clear();
      if (slot.environment.state === "draining") continue;
      this.#discard(slot);
    }
    const { drainMs, stopGraceMs } = this.#options;
    const late = this.#deps.clock.after(drainMs + 2 * stopGraceMs, () => {
      this.#deps.log.error({ left: this.list() }, "environments did not end in time");
      resolve();
    });
    if (this.#all.size > 0) await promise;
    late();
    this.#empty = null;
  }
}
