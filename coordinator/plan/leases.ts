/**
 * The fleet's staging bytes per second, split into leases. What a host may be using is the highest
 * of its unexpired grants, because a newer one may never have reached it, and its floor for ever,
 * because an unreachable host falls to that; the sum of these never passes the budget. A host that
 * vanished holds its part until its lease ends. Refused: taking a lease back at once; nobody can
 * take back what a partitioned host holds.
 */
import type { HostId, Lease } from "../../shared/domain.ts";

export type LeaseOptions = {
  /** Of the whole fleet. Raised: staging is faster and takes more of the links. */
  budgetBytesPerSecond: number;
  perHostBytesPerSecond: number;
  /** What a host without a lease may use; smaller where many hosts share a small budget. */
  floorBytesPerSecond: number;
  /** Demand clock. Raised: fewer renewals, and a vanished host blocks its part longer. */
  durationMs: number;
};

/** Bytes a host still has to stage, per QoS class. */
export type LeaseDemand = {
  host: HostId;
  pending: { class: string; priority: number; bytes: number }[];
  /** At peak or paused: gets rate 0. */
  throttled: boolean;
};

type HostGrants = { floor: number; grants: readonly Lease[] };

export type LeaseBook = {
  hosts: ReadonlyMap<HostId, HostGrants>;
  next: number;
};

export const EMPTY_BOOK: LeaseBook = { hosts: new Map(), next: 1 };

/**
 * What waits should be there in this time where the budget allows it; the seconds are those of the
 * rates, not of the demand clock. Raised: links are idle while something waits.
 */
const SPEND_SECONDS = 1;
/** Floors take at most this part of the budget… */
const FLOORS_SHARE = 0.5;
/** …and a new host's floor at most this part of what is left of it. */
const FLOOR_OF_REST = 1 / 8;
/** Of a host's lease, at least this part goes to every class that waits, together. */
const CLASS_MIN_SHARE = 0.2;
/** …and of the rest this part to the highest, the same of what is left to the next. */
const CLASS_PART = 0.75;

/** Leases for the connected hosts; every host of `enrolled` keeps its floor reserved. */
export function grantLeases(
  book: LeaseBook,
  input: { enrolled: readonly HostId[]; demands: readonly LeaseDemand[] },
  options: LeaseOptions,
  now: number,
): { book: LeaseBook; leases: Map<HostId, Lease> } {
  const hosts = current(book, input, options, now);
  const free = options.budgetBytesPerSecond - committed(hosts);
  const demands = input.demands.toSorted((a, b) => (a.host < b.host ? -1 : 1));
  const rates = split(demands, hosts, free, options);
  const leases = new Map<HostId, Lease>();
  let next = book.next;
  for (const demand of demands) {
    const own = hosts.get(demand.host);
    if (!own) continue;
    const rate = demand.throttled ? 0 : (rates.get(demand.host) ?? own.floor);
    const lease: Lease = {
      id: `l${next++}`,
      stagingBytesPerSecond: rate,
      expiresMs: now + options.durationMs,
      floorBytesPerSecond: own.floor,
      classes: classShares(demand.pending, rate, options.durationMs),
    };
    hosts.set(demand.host, { floor: own.floor, grants: [...own.grants, lease] });
    leases.set(demand.host, lease);
  }
  return { book: { hosts, next }, leases };
}

/**
 * The host said it goes by this lease: the ones granted before it are of no use to it any more, so
 * that what they held is free for others at once and not only when they expire.
 */
export function acknowledged(book: LeaseBook, held: ReadonlyMap<HostId, string>): LeaseBook {
  const hosts = new Map(book.hosts);
  for (const [id, lease] of held) {
    const host = hosts.get(id);
    const at = host?.grants.findIndex((grant) => grant.id === lease) ?? -1;
    if (host && at > 0) hosts.set(id, { ...host, grants: host.grants.slice(at) });
  }
  return { ...book, hosts };
}

/** What all hosts together may be using now, by the grants given out. */
export function committedBytesPerSecond(book: LeaseBook, now: number): number {
  let sum = 0;
  for (const host of book.hosts.values()) {
    const live = host.grants.filter((lease) => lease.expiresMs > now);
    sum += Math.max(host.floor, ...live.map((lease) => lease.stagingBytesPerSecond));
  }
  return sum;
}

