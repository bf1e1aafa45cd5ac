/** What a warm pool needs and how it is set. */
import type { HostId } from "../../shared/domain.ts";
import type { Clock } from "../../shared/runtime/clock.ts";
import type { Log } from "../../shared/runtime/log.ts";
import type { Metrics } from "../../shared/runtime/metrics.ts";
import type { Random } from "../../shared/runtime/random.ts";
import type { Workload } from "../../shared/workload.ts";
import type { Driver } from "./driver.ts";
import type { ShadowFn, StageFn, WarmupFn } from "./making.ts";

export type WarmPoolDeps = {
  self: HostId;
  clock: Clock;
  demandClock: Clock;
  random: Random;
  log: Log;
  metrics: Metrics;
  stage: StageFn;
  /** Other versions of its artifacts are wanted and here than were staged last. */
  superseded?: (workload: Workload, category: string) => boolean;
  driver: Driver;
  warmup: WarmupFn;
  shadow: ShadowFn;
};

export type WarmPoolOptions = {
  /** Sum of declared memory of all processes; higher risks the host's own memory. */
  memoryBytesMax: number;
  /** Processes at once. */
  environmentsMax: number;
  /** Environments on their way at once, requests beyond it are refused. Default 4 × the above. */
  makingMax?: number;
  /** Starts of the plan at once; higher makes more noise for foreground requests. Default 2. */
  plannedStartsMax?: number;
  /** In `act` mode: idle time of one no plan lists, demand clock. Default 60 s. */
  graceMs?: number;
  /** Restarts in a row before it counts as failed. Default 3. */
  restartsMax?: number;
  /** From asking a process to end to forcing it. Default 2 s. */
  stopGraceMs?: number;
  /** From dropping an environment to cutting its requests in flight. Default 30 s. */
  drainMs?: number;
};

export function withDefaults(options: WarmPoolOptions): Required<WarmPoolOptions> {
  return {
    makingMax: options.environmentsMax * 4,
    plannedStartsMax: 2,
    graceMs: 60_000,
    restartsMax: 3,
    stopGraceMs: 2000,
    drainMs: 30_000,
    ...options,
  };
}

export type OrderState = {
  orderId: string;
  state: "pending" | "done" | "failed" | "withdrawn";
  code: string | null;
  bytesDone: number;
};
