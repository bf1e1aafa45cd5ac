/**
 * Whom to ask for what no neighbour has: a host of the site that is no neighbour, a host of another
 * site, or the origin. A few hosts of the site do that for all, one of them for each unit. All of
 * the site elect them alike, from what gossip tells of who wants a version, neighbour or not; who
 * falls silent while it is elected, or says that its way outside fails, is passed over. Of several
 * sites one at a time has the turn at the origin, and the others follow it; one that gets nothing
 * that way goes there too.
 */
import { elect, isAmong, ranked } from "./election.ts";
import type { Flights } from "./flights.ts";
import type { Candidate, Source, Sources } from "./sources.ts";
import { type Flight, ORIGIN, type WantState } from "./wants.ts";

/**
 * Hosts of a site that fetch a version from outside at once. Raised: an origin that is slow to each
 * connection is used better; lowered: fewer connections, and less is lost with one that dies.
 */
export const FETCHERS_MAX = 4;
/** Who fetches from outside says so at least so often. */
const HEARTBEAT_MS = 1_000;
/** A request waits so long for what a host without a request fetches. */
const FOREGROUND_CLAIM_MS = 500;
/** A request waits so long for another site that goes to the origin. */
const FOREGROUND_OTHERS_MS = 1_000;
/** Requests at several hosts come together: so long the first fetches one unit at a time. */
const FOREGROUND_START_MS = 300;
/** A host of the site that says so and gets nothing for so long holds nobody up any more. */
const URGENT_MS = 3_000;
const FIRST_CONTACT_MS = 3_000;
/** Hosts say all they want every 30 s. */
const SILENT_MS_MAX = 65_000;
/** Who was not among the first of all members listens so many times as long. */
const LATER_FACTOR = 2.5;
/** A site waits so many times as long for others whose turn it is, of which one dies in between. */
const OTHERS_FACTOR = 2;
/** This host did nothing for so long: what it knows of the others is old. */
const AWAY_MS = 2_000;
/** Elected hosts look so often what other sites have; those with a request more often. */
const LOOK_MS = 1_000;
const FOREGROUND_LOOK_MS = 300;
const ORPHANS_MAX = 2_048;
const ORPHAN_REST_MS = 50;

export type OutsideOptions = {
  self: string;
  originFlightsMax: number;
  settleMs: number;
  takeoverMs: number;
};

export class Outside {
  readonly #o: OutsideOptions;
  readonly #sources: Sources;
  readonly #flights: Flights;
  /** The other hosts of the site, whether they are heard or not. */
  members: readonly string[] = [];
  /** Whether there are other sites. */
  elsewhere = false;
  #bornMs: number | null = null;
  #tickMs: number | null = null;
  /** Since when this host listens to the others without a break and may stage. */
  #listensMs = 0;

  constructor(options: OutsideOptions, sources: Sources, flights: Flights) {
    this.#o = options;
    this.#sources = sources;
    this.#flights = flights;
  }

  /** Time has begun, or goes on. */
  at(nowMs: number): void {
    this.#bornMs ??= nowMs;
  }

  /** Staging begins. */
  begins(nowMs: number): void {
    this.#listensMs = nowMs;
  }

