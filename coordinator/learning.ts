/**
 * Learning from what happened: each decision becomes a ledger row with the forecast and the
 * alternatives behind it, each outcome closes one, and the rewards move the bandit's arms.
 */
import { categoryKey, type Order, type Outcome } from "../shared/domain.ts";
import type { Clock } from "../shared/runtime/clock.ts";
import { every } from "../shared/runtime/clock.ts";
import type { Log } from "../shared/runtime/log.ts";
import { BoundedQueue } from "../shared/runtime/queue.ts";
import type { Random } from "../shared/runtime/random.ts";
import type { MeasuredCosts } from "./measured.ts";
import type { Prices } from "./plan/input.ts";
import type { LedgerRow, Settlement } from "./store/ledger.ts";
import type { Store } from "./store/store.ts";

export type LearningDeps = {
  clock: Clock;
  demandClock: Clock;
  random: Random;
  log: Log;
  store: Store;
  measured: MeasuredCosts;
  /** Class weight of a workload: 1 at priority 100. */
  weight(workload: string): number;
  mix(workload: string, category: string): Record<string, number>;
  /** The bandit's context and arm for a category now. */
  arm(workload: string, category: string): { arm: number; context: readonly number[] };
};

/** Decisions without an outcome yet; the oldest is forgotten here, not in the ledger. */
const OPEN_MAX = 20_000;
const QUEUE_MAX = 50_000;
const WRITE_MS = 1_000;
const ALTERNATIVES = 5;
/** One row for the misses of a category in this much demand time. */
const MISS_ROW_MS = 60_000;
const GB = 1e9;
const HOUR_MS = 3_600_000;

export class Learning {
  readonly #deps: LearningDeps;
  readonly #open = new Map<string, Order>();
  readonly #rows = new BoundedQueue<LedgerRow>({ capacity: QUEUE_MAX, overflow: "drop-oldest" });
  readonly #settled = new BoundedQueue<Settlement>({
    capacity: QUEUE_MAX,
    overflow: "drop-oldest",
  });
  readonly #missedMs = new Map<string, number>();
  #refused = new Map<string, Order[]>();
  #prices: Prices = { memoryGbHour: 0, movedGb: 0, diskGbHour: 0 };

  constructor(deps: LearningDeps) {
    this.#deps = deps;
  }

  async run(signal: AbortSignal): Promise<void> {
    await every(this.#deps.clock, WRITE_MS, signal, () => this.#write());
    await this.#write();
  }

  /** Every plan: its new orders become open decisions. */
  planned(orders: readonly Order[], now: number, prices: Prices): void {
    this.#prices = prices;
    this.#refused = Map.groupBy(
      orders.filter((o) => !o.taken && o.workload !== null),
      (o) => categoryKey(o.workload ?? "", o.category ?? ""),
    );
    for (const order of orders) {
      if (!order.taken || this.#open.has(order.id)) continue;
      this.#open.set(order.id, order);
      this.#rows.push(this.#row(order.id, order, now));
    }
    for (const [id] of this.#open) {
      if (this.#open.size <= OPEN_MAX) break;
      this.#open.delete(id);
    }
  }

  /** Outcomes as they were stored. */
  outcomes(outcomes: readonly Outcome[]): void {
    for (const outcome of outcomes) {
      this.#deps.measured.learn(outcome);
      const reward = this.#reward(outcome);
      const order = outcome.orderId === null ? undefined : this.#open.get(outcome.orderId);
      if (order) {
        this.#open.delete(order.id);
        this.#settled.push({ id: order.id, outcome: outcome.kind, reward });
      } else if (outcome.kind === "miss") this.#missed(outcome, reward);
    }
  }

  /**
   * Cost units won by an outcome: the waiting it saved (or did not), less memory held and bytes
   * moved for nothing.
   */
  #reward({ kind, workload, waitedMs, memoryByteMs, bytes }: Outcome): number {
    const { measured, weight } = this.#deps;
    const missMs = measured.missMs(workload) ?? 0;
    const latency = kind === "wasted" ? 0 : kind === "hit" ? missMs : -waitedMs;
    const memory = (memoryByteMs / GB / HOUR_MS) * this.#prices.memoryGbHour;
    const moved = kind === "wasted" ? (bytes / GB) * this.#prices.movedGb : 0;
    return (latency / 1000) * weight(workload) - memory - moved;
  }

  /** Nothing was ordered and somebody waited: that is a decision too. */
  #missed(outcome: Outcome, reward: number): void {
    const key = categoryKey(outcome.workload, outcome.category);
    const [best] = (this.#refused.get(key) ?? []).filter((o) => o.kind === "warm");
    const last = this.#missedMs.get(key) ?? Number.NEGATIVE_INFINITY;
    if (!best || outcome.atMs - last < MISS_ROW_MS) return;
    this.#missedMs.set(key, outcome.atMs);
    const row = this.#row(`miss:${key}:${Math.round(outcome.atMs)}`, best, outcome.atMs);
    this.#rows.push({ ...row, outcome: "miss", reward });
  }

  #row(id: string, order: Order, atMs: number): LedgerRow {
    const { workload, category } = order;
    const key = categoryKey(workload ?? "", category ?? "");
    const arm = this.#deps.arm(workload ?? "", category ?? "");
    return {
      id,
      atMs,
      order,
      forecast: {
        probability: order.probability,
        mix: workload && category ? this.#deps.mix(workload, category) : {},
      },
      alternatives: (this.#refused.get(key) ?? []).slice(0, ALTERNATIVES),
      outcome: null,
      reward: null,
      context: [...arm.context],
      arm: arm.arm,
    };
  }

  async #write(): Promise<void> {
    const { ledger } = this.#deps.store;
    const rows = this.#rows.drain();
    const settled = this.#settled.drain();
    if (rows.length > 0) await ledger.recordDecisions(rows);
    if (settled.length > 0) await ledger.recordOutcomes(settled);
  }
}
