/** Why this host wants a version: orders of the coordinator, callers that wait for it. */
import type { HoldArtifact } from "../../shared/domain.ts";
import type { Urgency } from "./obtain.ts";

export type OrderState = {
  orderId: string;
  state: "pending" | "done" | "failed" | "withdrawn";
  code: string | null;
  bytesDone: number;
};

export type Waiter = {
  priority: number;
  foreground: boolean;
  resolve: (path: string) => void;
  reject: (cause: unknown) => void;
};

export class Interest {
  readonly manifestHash: string;
  holds: HoldArtifact[] = [];
  readonly waiters = new Set<Waiter>();
  /** Ends the attempt under way. */
  running: AbortController | null = null;
  /** Why the last attempt failed. */
  code: string | null = null;
  failures = 0;
  retryAtMs = 0;

  constructor(manifestHash: string) {
    this.manifestHash = manifestHash;
  }

  get wanted(): boolean {
    return this.holds.length > 0 || this.waiters.size > 0;
  }

  urgency(): Urgency {
    const all = [...this.holds, ...this.waiters].map((w) => w.priority);
    return {
      priority: all.length > 0 ? Math.max(...all) : 0,
      deadlineMs: Math.min(Number.MAX_SAFE_INTEGER, ...this.holds.map((h) => h.deadlineMs)),
      foreground: [...this.waiters].some((w) => w.foreground),
    };
  }

  orderState(
    hold: HoldArtifact,
    tree: { active: boolean; bytesHave: number } | undefined,
  ): OrderState {
    const state = tree?.active ? "done" : this.code ? "failed" : "pending";
    const code = state === "failed" ? this.code : null;
    return { orderId: hold.orderId, state, code, bytesDone: tree?.bytesHave ?? 0 };
  }

  rejectAll(cause: unknown): void {
    for (const waiter of this.waiters) waiter.reject(cause);
    this.waiters.clear();
  }
}
