/**
 * Budgets of bytes per second, split into leases: what is staged by the whole fleet, and for each
 * site that has a budget what comes into it and what leaves it. A ledger each; one lease carries a
 * host's part of all.
 */
import type { HostId, Lease } from "../../shared/domain.ts";
import {
  acknowledge,
  committedBytesPerSecond,
  type Demand,
  type Granted,
  grant,
  type Ledger,
} from "./ledger.ts";

export type LeaseOptions = {
  /** Of the whole fleet. Raised: staging is faster and takes more of the links. */
  budgetBytesPerSecond: number;
  perHostBytesPerSecond: number;
  /** What a host without a lease may use; smaller where many hosts share a small budget. */
  floorBytesPerSecond: number;
  /** Demand clock. Raised: fewer renewals, and a vanished host blocks its part longer. */
  durationMs: number;
  /** What staging may bring into a site and take out of it; null: no budget. */
  site: (site: string) => SiteBudget;
};
export type SiteBudget = { inBytesPerSecond: number | null; outBytesPerSecond: number | null };

/** Bytes a host still has to stage, per QoS class. */
export type LeaseDemand = {
  host: HostId;
  pending: { class: string; priority: number; bytes: number }[];
  /** Hosts of other sites wait for what it sends. */
  gives: boolean;
  /** It fetches from outside its site. */
  takes: boolean;
  /** At peak or paused: gets rate 0. */
  throttled: boolean;
};
export type LeaseInput = {
  /** Each keeps its floor reserved. */
  enrolled: readonly { host: HostId; site: string }[];
  demands: readonly LeaseDemand[];
};

/** The fleet's ledger, and by site of those that have a budget. */
export type LeaseBook = {
  fleet: Ledger;
  incoming: ReadonlyMap<string, Ledger>;
  outgoing: ReadonlyMap<string, Ledger>;
  next: number;
};

export const EMPTY_BOOK: LeaseBook = {
  fleet: new Map(),
  incoming: new Map(),
  outgoing: new Map(),
  next: 1,
};

/** Of a host's lease, at least this part goes to every class that waits, together. */
const CLASS_MIN_SHARE = 0.2;
/** …and of the rest this part to the highest, the same of what is left to the next. */
const CLASS_PART = 0.75;

/** Leases for the connected hosts; every enrolled host keeps its floors reserved. */
export function grantLeases(
  book: LeaseBook,
  input: LeaseInput,
  options: LeaseOptions,
  now: number,
): { book: LeaseBook; leases: Map<HostId, Lease> } {
  const demands = input.demands.toSorted((a, b) => (a.host < b.host ? -1 : 1));
  const { perHostBytesPerSecond, floorBytesPerSecond } = options;
  const expiresMs = now + options.durationMs;
  const ids = new Map(demands.map(({ host }, i) => [host, `l${book.next + i}`]));
  const split = (
    ledger: Ledger,
    budget: Omit<Parameters<typeof grant>[1], "floorBytesPerSecond">,
  ) => grant(ledger, { ...budget, floorBytesPerSecond }, ids, { expiresMs, now });
  const fleet = split(book.fleet, {
    bytesPerSecond: options.budgetBytesPerSecond,
    perHostBytesPerSecond,
    hosts: [...new Set([...input.enrolled.map((e) => e.host), ...ids.keys()])],
    demands: demands.map(toStage),
  });
  const sites = Map.groupBy(input.enrolled, (e) => e.site);
  const ofSites = (
    ledgers: ReadonlyMap<string, Ledger>,
    limit: (budget: SiteBudget) => number | null,
    demandsOf: (demands: readonly LeaseDemand[]) => Demand[],
  ) => {
    const [kept, granted] = [new Map<string, Ledger>(), new Map<HostId, Granted>()];
    for (const [site, members] of sites) {
      const bytesPerSecond = limit(options.site(site));
      if (bytesPerSecond === null) continue;
      const hosts = members.map((m) => m.host);
      const own = demandsOf(demands.filter((d) => hosts.includes(d.host)));
      const budget = { bytesPerSecond, perHostBytesPerSecond: bytesPerSecond, hosts, demands: own };
      const result = split(ledgers.get(site) ?? new Map(), budget);
      kept.set(site, result.ledger);
      for (const [host, part] of result.granted) granted.set(host, part);
    }
    return { ledgers: kept, granted };
  };
  const incoming = ofSites(book.incoming, (b) => b.inBytesPerSecond, toTake);
  const outgoing = ofSites(
    book.outgoing,
    (b) => b.outBytesPerSecond,
    (own) => own.map(toGive),
  );
  const leases = new Map<HostId, Lease>();
  for (const { host, pending } of demands) {
    const whole = fleet.granted.get(host) ?? { bytesPerSecond: 0, floorBytesPerSecond: 0 };
    leases.set(host, {
      id: ids.get(host) ?? "",
      stagingBytesPerSecond: whole.bytesPerSecond,
      expiresMs,
      durationMs: options.durationMs,
      floorBytesPerSecond: whole.floorBytesPerSecond,
      incoming: incoming.granted.get(host),
      outgoing: outgoing.granted.get(host),
      classes: classShares(pending, whole.bytesPerSecond, options.durationMs),
    });
  }
  const next = book.next + ids.size;
  const ledgers = { incoming: incoming.ledgers, outgoing: outgoing.ledgers };
  return { book: { fleet: fleet.ledger, ...ledgers, next }, leases };
}

/**
 * The host said it goes by this lease: what the ones granted before it held is free for others at
 * once and not only when they expire.
 */
export function acknowledged(book: LeaseBook, held: ReadonlyMap<HostId, string>): LeaseBook {
  const all = (ledgers: ReadonlyMap<string, Ledger>) =>
    new Map([...ledgers].map(([site, ledger]) => [site, acknowledge(ledger, held)]));
  return {
    ...book,
    fleet: acknowledge(book.fleet, held),
    incoming: all(book.incoming),
    outgoing: all(book.outgoing),
  };
}

/** What hosts may be using now of all budgets together: falls when some of one comes free. */
export function committedInAll(book: LeaseBook, now: number): number {
  const ledgers = [book.fleet, ...book.incoming.values(), ...book.outgoing.values()];
  return ledgers.reduce((sum, ledger) => sum + committedBytesPerSecond(ledger, now), 0);
}

function toStage({ host, pending, throttled }: LeaseDemand): Demand {
  const bytes = pending.reduce((sum, p) => sum + p.bytes, 0);
  const weight = pending.reduce((sum, p) => sum + p.bytes * (1 + p.priority), 1);
  return { host, weight, bytes, throttled };
}

/** Some fetch for the others of a site. While nobody does, any may be the one that begins. */
function toTake(own: readonly LeaseDemand[]): Demand[] {
  const known = own.some((d) => d.takes && d.pending.length > 0);
  return own.map((d) => (known && !d.takes ? { ...toStage(d), bytes: 0 } : toStage(d)));
}

/** Nobody knows how much others will fetch: who is asked now gets what there is. */
function toGive({ host, gives, throttled }: LeaseDemand): Demand {
  return { host, weight: 1, bytes: gives ? Number.POSITIVE_INFINITY : 0, throttled };
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
