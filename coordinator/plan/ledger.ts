/**
 * Who holds what of one budget of bytes per second. What a host may be using is the highest of its
 * unexpired grants, because a newer one may never have reached it, and its floor for ever, because
 * an unreachable host falls to that; the sum of these never passes the budget. A host that vanished
 * holds its part until its grants end. Refused: taking a grant back at once; nobody can take back
 * what a partitioned host holds.
 */
import type { HostId } from "../../shared/domain.ts";

type Grant = { id: string; rate: number; expiresMs: number };
type Holder = { floor: number; grants: readonly Grant[] };
export type Ledger = ReadonlyMap<HostId, Holder>;

/** `bytes` to be moved; more of the budget goes to a higher weight. */
export type Demand = { host: HostId; weight: number; bytes: number; throttled: boolean };
export type Budget = {
  bytesPerSecond: number;
  perHostBytesPerSecond: number;
  /** What a host without a grant may use; smaller where many hosts share a small budget. */
  floorBytesPerSecond: number;
  /** All that keep a floor reserved. */
  hosts: readonly HostId[];
  demands: readonly Demand[];
};
export type Granted = { bytesPerSecond: number; floorBytesPerSecond: number };

/**
 * What waits should be there in this time where the budget allows it; the seconds are those of the
 * rates, not of the demand clock. Raised: links are idle while something waits.
 */
const SPEND_SECONDS = 0.25;
/** Floors take at most this part of the budget… */
const FLOORS_SHARE = 0.5;
/** …and a new host's floor at most this part of what is left of it. */
const FLOOR_OF_REST = 1 / 8;

/** The host said it goes by this grant: those before it are of no use to it any more. */
export function acknowledge(ledger: Ledger, held: ReadonlyMap<HostId, string>): Ledger {
  const hosts = new Map(ledger);
  for (const [id, lease] of held) {
    const host = hosts.get(id);
    const at = host?.grants.findIndex((one) => one.id === lease) ?? -1;
    if (host && at > 0) hosts.set(id, { ...host, grants: host.grants.slice(at) });
  }
  return hosts;
}

/** What all hosts together may be using now of a budget, by the grants given out. */
export function committedBytesPerSecond(ledger: Ledger, now: number): number {
  let sum = 0;
  for (const { floor, grants } of ledger.values())
    sum += Math.max(floor, ...grants.filter((g) => g.expiresMs > now).map((g) => g.rate));
  return sum;
}

/** A grant for each host with a demand, under the id given for it. */
export function grant(
  ledger: Ledger,
  budget: Budget,
  ids: ReadonlyMap<HostId, string>,
  { expiresMs, now }: { expiresMs: number; now: number },
): { ledger: Ledger; granted: Map<HostId, Granted> } {
  const hosts = current(ledger, budget, now);
  const free = budget.bytesPerSecond - committed(hosts);
  const wanted = split(budget, hosts, free);
  const granted = new Map<HostId, Granted>();
  for (const { host, throttled } of budget.demands) {
    const own = hosts.get(host);
    const id = ids.get(host);
    if (!own || id === undefined) continue;
    const rate = throttled ? 0 : (wanted.get(host) ?? own.floor);
    hosts.set(host, { floor: own.floor, grants: [...own.grants, { id, rate, expiresMs }] });
    granted.set(host, { bytesPerSecond: rate, floorBytesPerSecond: own.floor });
  }
  return { ledger: hosts, granted };
}

/** The ledger without what has expired, with a floor for hosts that are new. */
function current(ledger: Ledger, budget: Budget, now: number): Map<HostId, Holder> {
  const hosts = new Map<HostId, Holder>();
  const known = new Set(budget.hosts);
  for (const [id, host] of ledger) {
    const grants = dominant(host.grants.filter((grant) => grant.expiresMs > now));
    if (known.has(id) || grants.length > 0) hosts.set(id, { floor: host.floor, grants });
  }
  let reserve = budget.bytesPerSecond * FLOORS_SHARE;
  for (const host of hosts.values()) reserve -= host.floor;
  let free = budget.bytesPerSecond - committed(hosts);
  for (const id of [...known].sort()) {
    if (hosts.has(id)) continue;
    const floor = Math.max(0, Math.min(budget.floorBytesPerSecond, reserve * FLOOR_OF_REST, free));
    reserve -= floor;
    free -= floor;
    hosts.set(id, { floor, grants: [] });
  }
  return hosts;
}

/** Grants that can still be the highest at some time: bounded, and falling over time. */
function dominant(grants: readonly Grant[]): Grant[] {
  const kept: Grant[] = [];
  for (const grant of grants.toReversed())
    if (kept.every((k) => k.rate < grant.rate)) kept.push(grant);
  return kept.reverse();
}

function inUse(host: Holder): number {
  return Math.max(host.floor, ...host.grants.map((grant) => grant.rate));
}

function committed(hosts: Ledger): number {
  let sum = 0;
  for (const host of hosts.values()) sum += inUse(host);
  return sum;
}

/**
 * Rates by priority-weighted pending bytes, filled like water: a host never gets more than its cap
 * or its need, and what it leaves goes to the others. A renewal up to what the host may use anyway
 * costs nothing; only what is above comes out of `free`.
 */
function split(budget: Budget, hosts: Ledger, free: number): Map<HostId, number> {
  const rates = new Map<HostId, number>();
  const open = budget.demands.flatMap(({ host, weight, bytes, throttled }) => {
    const own = hosts.get(host);
    if (!own || throttled) return [];
    const need = bytes / SPEND_SECONDS;
    const cap = Math.min(budget.perHostBytesPerSecond, Math.max(own.floor, need));
    return [{ host, weight, cap, held: inUse(own), floor: own.floor }];
  });
  const held = open.reduce((sum, o) => sum + o.held, 0);
  let pool = Math.max(0, held + Math.max(0, free));
  for (const one of open) pool -= Math.min(one.floor, one.cap);
  let weights = open.reduce((sum, one) => sum + one.weight, 0);
  // Those that fill up first come first, so that one pass levels the water.
  for (const one of open.toSorted((a, b) => room(a) / a.weight - room(b) / b.weight)) {
    const share = weights > 0 ? (Math.max(0, pool) * one.weight) / weights : 0;
    const extra = Math.min(room(one), share);
    rates.set(one.host, Math.min(one.cap, one.floor + extra));
    pool -= extra;
    weights -= one.weight;
  }
  return limitGrowth(open, rates, free);
}

function room(one: { cap: number; floor: number }): number {
  return Math.max(0, one.cap - one.floor);
}

/** What was given to others may not have reached its giver's loser: growth comes from `free`. */
function limitGrowth(
  open: readonly { host: HostId; held: number }[],
  rates: Map<HostId, number>,
  free: number,
): Map<HostId, number> {
  let growth = 0;
  for (const one of open) growth += Math.max(0, (rates.get(one.host) ?? 0) - one.held);
  const part = growth > free ? Math.max(0, free) / growth : 1;
  // A hair less than everything, so that no rounding passes the budget.
  const allowed = part < 1 ? part * (1 - 1e-9) : 1;
  for (const one of open) {
    const rate = rates.get(one.host) ?? 0;
    if (rate > one.held) rates.set(one.host, one.held + (rate - one.held) * allowed);
  }
  return rates;
}
