/**
 * Which host looks after which followed tag. One at a time: the one that has it keeps it while it
 * is there, another takes over when it is gone for a while, or when its looks keep failing and
 * another one may have more luck (credentials, a mount, a way to the source).
 */
import { hash } from "node:crypto";
import type { HostId } from "../../shared/domain.ts";

export type Placement = {
  host: HostId | null;
  /** Since when the host is not there; null while it is. */
  lostMs: number | null;
  /** Where looks failed since one succeeded. */
  failedOn: readonly HostId[];
};

/** A host gets this long to come back: a restart moves nothing. */
export const FAILOVER_MS = 15_000;
/** Looks in a row that fail before another host is tried. */
export const FAILURES_MAX = 3;
/** After so many hosts the fault is the source's. */
export const HOSTS_TRIED_MAX = 8;

export const UNPLACED: Placement = { host: null, lostMs: null, failedOn: [] };

/** `failures`: how many looks in a row failed on the host that has it. */
export function assign(
  placements: ReadonlyMap<string, Placement>,
  live: ReadonlySet<HostId>,
  failures: (key: string) => number,
  nowMs: number,
): Map<string, Placement> {
  const load = new Map<HostId, number>([...live].map((host) => [host, 0]));
  for (const { host } of placements.values())
    if (host !== null && load.has(host)) load.set(host, (load.get(host) ?? 0) + 1);
  const result = new Map<string, Placement>();
  for (const [key, before] of placements) {
    const placed = place(key, seen(before, live, failures(key), nowMs), load, nowMs);
    result.set(key, placed);
    if (placed.host !== null && placed.host !== before.host)
      load.set(placed.host, (load.get(placed.host) ?? 0) + 1);
  }
  return result;
}

function seen(
  { host, lostMs, failedOn }: Placement,
  live: ReadonlySet<HostId>,
  failures: number,
  nowMs: number,
): Placement {
  const here = host !== null && live.has(host);
  if (!here) return { host, lostMs: lostMs ?? nowMs, failedOn };
  if (failures < FAILURES_MAX || failedOn.includes(host)) return { host, lostMs: null, failedOn };
  return { host, lostMs: null, failedOn: [...failedOn, host] };
}

function place(
  key: string,
  now: Placement,
  load: ReadonlyMap<HostId, number>,
  nowMs: number,
): Placement {
  const { host, lostMs, failedOn } = now;
  const failing = host !== null && failedOn.includes(host);
  const waiting = host !== null && lostMs !== null && nowMs - lostMs < FAILOVER_MS;
  if (waiting || (host !== null && lostMs === null && !failing)) return now;
  if (failing && lostMs === null && failedOn.length >= HOSTS_TRIED_MAX) return now;
  const best = bestHost(key, load, failedOn);
  // Nobody else: where it fails now is as good a place as any to try again.
  if (best === null)
    return lostMs === null ? now : { ...now, host: bestHost(key, load, []) ?? host };
  return { host: best, lostMs: null, failedOn };
}

/** The least laden; among equals by a hash, so that keys spread. */
function bestHost(
  key: string,
  load: ReadonlyMap<HostId, number>,
  without: readonly HostId[],
): HostId | null {
  const ranked = [...load]
    .filter(([host]) => !without.includes(host))
    .map(([host, count]) => ({ host, count, tie: hash("sha256", `${key} ${host}`, "hex") }))
    .sort((a, b) => a.count - b.count || (a.tie < b.tie ? -1 : 1));
  return ranked[0]?.host ?? null;
}
