import type { HostId } from "../../shared/domain.ts";

export type Load = {
  host: HostId;
  site: string;
  cpuUsed: number;
  requestsPerSecond: number;
  /** Forecast for the next minutes, requests per second; 0 when there is none. */
  forecastRequestsPerSecond: number;
};

export type ThrottleOptions = {
  /** 0..1; at or over it a host is at peak. */
  peakCpu: number;
  /** Requests per second of one host; Infinity: no mark. */
  peakRequestsPerSecond: number;
  /** Mean CPU of a site's hosts. */
  sitePeakCpu: number;
  /** Leaves peak when under `mark × resumeRatio`… */
  resumeRatio: number;
  /** …for so long (demand clock). */
  calmMs: number;
};
export const DEFAULT_THROTTLE: ThrottleOptions = {
  peakCpu: 0.85,
  peakRequestsPerSecond: Number.POSITIVE_INFINITY,
  sitePeakCpu: 0.8,
  resumeRatio: 0.85,
  calmMs: 5_000,
};

/** Hosts and sites at peak, with the time since which they have been calm (null: not calm). */
export type Throttle = {
  hosts: ReadonlyMap<HostId, number | null>;
  sites: ReadonlyMap<string, number | null>;
};
export const NO_THROTTLE: Throttle = { hosts: new Map(), sites: new Map() };

export function stepThrottle(
  state: Throttle,
  _loads: readonly Load[],
  _options: ThrottleOptions,
  _now: number,
): { state: Throttle; throttled: Set<HostId> } {
  return { state, throttled: new Set() };
}
