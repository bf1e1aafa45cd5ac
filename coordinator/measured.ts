/** What misses and starts have really cost lately, per workload, as agents reported it. */
import type { EnvironmentStatus, Outcome } from "../shared/domain.ts";
import type { Measured } from "./plan/input.ts";

/** Weight of the newest. */
const BLEND = 0.2;
/** The same in what all workloads together tell of one that was never started. */
const POOL_BLEND = 0.1;
/** Before the first start of any, real milliseconds. */
const WARM_MS_GUESS = 2_000;
const WORKLOADS_MAX = 50_000;

type Record = {
  missMs: number | null;
  warmMs: number | null;
  hitMs: number | null;
  /** The environment whose start was learned last. */
  startedId: string | null;
};
const NOTHING: Record = { missMs: null, warmMs: null, hitMs: null, startedId: null };

export class MeasuredCosts {
  readonly #byWorkload = new Map<string, Record>();
  #pooledWarmMs: number | null = null;

  learn({ kind, workload, waitedMs, firstByteMs }: Outcome): void {
    const known = this.#byWorkload.get(workload) ?? NOTHING;
    if (kind === "miss" && waitedMs > 0)
      this.#set(workload, { ...known, missMs: blended(known.missMs, waitedMs, BLEND) });
    else if (kind === "hit")
      this.#set(workload, { ...known, hitMs: blended(known.hitMs, firstByteMs, BLEND) });
  }

  /** What a host reports it runs; the same again teaches nothing new. */
  reported(environments: readonly EnvironmentStatus[]): void {
    for (const { id, workload, startMs } of environments) {
      const known = this.#byWorkload.get(workload) ?? NOTHING;
      if (typeof startMs !== "number" || known.startedId === id) continue;
      const warmMs = blended(known.warmMs, startMs, BLEND);
      this.#set(workload, { ...known, warmMs, startedId: id });
      this.#pooledWarmMs = blended(this.#pooledWarmMs, startMs, POOL_BLEND);
    }
  }

  of(workload: string): Measured {
    const own = this.#byWorkload.get(workload)?.warmMs;
    return { warmMs: own ?? this.#pooledWarmMs ?? WARM_MS_GUESS };
  }

  /** What a request that missed has waited lately, real milliseconds; null before the first. */
  missMs(workload: string): number | null {
    return this.#byWorkload.get(workload)?.missMs ?? null;
  }

  /** Usual time to first byte of a warm environment, real milliseconds; null before the first. */
  hitMs(workload: string): number | null {
    return this.#byWorkload.get(workload)?.hitMs ?? null;
  }

  #set(workload: string, record: Record): void {
    if (this.#byWorkload.size >= WORKLOADS_MAX && !this.#byWorkload.has(workload)) {
      const [oldest] = this.#byWorkload.keys();
      if (oldest !== undefined) this.#byWorkload.delete(oldest);
    }
    this.#byWorkload.set(workload, record);
  }
}

function blended(before: number | null, newest: number, weight: number): number {
  return before === null ? newest : before + weight * (newest - before);
}