/** The book without what has expired, with a floor for hosts that are new. */
function current(
  book: LeaseBook,
  input: { enrolled: readonly HostId[]; demands: readonly LeaseDemand[] },
  options: LeaseOptions,
  now: number,
): Map<HostId, HostGrants> {
  const hosts = new Map<HostId, HostGrants>();
  const known = new Set([...input.enrolled, ...input.demands.map((d) => d.host)]);
  for (const [id, host] of book.hosts) {
    const grants = dominant(host.grants.filter((lease) => lease.expiresMs > now));
    if (known.has(id) || grants.length > 0) hosts.set(id, { floor: host.floor, grants });
  }
  let reserve = options.budgetBytesPerSecond * FLOORS_SHARE;
  for (const host of hosts.values()) reserve -= host.floor;
  let free = options.budgetBytesPerSecond - committed(hosts);
  for (const id of [...known].sort()) {
    if (hosts.has(id)) continue;
    const floor = Math.max(0, Math.min(options.floorBytesPerSecond, reserve * FLOOR_OF_REST, free));
    reserve -= floor;
    free -= floor;
    hosts.set(id, { floor, grants: [] });
  }
  return hosts;
}

/** Grants that can still be the highest at some time: bounded, and falling over time. */
function dominant(grants: readonly Lease[]): Lease[] {
  const kept: Lease[] = [];
  for (const lease of grants.toReversed())
    if (kept.every((k) => k.stagingBytesPerSecond < lease.stagingBytesPerSecond)) kept.push(lease);
  return kept.reverse();
}

function inUse(host: HostGrants): number {
  return Math.max(host.floor, ...host.grants.map((lease) => lease.stagingBytesPerSecond));
}

function committed(hosts: ReadonlyMap<HostId, HostGrants>): number {
  let sum = 0;
  for (const host of hosts.values()) sum += inUse(host);
  return sum;
}

/**
 * Rates by priority-weighted pending bytes, filled like water: a host never gets more than its cap
 * or its need, and what it leaves goes to the others. A renewal up to what the host may use anyway
 * costs nothing; only what is above comes out of `free`.
 */
function split(
  demands: readonly LeaseDemand[],
  hosts: ReadonlyMap<HostId, HostGrants>,
  free: number,
  options: LeaseOptions,
): Map<HostId, number> {
  const rates = new Map<HostId, number>();
  const open = demands.flatMap((demand) => {
    const own = hosts.get(demand.host);
    if (!own || demand.throttled) return [];
    const weight = demand.pending.reduce((sum, p) => sum + p.bytes * (1 + p.priority), 1);
    const bytes = demand.pending.reduce((sum, p) => sum + p.bytes, 0);
    const need = bytes / SPEND_SECONDS;
    const cap = Math.min(options.perHostBytesPerSecond, Math.max(own.floor, need));
    return [{ host: demand.host, weight, cap, held: inUse(own), floor: own.floor }];
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

/**
 * Sub-limits of a lease per class: a small part is split evenly among all that wait, the rest goes
 * by priority, three quarters of it to the highest (or what it can use within the lease, if less),
 * and so on down. A higher class that can use more never gets less than a lower one, and never all.
 */
export function classShares(
  pending: LeaseDemand["pending"],
  rate: number,
  durationMs: number,
): Record<string, number> {
  const shares: Record<string, number> = {};
  const waiting = perClass(pending).toSorted(
    (a, b) => b.priority - a.priority || (a.class < b.class ? -1 : 1),
  );
  if (waiting.length === 0) return shares;
  // A hair less than everything, so that no rounding makes the sum pass the rate.
  const whole = rate * (1 - 1e-9);
  const base = (whole * CLASS_MIN_SHARE) / waiting.length;
  let rest = whole * (1 - CLASS_MIN_SHARE);
  waiting.forEach((one, i) => {
    const usable = Math.max(0, (one.bytes * 1000) / durationMs - base);
    const part = i === waiting.length - 1 ? rest : Math.min(rest * CLASS_PART, usable);
    shares[one.class] = base + part;
    rest -= part;
  });
  return shares;
}

/** What waits, one entry per class. */
function perClass(pending: LeaseDemand["pending"]): LeaseDemand["pending"] {
  return [...Map.groupBy(pending, (p) => p.class)].flatMap(([name, members]) => {
    const bytes = members.reduce((sum, p) => sum + p.bytes, 0);
    const priority = Math.max(...members.map((p) => p.priority));
    return bytes > 0 ? [{ class: name, priority, bytes }] : [];
  });
}
