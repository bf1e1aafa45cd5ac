/** Outcome rows of planned environments that were ready and never used. */
import type { HostId, Outcome } from "../../shared/domain.ts";
import { BoundedQueue } from "../../shared/runtime/queue.ts";
import type { Slot } from "./slot.ts";

export class Waste {
  readonly #host: HostId;
  readonly #rows = new BoundedQueue<Outcome>({ capacity: 4096, overflow: "drop-oldest" });

  constructor(host: HostId) {
    this.#host = host;
  }

  /** Looks at an environment that is gone. */
  gone(slot: Slot, nowMs: number): void {
    if (slot.lastOrderId === null || slot.usedUnderOrder || slot.readyMs === null) return;
    this.#rows.push({
      kind: "wasted",
      workload: slot.workload.name,
      category: slot.category,
      host: this.#host,
      atMs: nowMs,
      firstByteMs: 0,
      waitedMs: 0,
      status: 0,
      orderId: slot.lastOrderId,
      bytes: 0,
      memoryByteMs: slot.meter.takeSinceOutcome(nowMs),
    });
  }

  take(): Outcome[] {
    return this.#rows.drain();
  }
}