  /** Wants of which the others are to be told again that this host sees to them. */
  *tick(wants: readonly WantState[], nowMs: number): Iterable<string> {
    if (nowMs - (this.#tickMs ?? nowMs) > AWAY_MS) this.#listensMs = nowMs;
    this.#tickMs = nowMs;
    for (const want of wants) {
      if (want.flights.size > 0) want.flownMs = nowMs;
      if (this.#beats(want, nowMs)) yield want.id;
    }
  }

  /**
   * Of these wants, those that the coordinator is to be asked about now: who has them in other sites,
   * and, where a request may go to the origin, who else of this one.
   */
  *looks(wants: readonly WantState[], nowMs: number): Iterable<WantState> {
    for (const want of wants) {
      const others = want.foreground && want.hasOrigin && this.members.length > 0;
      if (!this.elsewhere && !others) continue;
      const everyMs = want.foreground && this.elsewhere ? FOREGROUND_LOOK_MS : LOOK_MS;
      if (nowMs - want.lookedMs < everyMs || !this.#goes(want, nowMs)) continue;
      want.lookedMs = nowMs;
      yield want;
    }
  }

  /** A unit came, from outside or not. */
  came({ want, unit, bytes, from }: Flight, nowMs: number): void {
    if (from === ORIGIN) want.originFailures = 0;
    if (!want.alone && this.isOutside(from)) want.lead.gained(unit, bytes, nowMs);
  }

  /** Another host said what it has and fetches; gives what this one need not fetch for that. */
  *heard(host: string, want: WantState | undefined, nowMs: number): Iterable<Flight> {
    const known = want && this.#sources.get(host)?.known(want.id);
    if (!known) return;
    want.lead.heard(known.have, nowMs);
    if (want.foreground && !known.urgent) return;
    for (const unit of known.claims.keys())
      for (const flight of [...(want.flights.get(unit) ?? [])])
        if (flight.from === ORIGIN && this.#elected([this.#o.self, host], want, unit) === host)
          yield flight;
  }

  /** What the others are to know of a want. */
  said(want: WantState): { urgent: boolean; claims: number[]; reaches: boolean } {
    const claims: number[] = [];
    for (const [unit, flights] of want.flights)
      if (flights.some((f) => this.isOutside(f.from))) claims.push(unit);
    const urgent = want.foreground && (claims.length > 0 || want.rarity.orphans > 0);
    return { urgent, claims, reaches: want.originFailures === 0 };
  }

  /** What to ask whom for; each is tried before the next is given. */
  *choices(want: WantState, nowMs: number): Generator<{ unit: number; from: string }> {
    const { rarity } = want;
    const end = want.foreground ? rarity.size : rarity.orphans;
    if (end === 0 || nowMs < want.restUntilMs) return;
    const before = want.flights.size;
    const fetchers = this.#fetchers(want, nowMs);
    const fits = (s: Source) => want.foreground || !s.near;
    for (let i = Math.min(end, ORPHANS_MAX) - 1; i >= 0; i--) {
      const free = (s: Source) => fits(s) && s.free(nowMs, want);
      if (!this.#originFree(want, nowMs) && !this.#sources.any(free)) break;
      const unit = rarity.at(i);
      const from = this.#whom(want, unit, fetchers, nowMs);
      if (from !== null) yield { unit, from };
    }
    if (want.flights.size === before) want.restUntilMs = nowMs + ORPHAN_REST_MS;
  }

  isOutside(from: string): boolean {
    return this.#sources.get(from)?.near !== true;
  }

  #beats(want: WantState, nowMs: number): boolean {
    if (this.members.length === 0 || nowMs - want.beatMs < HEARTBEAT_MS) return false;
    if (this.#underWay(want) === 0 && !this.#goes(want, nowMs)) return false;
    want.beatMs = nowMs;
    return true;
  }

  /** Whether this host is one of those that see to it that it comes from outside. */
  #goes(want: WantState, nowMs: number): boolean {
    return (
      want.rarity.orphans > 0 &&
      !this.#sources.isWholeNear(want.id) &&
      this.#fetchers(want, nowMs).includes(this.#o.self)
    );
  }

  /** Who goes outside for a want, self included if it is one of them. */
  #fetchers(want: WantState, nowMs: number): string[] {
    const { self, takeoverMs } = this.#o;
    const others = new Map<string, Candidate>();
    for (const one of this.#sources.candidates(want.id, nowMs - SILENT_MS_MAX))
      if (!want.foreground || one.known.urgent) others.set(one.host, one);
    want.alone = others.size === 0;
    if (want.alone) return [self];
    const chosen: string[] = [];
    const reaches = want.originFailures === 0;
    const all = reaches ? [self, ...others.keys()] : [...others.keys()];
    for (const host of ranked(all, want.id)) {
      const known = others.get(host)?.known;
      if (chosen.length === FETCHERS_MAX) {
        if (known) known.electedMs = null;
        continue;
      }
      if (known) {
        known.electedMs ??= nowMs;
        if (nowMs - Math.max(known.heardMs, known.electedMs) >= takeoverMs) continue;
      }
      chosen.push(host);
    }
    return chosen.length > 0 ? chosen : [self];
  }

  /** Who can be asked for the unit now: a host, the origin, or nobody yet. */
  #whom(want: WantState, unit: number, fetchers: string[], nowMs: number): string | null {
    const { id, foreground } = want;
    const { self, takeoverMs } = this.#o;
    const mine = () => this.#elected(fetchers, want, unit) === self;
    if (this.#sources.siteHas(id, unit, nowMs, foreground)) {
      // Who waits for it asks also those who would rather offer it.
      if (foreground) return this.#sources.pickHolder(want, unit, nowMs)?.host ?? null;
      const distant = this.#sources.pick(want, unit, nowMs, (s) => s.local && !s.near);
      return distant && mine() ? distant.host : null;
    }
    if (!mine() || !this.#begun(want, nowMs)) return null;
    const claim = { patienceMs: takeoverMs, idleMs: foreground ? FOREGROUND_CLAIM_MS : takeoverMs };
    if (this.#sources.claimed(id, unit, claim, nowMs)) return null;
    if (!foreground && this.#sources.urgent(URGENT_MS, nowMs)) return null;
    const bytes = want.units.bytes(unit);
    if (!want.alone && !want.lead.allows(bytes, this.#underWay(want), nowMs)) return null;
    // For each unit nobody near has, over all hosts: only where it can find one.
    const distant = this.elsewhere && this.#sources.pick(want, unit, nowMs, (s) => !s.local);
    if (distant) return distant.host;
    const goes = this.#originFree(want, nowMs) && this.#mayGo(want, unit, nowMs);
    return goes ? ORIGIN : null;
  }

  /** Whether the origin is to give what other sites lack and this one is to see to, or nothing comes. */
  #mayGo(want: WantState, unit: number, nowMs: number): boolean {
    const requestMs = want.turn === false ? FOREGROUND_OTHERS_MS : FOREGROUND_CLAIM_MS;
    const patienceMs = want.foreground ? requestMs : OTHERS_FACTOR * this.#o.takeoverMs;
    const idleMs = nowMs - Math.max(want.flownMs, this.#listensMs);
    if (!this.elsewhere || (want.flights.size === 0 && idleMs >= patienceMs)) return true;
    if (!want.turn) return false;
    return !this.#sources.any((s) => !s.local && !s.shunned && s.has(want.id, unit));
  }

  #elected(fetchers: string[], want: WantState, unit: number): string | null {
    return elect(fetchers, want.units.chunks[want.units.first(unit)]?.hash ?? "");
  }

  #originFree(want: WantState, nowMs: number): boolean {
    const free = this.#flights.origin < this.#o.originFlightsMax;
    return want.hasOrigin && free && nowMs >= want.originBackoffUntilMs;
  }

  /** Bytes of a want on their way from outside. */
  #underWay(want: WantState): number {
    let bytes = 0;
    for (const flights of want.flights.values())
      for (const flight of flights) if (this.isOutside(flight.from)) bytes += flight.bytes;
    return bytes;
  }

  /** Whether the others were listened to for long enough. */
  #begun(want: WantState, nowMs: number): boolean {
    if (this.members.length === 0) return true;
    const { settleMs, self } = this.#o;
    if (want.foreground)
      return (
        nowMs - want.startedMs >= FOREGROUND_START_MS ||
        (want.ahead === false && this.#underWay(want) === 0)
      );
    const unheard = !this.#sources.anyLocal;
    if (unheard && nowMs - (this.#bornMs ?? nowMs) < FIRST_CONTACT_MS) return false;
    const first = isAmong(FETCHERS_MAX, self, this.members, want.id);
    const listensMs = nowMs - Math.max(want.startedMs, this.#listensMs);
    return listensMs >= settleMs * (first ? 1 : LATER_FACTOR);
  }
}
