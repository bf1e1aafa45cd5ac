/** Why this host wants a version: orders of the coordinator, callers that wait for it. */
import type { HoldArtifact } from "../../shared/domain.ts";
import { PrestageError } from "../../shared/errors.ts";
import { ORDER_DETAIL_MAX } from "../../shared/protocol/bodies.ts";
import type { Random } from "../../shared/runtime/random.ts";
import { backoffMs } from "../../shared/runtime/retry.ts";
import type { Urgency } from "./obtain.ts";

export type OrderState = {
  orderId: string;
  state: "pending" | "done" | "failed" | "withdrawn";
  code: string | null;
  /** In words, why it failed. */
  detail?: string | undefined;
  bytesDone: number;
};

export type Waiter = {
  priority: number;
  foreground: boolean;
  resolve: (path: string) => void;
  reject: (cause: unknown) => void;
};

const RETRY_MS_MAX = 30_000;
/** A disk that was full is tried again this often: an order goes on soon after there is space. */
const DISK_RETRY_MS = 4_000;

/** Ends an attempt; `cause` says what the disk said. */
export class Unwritten extends Error {}

export class Interest {
  readonly manifestHash: string;
  holds: HoldArtifact[] = [];
  readonly waiters = new Set<Waiter>();
  /** Ends the attempt under way. */
  running: AbortController | null = null;
  /** Why the last attempt failed. */
  code: string | null = null;
  #detail: string | undefined;
  /** So much of it was here when no source gave the rest; null: some do, as far as is known. */
  #stuckBytes: number | null = null;
  #told: Urgency | null = null;
  failures = 0;
  retryAtMs = 0;

  constructor(manifestHash: string) {
    this.manifestHash = manifestHash;
  }

  /** What stood in its way may be gone. */
  retry(): void {
    this.retryAtMs = 0;
    this.code = null;
    this.#detail = undefined;
    this.#stuckBytes = null;
  }

  get wanted(): boolean {
    return this.holds.length > 0 || this.waiters.size > 0;
  }

  urgency(): Urgency {
    const all = [...this.holds, ...this.waiters].map((w) => w.priority);
    this.#told = {
      priority: all.length > 0 ? Math.max(...all) : 0,
      deadlineMs: Math.min(Number.MAX_SAFE_INTEGER, ...this.holds.map((h) => h.deadlineMs)),
      foreground: [...this.waiters].some((w) => w.foreground),
    };
    return this.#told;
  }

  /** Null when it is what `urgency` gave last. */
  urgencyIfNew(): Urgency | null {
    const told = this.#told;
    const now = this.urgency();
    const same =
      now.priority === told?.priority &&
      now.deadlineMs === told.deadlineMs &&
      now.foreground === told.foreground;
    return same ? null : now;
  }

  orderState(
    hold: HoldArtifact,
    tree: { active: boolean; bytesHave: number } | undefined,
  ): OrderState {
    if (this.#stuckBytes !== null && tree && tree.bytesHave > this.#stuckBytes) this.retry();
    const state = tree?.active ? "done" : this.code ? "failed" : "pending";
    const failure = state === "failed" ? { code: this.code, detail: this.#detail } : { code: null };
    return { orderId: hold.orderId, state, ...failure, bytesDone: tree?.bytesHave ?? 0 };
  }

  /** Tries again later, the later the more often it failed; who waits is told. */
  failed(cause: unknown, nowMs: number, random: Random): void {
    this.#says(cause);
    this.#stuckBytes = null;
    const maxMs = this.code === "DISK_FULL" ? DISK_RETRY_MS : RETRY_MS_MAX;
    this.retryAtMs = nowMs + backoffMs(this.failures++, random, { baseMs: 1_000, maxMs });
    this.rejectAll(cause);
  }

  /** All of it is here, activated at `root`. */
  done(root: string): void {
    this.code = null;
    this.failures = 0;
    for (const waiter of this.waiters) waiter.resolve(root);
    this.waiters.clear();
  }

  /** Who waits is told; its orders count as failed until more than these bytes are here. */
  stuck(cause: PrestageError, bytesHave: number | null): void {
    this.rejectAll(cause);
    if (bytesHave === null) return;
    this.#says(cause);
    this.#stuckBytes = bytesHave;
  }

  #says(cause: unknown): void {
    this.code = cause instanceof PrestageError ? cause.code : "UNAVAILABLE";
    const words = cause instanceof PrestageError ? cause.message : undefined;
    this.#detail = words?.slice(0, ORDER_DETAIL_MAX);
  }

  rejectAll(cause: unknown): void {
    for (const waiter of this.waiters) waiter.reject(cause);
    this.waiters.clear();
  }

  /** An order that counts no more before it was done; null when it was. */
  withdrawn(
    hold: HoldArtifact,
    tree: { active: boolean; bytesHave: number } | undefined,
  ): OrderState | null {
    const state = this.orderState(hold, tree);
    return state.state === "done" ? null : { ...state, state: "withdrawn" };
  }
}

/** Who waits for the transfer core to have all chunks of a version. */
export class Completions {
  readonly #resolvers = new Map<string, () => void>();

  complete(manifestHash: string): void {
    this.#resolvers.get(manifestHash)?.();
  }

  wait(manifestHash: string, signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const onAbort = () => reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    this.#resolvers.set(manifestHash, resolve);
    return promise.finally(() => {
      signal.removeEventListener("abort", onAbort);
      this.#resolvers.delete(manifestHash);
    });
  }
}

const WITHDRAWN_MAX = 200;

/** The last orders that were taken back before they were done; the oldest are forgotten. */
export class Withdrawn {
  readonly #states = new Map<string, OrderState>();

  get states(): OrderState[] {
    return [...this.#states.values()];
  }

  add(state: OrderState): void {
    this.#states.set(state.orderId, state);
    const oldest = this.#states.keys().next();
    if (this.#states.size > WITHDRAWN_MAX && !oldest.done) this.#states.delete(oldest.value);
  }

  delete(orderId: string): void {
    this.#states.delete(orderId);
  }
}
