/** What misses and starts have really cost lately, per workload, from the outcomes agents sent. */
import type { Outcome } from "../shared/domain.ts";
import type { Measured } from "./plan/input.ts";

/** Weight of the newest miss. */
const BLEND = 0.2;
/** Before the first miss of any: a process start with its data at hand, real milliseconds. */
const WARM_MS_GUESS = 2_000;
/** Weight of the newest miss in what all workloads together tell of one that never missed. */
const POOL_BLEND = 0.1;
const WORKLOADS_MAX = 50_000;

type Record = { missMs: number; warmMs: number; hitMs: number };

export class MeasuredCosts {
  readonly #byWorkload = new Map<string, Record>();
  #pooledWarmMs: number | null = null;

  learn(outcome: Outcome): void {
    const known = this.#byWorkload.get(outcome.workload);
    if (outcome.kind === "miss" && outcome.waitedMs > 0) {
      const { waitedMs } = outcome;
      const missMs = known?.missMs ? known.missMs + BLEND * (waitedMs - known.missMs) : waitedMs;
      // A start without staging is the quick kind of miss: follow falls fast, rises slowly.
      const before = known?.warmMs || waitedMs;
      const warmMs = before + (waitedMs < before ? 0.5 : 0.05) * (waitedMs - before);
      this.#set(outcome.workload, { missMs, warmMs, hitMs: known?.hitMs ?? 0 });
      const pooled = this.#pooledWarmMs ?? warmMs;
      this.#pooledWarmMs = pooled + POOL_BLEND * (warmMs - pooled);
    } else if (outcome.kind === "hit") {
      const hitMs = known?.hitMs || outcome.firstByteMs;
      this.#set(outcome.workload, {
        missMs: known?.missMs ?? 0,
        warmMs: known?.warmMs ?? 0,
        hitMs: hitMs + BLEND * (outcome.firstByteMs - hitMs),
      });
    }
  }

  of(workload: string): Measured {
    const known = this.#byWorkload.get(workload);
    return { warmMs: known?.warmMs || (this.#pooledWarmMs ?? WARM_MS_GUESS) };
  }

  /** What a request that missed has waited lately, real milliseconds; null before the first. */
  missMs(workload: string): number | null {
    return this.#byWorkload.get(workload)?.missMs || null;
  }

  /** Usual time to first byte of a warm environment, real milliseconds; null before the first. */
  hitMs(workload: string): number | null {
    return this.#byWorkload.get(workload)?.hitMs || null;
  }

  #set(workload: string, record: Record): void {
    if (this.#byWorkload.size >= WORKLOADS_MAX && !this.#byWorkload.has(workload)) {
      const [oldest] = this.#byWorkload.keys();
      if (oldest !== undefined) this.#byWorkload.delete(oldest);
    }
    this.#byWorkload.set(workload, record);
  }
}
