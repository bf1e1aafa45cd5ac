/**
 * Which hosts are at peak, so that staging yields: by measured CPU or requests over a mark, or by
 * what the forecast says is coming; a site is at peak as a whole when its mean is. Peak begins with
 * the first sample over the mark and ends after a calm while under a lower one (hysteresis).
 */
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
  /** 0..1; at or over it a host is at peak. Raised: staging goes on longer beside requests. */
  peakCpu: number;
  /** Requests per second of one host; Infinity: no mark. */
  peakRequestsPerSecond: number;
  /** Mean CPU of a site's hosts. */
  sitePeakCpu: number;
  /** Leaves peak when under `mark × resumeRatio`… */
  resumeRatio: number;
  /** …for so long (demand clock). Raised: fewer changes, later resumption. */
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

/** One step; hosts that no longer report (not in `loads`) leave the state. */
export function stepThrottle(
  state: Throttle,
  loads: readonly Load[],
  options: ThrottleOptions,
  now: number,
): { state: Throttle; throttled: Set<HostId> } {
  const hosts = new Map<HostId, number | null>();
  const sites = new Map<string, number | null>();
  for (const load of loads) {
    const requests = Math.max(load.requestsPerSecond, load.forecastRequestsPerSecond);
    const level = Math.max(
      load.cpuUsed / options.peakCpu,
      requests / options.peakRequestsPerSecond,
    );
    stepOne(hosts, load.host, state.hosts, level, options, now);
  }
  for (const [site, members] of Map.groupBy(loads, (load) => load.site)) {
    const mean = members.reduce((sum, load) => sum + load.cpuUsed, 0) / members.length;
    stepOne(sites, site, state.sites, mean / options.sitePeakCpu, options, now);
  }
  const throttled = loads.filter((load) => hosts.has(load.host) || sites.has(load.site));
  return { state: { hosts, sites }, throttled: new Set(throttled.map((load) => load.host)) };
}

/** `level` is the load as a share of its mark. */
function stepOne(
  into: Map<string, number | null>,
  key: string,
  before: ReadonlyMap<string, number | null>,
  level: number,
  options: ThrottleOptions,
  now: number,
): void {
  if (level >= 1) {
    into.set(key, null);
    return;
  }
  const since = before.get(key);
  if (since === undefined) return;
  if (level > options.resumeRatio) {
    into.set(key, null);
    return;
  }
  const calmSince = since ?? now;
  if (now - calmSince < options.calmMs) into.set(key, calmSince);
}
