/**
 * How fast this agent may stage now. Foreground traffic comes first: the rate is zero while an
 * operator paused, while the coordinator sees a peak, and while this host itself is at one,
 * whether or not the coordinator is there to say so.
 */
import type { Lease } from "../shared/domain.ts";
import { type Clock, every } from "../shared/runtime/clock.ts";

export type StagingOrders = { lease: Lease | null; paused: boolean; throttled: boolean };

/**
 * Bytes per second of real time: what may be staged here in all and from outside the site, and
 * what hosts of other sites may stage from here; infinite where the site has no budget.
 */
export type StagingRates = { total: number; incoming: number; outgoing: number };

/** An expired lease leaves the floors. */
export function stagingRates(
  { lease, paused, throttled }: StagingOrders,
  atPeak: boolean,
  demandNowMs: number,
): StagingRates {
  if (paused || throttled || lease === null) return { total: 0, incoming: 0, outgoing: 0 };
  const { stagingBytesPerSecond: bytesPerSecond, floorBytesPerSecond } = lease;
  const inForce = demandNowMs < lease.expiresMs;
  const rate = (part: Lease["incoming"]) => {
    if (!part) return Number.POSITIVE_INFINITY;
    return inForce ? part.bytesPerSecond : part.floorBytesPerSecond;
  };
  return {
    total: atPeak ? 0 : rate({ bytesPerSecond, floorBytesPerSecond }),
    incoming: rate(lease.incoming),
    outgoing: rate(lease.outgoing),
  };
}

/** Resumes under this part of the peak. */
const CALM_RATIO = 0.9;
/** A lease that has expired is noticed this much later at most; a peak with its sample. */
const PERIOD_MS = 500;

export class StagingGate {
  readonly #clock: Clock;
  readonly #demandClock: Clock;
  readonly #setRates: (rates: StagingRates) => void;
  readonly #cpuUsed: () => number;
  readonly #peakCpu: number;
  #orders: StagingOrders = { lease: null, paused: false, throttled: false };
  /** End of the lease on the clock that nobody sets. */
  #untilMs = Number.POSITIVE_INFINITY;
  #atPeak = false;
  #rates: StagingRates | null = null;

  constructor(deps: {
    clock: Clock;
    demandClock: Clock;
    setRates: (rates: StagingRates) => void;
    cpuUsed: () => number;
    /** 0..1 of all cores; 1 = never at peak. */
    peakCpu: number;
  }) {
    this.#clock = deps.clock;
    this.#demandClock = deps.demandClock;
    this.#setRates = deps.setRates;
    this.#cpuUsed = deps.cpuUsed;
    this.#peakCpu = deps.peakCpu;
  }

  /** This host's own load stops staging, whatever its lease allows. */
  get atPeak(): boolean {
    return this.#atPeak;
  }

  get rates(): StagingRates {
    const over = this.#demandClock.monotonic() >= this.#untilMs;
    const now = over ? Number.POSITIVE_INFINITY : this.#demandClock.now();
    return stagingRates(this.#orders, this.#atPeak, now);
  }

  get lease(): Lease | null {
    return this.#orders.lease;
  }

  set(orders: StagingOrders): void {
    const { lease } = orders;
    if (lease && lease.id !== this.#orders.lease?.id)
      this.#untilMs =
        this.#demandClock.monotonic() + (lease.durationMs ?? Number.POSITIVE_INFINITY);
    this.#orders = orders;
    this.check();
  }

  async run(signal: AbortSignal): Promise<void> {
    await every(this.#clock, PERIOD_MS, signal, () => this.check());
    this.#apply({ ...this.rates, total: 0 });
  }

  /** Sets the rate that is right now. Call when the load of the host was measured. */
  check(): void {
    this.#atPeak = this.#cpuUsed() > this.#peakCpu * (this.#atPeak ? CALM_RATIO : 1);
    this.#apply(this.rates);
  }

  #apply(rates: StagingRates): void {
    const { total, incoming, outgoing } = this.#rates ?? {};
    if (rates.total === total && rates.incoming === incoming && rates.outgoing === outgoing) return;
    this.#rates = rates;
    this.#setRates(rates);
  }
}
