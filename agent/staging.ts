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

/** Resumes under this part of the peak. */
const CALM_RATIO = 0.9;
/** Well under the second within which staging has to yield. */
const PERIOD_MS = 200;

export class StagingGate {
  readonly #clock: Clock;
  readonly #demandClock: Clock;
  readonly #setRate: (bytesPerSecond: number) => void;
  readonly #cpuUsed: () => number;
  readonly #peakCpu: number;
  #orders: StagingOrders = { lease: null, paused: false, throttled: false };
  #atPeak = false;

  constructor(deps: {
    clock: Clock;
    demandClock: Clock;
    setRate: (bytesPerSecond: number) => void;
    cpuUsed: () => number;
    /** 0..1 of all cores; 1 = never at peak. */
    peakCpu: number;
  }) {
    this.#clock = deps.clock;
    this.#demandClock = deps.demandClock;
    this.#setRate = deps.setRate;
    this.#cpuUsed = deps.cpuUsed;
    this.#peakCpu = deps.peakCpu;
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
    this.#atPeak = this.#cpuUsed() > this.#peakCpu * (this.#atPeak ? CALM_RATIO : 1);
    this.#setRate(stagingRate(this.#orders, this.#atPeak, this.#demandClock.now()));
  }
}
