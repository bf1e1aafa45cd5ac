/**
 * The waiting work behind an environment's steps: staging its artifacts, starting and proving its
 * process, checking a suspect, stopping. Each part ends in one event given back to the pool.
 */
import type { Verdict } from "../../shared/domain.ts";
import type { Clock } from "../../shared/runtime/clock.ts";
import type { Log } from "../../shared/runtime/log.ts";
import type { Histogram, Metrics } from "../../shared/runtime/metrics.ts";
import type { Workload } from "../../shared/workload.ts";
import type { Driver, Running } from "./driver.ts";
import type { EnvironmentEvent } from "./environment.ts";
import type { Slot } from "./slot.ts";

export type StageFn = (
  workload: Workload,
  category: string,
  options: { foreground: boolean; priority: number; signal: AbortSignal },
) => Promise<Record<string, string>>;

/** Sends the workload's dummy requests; a failing one is for the shadow request to judge. */
export type WarmupFn = (
  port: number,
  workload: Workload,
  category: string,
  options: { signal: AbortSignal },
) => Promise<void>;

/** Sends the shadow request. Does not throw for what the environment does wrong. */
export type ShadowFn = (
  port: number,
  workload: Workload,
  category: string,
  options: { signal: AbortSignal },
) => Promise<Verdict>;

export type MakingDeps = {
  clock: Clock;
  demandClock: Clock;
  log: Log;
  metrics: Metrics;
  stage: StageFn;
  driver: Driver;
  warmup: WarmupFn;
  shadow: ShadowFn;
  /** Gives an event to the environment; a refused one is no error (it was overtaken). */
  apply(slot: Slot, event: EnvironmentEvent): void;
  /** Starts a task of the pool's group. */
  start(name: string, task: () => Promise<void>): void;
};

export class Making {
  readonly #deps: MakingDeps;
  readonly #stopGraceMs: number;
  readonly #stepSeconds: Histogram<"step">;

  constructor(deps: MakingDeps, { stopGraceMs }: { stopGraceMs: number }) {
    this.#deps = deps;
    this.#stopGraceMs = stopGraceMs;
    this.#stepSeconds = deps.metrics.histogram({
      name: "prestage_warm_step_seconds",
      help: "Time of each step that makes an environment ready",
      labelNames: ["step"],
      buckets: [0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 120, 600],
    });
  }

  /**
   * Stages for the slot; with one under way already (in the background), takes its place, and only
   * then lets go of the old one, so that nothing fetched is given up in between.
   */
  stage(slot: Slot): void {
    const { signal, controller } = own();
    const before = slot.staging;
    slot.staging = controller;
    this.#deps.start("stage", async () => {
      const done = this.#time("stage");
      try {
        const artifacts = await this.#deps.stage(slot.workload, slot.category, {
          foreground: slot.foreground,
          priority: slot.keep?.priority ?? 0,
          signal,
        });
        if (slot.staging !== controller) return;
        slot.staging = null;
        slot.artifacts = artifacts;
        done();
        this.#deps.apply(slot, { type: "staged" });
      } catch (cause) {
        if (slot.staging !== controller) return;
        slot.staging = null;
        slot.failure = cause;
        this.#deps.apply(slot, { type: "stage-failed" });
      }
    });
    before?.abort(new Error("staged in the foreground instead"));
  }

  cancelStage(slot: Slot): void {
    const controller = slot.staging;
    slot.staging = null;
    controller?.abort(new Error("not wanted any more"));
  }

  launch(slot: Slot): void {
    const { signal, controller } = own();
    slot.launching = controller;
    slot.launchedMs = this.#deps.clock.monotonic();
    const { workload, category, artifacts } = slot;
    this.#deps.start("launch", async () => {
      const done = this.#time("launch");
      let running: Running;
      try {
        running = await this.#deps.driver.launch(
          { id: slot.environment.id, workload, category, artifacts },
          { signal },
        );
      } catch (cause) {
        slot.launching = null;
        slot.failure = cause;
        this.#deps.apply(slot, { type: "exited" });
        return;
      }
      slot.running = running;
      done();
      this.#deps.start("watch", () => this.#watch(slot, running));
      if (signal.aborted) {
        await running.stop(this.#stopGraceMs);
        return;
      }
      await this.#prove(slot, running, signal);
      slot.launching = null;
    });
  }

  recheck(slot: Slot): void {
    const { signal, controller } = own();
    const { running } = slot;
    if (!running) return;
    slot.launching = controller;
    this.#deps.start("recheck", async () => {
      await this.#verdict(slot, running, signal);
      if (slot.launching === controller) slot.launching = null;
    });
  }

  stop(slot: Slot): void {
    slot.launching?.abort(new Error("not wanted any more"));
    const { running } = slot;
    if (running) this.#deps.start("stop", () => running.stop(this.#stopGraceMs));
  }

  async #watch(slot: Slot, running: Running): Promise<void> {
    const exit = await running.exited;
    slot.failure ??= new Error(
      `the process ended by itself (${exit.signal ?? `exit code ${exit.code}`})`,
      { cause: running.outputTail() },
    );
    slot.launching?.abort(new Error("the process ended"));
    this.#deps.apply(slot, { type: "exited" });
  }

  async #prove(slot: Slot, running: Running, signal: AbortSignal): Promise<void> {
    const done = this.#time("warmup");
    try {
      await this.#deps.warmup(running.port, slot.workload, slot.category, { signal });
    } catch (cause) {
      if (signal.aborted) return;
      this.#deps.log.warn(
        { workload: slot.workload.name, category: slot.category, err: cause },
        "warm-up request failed",
      );
    }
    done();
    await this.#verdict(slot, running, signal);
  }

  async #verdict(slot: Slot, running: Running, signal: AbortSignal): Promise<void> {
    const done = this.#time("shadow");
    let verdict: Verdict;
    try {
      verdict = await this.#deps.shadow(running.port, slot.workload, slot.category, { signal });
    } catch (cause) {
      if (signal.aborted) return;
      const atMs = this.#deps.demandClock.now();
      verdict = { passed: false, atMs, latencyMs: 0, detail: String(cause).slice(0, 500) };
    }
    done();
    if (signal.aborted) return;
    if (!verdict.passed)
      slot.failure = new Error(`shadow request failed: ${verdict.detail}`, {
        cause: running.outputTail(),
      });
    this.#deps.apply(slot, { type: "verdict", verdict });
  }

  #time(step: "stage" | "launch" | "warmup" | "shadow"): () => void {
    const startMs = this.#deps.clock.monotonic();
    return () =>
      this.#stepSeconds.observe({ step }, (this.#deps.clock.monotonic() - startMs) / 1000);
  }
}

function own(): { controller: AbortController; signal: AbortSignal } {
  const controller = new AbortController();
  return { controller, signal: controller.signal };
}
