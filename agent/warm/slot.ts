/** One environment as the pool holds it: its pure state and what hangs on it. */
import type { EnvironmentStatus, KeepEnvironment } from "../../shared/domain.ts";
import { categoryKey } from "../../shared/domain.ts";
import { type ErrorCode, PrestageError } from "../../shared/errors.ts";
import type { Random } from "../../shared/runtime/random.ts";
import type { Workload } from "../../shared/workload.ts";
import type { Running } from "./driver.ts";
import { type Environment, holdsMemory, newEnvironment, routable } from "./environment.ts";
import { type MemoryLedger, Meter } from "./memory-time.ts";
import type { KeepView } from "./policy.ts";

export type Acquired = {
  /** warm: found ready; late: a planned one was under way; made: made for a request. */
  kind: "warm" | "late" | "made";
  environment: { id: string; port: number; orderId: string | null };
  /** Real milliseconds it waited. */
  waitedMs: number;
  /** Memory held by the environment since the last outcome of it, demand clock. */
  memoryByteMs: number;
  /** Once, when the request ended; `failed` when the environment did not answer as HTTP should. */
  release(failed?: boolean): void;
};

export type Waiter = {
  kind: "late" | "made";
  arrivedMs: number;
  resolve(acquired: Acquired): void;
  reject(cause: unknown): void;
};

export type Slot = {
  readonly key: string;
  readonly workload: Workload;
  readonly category: string;
  /** Rising; ties are broken by it. */
  readonly order: number;
  environment: Environment;
  /** Who had it made: decides whether those who wait for it are late or missed. */
  readonly origin: "plan" | "request";
  /** The order that lists it now. */
  keep: KeepEnvironment | null;
  /** The latest order that listed it. */
  lastOrderId: string | null;
  usedUnderOrder: boolean;
  /** A request waits, so staging is foreground. */
  foreground: boolean;
  restarts: number;
  artifacts: Record<string, string>;
  /** Aborts the staging under way. */
  staging: AbortController | null;
  /** Aborts the launch under way. */
  launching: AbortController | null;
  running: Running | null;
  readonly waiters: Set<Waiter>;
  readonly meter: Meter;
  /** Why it failed. */
  failure: unknown;
  /** When it became ready: demand clock, and monotonic; null before. */
  readyMs: number | null;
  readyMonotonicMs: number | null;
  /** When its process was launched, monotonic. */
  launchedMs: number | null;
  /** Cancels the timer that would drop, retry or cut it. */
  cancelTimer: (() => void) | null;
};

/** 64 bits of chance: unique for ever with a daemon's, the same again with a seed's. */
export function newId(random: Random): string {
  const part = () =>
    random
      .int(2 ** 32)
      .toString(36)
      .padStart(7, "0");
  return part() + part();
}

export function newSlot(
  id: string,
  workload: Workload,
  category: string,
  more: Pick<Slot, "origin" | "order" | "restarts"> & { ledger: MemoryLedger; nowMs: number },
): Slot {
  return {
    key: categoryKey(workload.name, category),
    workload,
    category,
    order: more.order,
    environment: newEnvironment(id, more.nowMs),
    origin: more.origin,
    keep: null,
    lastOrderId: null,
    usedUnderOrder: false,
    foreground: false,
    restarts: more.restarts,
    artifacts: {},
    staging: null,
    launching: null,
    running: null,
    waiters: new Set(),
    meter: new Meter(more.ledger, workload.name, category),
    failure: null,
    readyMs: null,
    readyMonotonicMs: null,
    launchedMs: null,
    cancelTimer: null,
  };
}

/** Declared memory; what admission and memory-time count. */
export function declaredBytes(slot: Slot): number {
  return slot.workload.environment.resources.memoryMb * 2 ** 20;
}

export function isIdle(slot: Slot): boolean {
  return slot.environment.state === "warm" && routable(slot.environment) && slot.waiters.size === 0;
}

export function keepView(slot: Slot, declared: boolean): KeepView {
  return {
    declared,
    listed: slot.keep !== null,
    wasPlanned: slot.lastOrderId !== null,
    busy: slot.environment.inFlight > 0 || slot.waiters.size > 0,
    mode: slot.workload.mode,
    keepAliveMs: slot.workload.keepAliveMs,
    idleSinceMs: slot.environment.lastUsedMs ?? slot.readyMs ?? slot.environment.sinceMs,
  };
}

export function statusOf(slot: Slot): EnvironmentStatus {
  const { environment } = slot;
  return {
    id: environment.id,
    workload: slot.workload.name,
    category: slot.category,
    state: environment.state,
    sinceMs: environment.sinceMs,
    verdict: environment.verdict,
    lastUsedMs: environment.lastUsedMs,
    planned: slot.keep !== null,
    memoryBytes: holdsMemory(environment.state) ? declaredBytes(slot) : 0,
    restarts: slot.restarts,
    startMs: startMsOf(slot),
  };
}

function startMsOf({ launchedMs, readyMonotonicMs }: Slot): number | null {
  return launchedMs === null || readyMonotonicMs === null ? null : readyMonotonicMs - launchedMs;
}

/** Why it failed, as the code, text and data of an error. */
export function failureOf(slot: Slot): {
  code: ErrorCode;
  message: string;
  details: Record<string, unknown>;
} {
  const { failure, workload, category } = slot;
  const details = { workload: workload.name, category };
  if (failure instanceof PrestageError)
    return {
      code: failure.code,
      message: failure.message,
      details: { ...failure.details, ...details },
    };
  const message = failure instanceof Error ? failure.message : String(failure);
  const output = failure instanceof Error ? failure.cause : undefined;
  return {
    code: "ENVIRONMENT_FAILED",
    message,
    details: typeof output === "string" ? { ...details, output } : details,
  };
}
