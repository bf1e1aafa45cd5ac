/**
 * How fast this agent may stage now. Foreground traffic comes first: the rate is zero while an
 * operator paused, while the coordinator sees a peak, and while this host itself is at one,
 * whether or not the coordinator is there to say so.
 */
import type { Lease } from "../shared/domain.ts";
import { type Clock, every } from "../shared/runtime/clock.ts";

export type StagingOrders = { lease: Lease | null; paused: boolean; throttled: boolean };

/** Bytes per second of real time. An expired lease leaves the floor. */
export function stagingRate(orders: StagingOrders, atPeak: boolean, demandNowMs: number): number {
  if (orders.paused || orders.throttled || atPeak || orders.lease === null) return 0;
  const { lease } = orders;
  return demandNowMs < lease.expiresMs
    ? Math.max(lease.stagingBytesPerSecond, 0)
    : lease.floorBytesPerSecond;
}

/** Share of all cores over which this host stops staging by itself; under the second it resumes. */
const PEAK_CPU = 0.95;
const CALM_CPU = 0.85;
/** Well under the second within which staging has to yield. */
const PERIOD_MS = 200;

export class StagingGate {
  readonly #clock: Clock;
  readonly #demandClock: Clock;
  readonly #setRate: (bytesPerSecond: number) => void;
  readonly #cpuUsed: () => number;
  #orders: StagingOrders = { lease: null, paused: false, throttled: false };
  #atPeak = false;

  constructor(deps: {
    clock: Clock;
    demandClock: Clock;
    setRate: (bytesPerSecond: number) => void;
    cpuUsed: () => number;
  }) {
    this.#clock = deps.clock;
    this.#demandClock = deps.demandClock;
    this.#setRate = deps.setRate;
    this.#cpuUsed = deps.cpuUsed;
  }

  get lease(): Lease | null {
    return this.#orders.lease;
  }

  set(orders: StagingOrders): void {
    this.#orders = orders;
    this.#apply();
  }

  async run(signal: AbortSignal): Promise<void> {
    await every(this.#clock, PERIOD_MS, signal, () => this.#apply());
    this.#setRate(0);
  }

  #apply(): void {
    this.#atPeak = this.#cpuUsed() > (this.#atPeak ? CALM_CPU : PEAK_CPU);
    this.#setRate(stagingRate(this.#orders, this.#atPeak, this.#demandClock.now()));
  }
}
