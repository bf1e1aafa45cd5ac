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
/** A lease that has expired is noticed this much later at most; a peak with its sample. */
const PERIOD_MS = 500;

export class StagingGate {
  readonly #clock: Clock;
  readonly #demandClock: Clock;
  readonly #setRate: (bytesPerSecond: number) => void;
  readonly #cpuUsed: () => number;
  readonly #peakCpu: number;
  #orders: StagingOrders = { lease: null, paused: false, throttled: false };
  #atPeak = false;
  #rate: number | null = null;

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

  /** Bytes per second that may be staged now. */
  get bytesPerSecond(): number {
    return stagingRate(this.#orders, this.#atPeak, this.#demandClock.now());
  }

  get lease(): Lease | null {
    return this.#orders.lease;
  }

  set(orders: StagingOrders): void {
    this.#orders = orders;
    this.check();
  }

  async run(signal: AbortSignal): Promise<void> {
    await every(this.#clock, PERIOD_MS, signal, () => this.check());
    this.#apply(0);
  }

  /** Sets the rate that is right now. Call when the load of the host was measured. */
  check(): void {
    this.#atPeak = this.#cpuUsed() > this.#peakCpu * (this.#atPeak ? CALM_RATIO : 1);
    this.#apply(this.bytesPerSecond);
  }

  #apply(rate: number): void {
    if (rate === this.#rate) return;
    this.#rate = rate;
    this.#setRate(rate);
  }
}
