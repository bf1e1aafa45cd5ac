/** What the transfer core knows of the hosts it may fetch from, and how much it asks of each. */
import { Bitmap } from "./bitmap.ts";
import { Load } from "./load.ts";
import type { Reputation } from "./reputation.ts";
import type { Flight, Listeners, SaidEvent, WantState } from "./wants.ts";

/** What one host said about one manifest. */
export type Known = {
  /** Whole units it may be asked for. */
  have: Bitmap;
  /** It has more than it is to be asked for. */
  holds: Bitmap | null;
  /** It fetches this manifest now, so it may be elected to go outside. */
  wanting: boolean;
  /** It gets, or got, some of it from outside: it wants to know who followed. */
  fetches: boolean;
  /** Its way outside works, as far as it knows. */
  reaches: boolean;
  /** A request waits there for what comes from outside the site. */
  urgent: boolean;
  /** Units it is fetching from outside, and since when we know. */
  claims: Map<number, number>;
  /** When it last had more than before, or began. */
  progressMs: number;
  /** When it last said anything of it. */
  heardMs: number;
  /** Since when it is one of those elected to go outside; null: it is not. */
  electedMs: number | null;
};
export type Candidate = { host: string; known: Known };
/** Tells what a near host, by its number, had of a manifest before and has now. */
type Changed = (id: string, host: number, before: Bitmap | null, after: Bitmap | null) => void;

const WINDOW_MAX = 16;
const FLIGHT_BYTES_MAX = 16 << 20;
/** A request should be answered within this; the window follows it. */
const ANSWER_MS = 1500;
const MISSING_STREAK_MAX = 16;
/** Failures in a row after which what a host said counts no more, until it says it again. */
const FAILED_STREAK_MAX = 4;
/** All hosts say what they have every 30 s, and those that fetch from outside every second. */
const DISTANT_SILENT_MS = 65_000;
const FETCHER_SILENT_MS = 4_000;

export class Source {
  readonly host: string;
  /** In our site: asked before any origin. */
  readonly local: boolean;
  /** Asked freely; others only by who was elected to. */
  near: boolean;
  readonly manifests = new Map<string, Known>();
  #recentId = "";
  #recent: Known | undefined;
  /** Among the near ones; -1 while it is none of them. */
  number = -1;
  /** In no order. */
  readonly flights: Flight[] = [];
  readonly #load = new Load();
  shunned = false;
  backoffUntilMs = 0;
  /** When it last answered anything. */
  answeredMs = 0;
  #window = WINDOW_MAX;
  #failures = 0;
  #missing = 0;
  #bytesPerMs = 1000;

  constructor(host: string, local: boolean, near: boolean) {
    this.host = host;
    this.local = local;
    this.near = near;
  }

  /** What it said of a manifest; mostly the one it was asked for last. */
  known(id: string): Known | undefined {
    if (this.#recentId !== id) {
      this.#recentId = id;
      this.#recent = this.manifests.get(id);
    }
    return this.#recent;
  }

  know(id: string, known: Known | null): void {
    if (known) this.manifests.set(id, known);
    else this.manifests.delete(id);
    this.#recentId = "";
  }

  /** Whether it may be asked for one more unit now, `share` at once at most. */
  free(nowMs: number, want: { foreground: boolean }, share = WINDOW_MAX): boolean {
    const { units, bytes } = this.#load.seenBy(want);
    return units < share && units < this.#window && bytes < FLIGHT_BYTES_MAX && this.usable(nowMs);
  }

  usable(nowMs: number): boolean {
    return !this.shunned && nowMs >= this.backoffUntilMs;
  }

  has(id: string, unit: number): boolean {
    return this.known(id)?.have.has(unit) === true;
  }

  holds(id: string, unit: number): boolean {
    const known = this.manifests.get(id);
    return (known?.holds ?? known?.have)?.has(unit) === true;
  }

  asked(flight: Flight): void {
    this.flights.push(flight);
    this.#load.begin(flight);
  }

  /** No longer asked, answered or not. */
  landed(flight: Flight): void {
    const at = this.flights.indexOf(flight);
    if (at < 0) return;
    this.flights[at] = this.flights.at(-1) ?? flight;
    this.flights.pop();
    this.#load.end(flight);
  }

  /** It is no neighbour and was not heard for so long that it may be gone: nobody would tell. */
  silent(id: string, nowMs: number): boolean {
    const known = this.manifests.get(id);
    if (!known || this.near || !this.local) return false;
    return nowMs - known.heardMs > (known.fetches ? FETCHER_SILENT_MS : DISTANT_SILENT_MS);
  }

  /** Lower is sooner done. */
  costMs(bytes: number, want: { foreground: boolean }): number {
    return (this.#load.seenBy(want).bytes + bytes) / this.#bytesPerMs;
  }

  noteOk(bytes: number, tookMs: number): void {
    this.#failures = 0;
    this.#missing = 0;
    const rate = bytes / Math.max(1, tookMs);
    this.#bytesPerMs += (rate * Math.max(1, this.flights.length) - this.#bytesPerMs) * 0.2;
    if (tookMs > ANSWER_MS) this.#window = Math.max(2, this.#window - 1);
    else this.#window = Math.min(WINDOW_MAX, this.#window + 1);
  }

  /** True when it has failed for so long that it had better be forgotten. */
  noteFailed(nowMs: number): boolean {
    this.backoffUntilMs = nowMs + Math.min(30_000, 500 * 2 ** Math.min(this.#failures++, 6));
    this.#window = Math.max(2, this.#window >> 1);
    return this.#failures >= FAILED_STREAK_MAX;
  }

  /** It has so much to do for others that a request would only wait there. */
  noteBusy(nowMs: number, waitMs: number): void {
    this.backoffUntilMs = Math.max(this.backoffUntilMs, nowMs + waitMs);
  }

  /** Something it said it has and has not: once in a while is a race, always is a lie. */
  noteMissing(nowMs: number): void {
    if (++this.#missing < MISSING_STREAK_MAX) return;
    this.#missing = 0;
    this.backoffUntilMs = nowMs + 5_000;
  }
}

/** All hosts the transfer core may ask. */
export class Sources {
  readonly #all = new Map<string, Source>();
  readonly #near = new Set<Source>();
  /** By number. */
  readonly #numbered: Source[] = [];
  readonly #freeNumbers: number[] = [];
  /** Rises when other near hosts may have to be told of units than before. */
  #changes = 0;
  readonly #changed: Changed;
  readonly #reputation: Reputation;

  constructor(changed: Changed, reputation: Reputation) {
    this.#changed = changed;
    this.#reputation = reputation;
  }

  get(host: string): Source | undefined {
    return this.#all.get(host);
  }

  get anyLocal(): boolean {
    return this.any((s) => s.local);
  }

  get size(): number {
    return this.#all.size;
  }

  /** What all of them said, in entries. */
  get manifests(): number {
    return this.#all.values().reduce((sum, source) => sum + source.manifests.size, 0);
  }

  hostsWith(id: string): string[] {
    const holding = this.#all.values().filter((s) => {
      const known = s.manifests.get(id);
      return (known?.holds ?? known?.have)?.count;
    });
    return [...holding.map((s) => s.host)];
  }

  /** Takes over what a host said. */
  said(event: SaidEvent, nowMs: number): void {
    const source = this.#met(event);
    const before = event.whole ? new Map(source.manifests) : source.manifests;
    const unsaid = new Set(event.whole ? source.manifests.keys() : []);
    for (const said of event.manifests) {
      unsaid.delete(said.id);
      const old = before.get(said.id);
      const claims = new Map<number, number>();
      for (const u of said.claims) claims.set(u, old?.claims.get(u) ?? nowMs);
      const moved = !old?.wanting || said.have.count > old.have.count;
      const progressMs = moved ? nowMs : old.progressMs;
      const { wanting, urgent, spreading, reaches = true } = said;
      const fetches = wanting && (old?.fetches === true || claims.size > 0);
      const have = spreading ? offered(old, said.have.size) : said.have;
      const holds = spreading ? said.have : null;
      if (source.near && !source.shunned)
        this.#changed(said.id, source.number, old?.have ?? null, have);
      const role = { fetches, reaches, electedMs: old?.electedMs ?? null, heardMs: nowMs };
      const known = { have, holds, wanting, urgent, claims, progressMs, ...role };
      source.know(said.id, said.have.count === 0 && !wanting ? null : known);
      this.#changes++;
    }
    for (const id of unsaid) this.#drop(source, id);
  }

  /** A neighbour, met now if not before. */
  neighbour(host: string): Source {
    return this.#all.get(host) ?? this.#met({ host, local: true });
  }

  /** What is known of a manifest of so many units at a host that tells of one. */
  telling(source: Source, id: string, units: number, nowMs: number): Known {
    const known = source.known(id);
    if (known) known.heardMs = nowMs;
    if (known?.have.size === units) return known;
    if (known) this.#drop(source, id);
    const unknown = { holds: null, wanting: true, urgent: false, progressMs: nowMs };
    const role = { fetches: false, reaches: true, electedMs: null, heardMs: nowMs };
    const have = new Bitmap(units);
    const made = { ...unknown, ...role, claims: new Map(), ...known, have };
    source.know(id, made);
    this.#changes++;
    return made;
  }

  /** It has not what it said it has. */
  lacks(source: Source, id: string, unit: number): boolean {
    return source.manifests.get(id)?.have.clear(unit) === true && source.near;
  }

  /** It failed, or was `silent`: what it said counts no more when that is no single mishap. */
  failed(source: Source, nowMs: number, { silent = false } = {}): void {
    if (source.noteFailed(nowMs) || silent || !source.near) this.#dropAll(source);
  }

  /** From now on it is asked freely, or no longer. */
  meets(host: string, near: boolean): void {
    const source = this.#all.get(host);
    if (source?.local) this.#met({ host, local: true, near });
  }

  /** Forgets all it said; who was shunned is remembered. */
  forget(source: Source): void {
    this.#dropAll(source);
    this.#part(source);
    if (!source.shunned) this.#all.delete(source.host);
  }

  delivered(source: Source, bytes: number, tookMs: number): void {
    source.noteOk(bytes, tookMs);
    this.#reputation.delivered(source.host);
  }

  /** It said it has what it refuses. True when it is to be cut off. */
  refused(source: Source, nowMs: number): boolean {
    source.noteMissing(nowMs);
    return this.#reputation.refused(source.host, nowMs);
  }

  /** Takes back whose time is over; what they say counts from now on. */
  release(nowMs: number): void {
    for (const host of this.#reputation.released(nowMs)) {
      const source = this.#all.get(host);
      if (!source) continue;
      this.forget(source);
      this.#all.delete(host);
    }
  }

  /** Is asked no more. */
  shun(source: Source): void {
    this.#dropAll(source);
    source.shunned = true;
  }

  /** Near hosts by number, and what they have of a manifest. */
  *near(id: string): Iterable<[number, Bitmap]> {
    for (const source of this.#near) {
      const have = source.shunned ? undefined : source.known(id)?.have;
      if (have) yield [source.number, have];
    }
  }

  /** Of the near hosts that have a unit and are free, the one that will be done with it soonest. */
  soonest(want: WantState, unit: number, nowMs: number): Source | null {
    const { units, holders, share } = want;
    let best: Source | null = null;
    let bestMs = Number.POSITIVE_INFINITY;
    for (let n = holders.next(unit, 0); n >= 0; n = holders.next(unit, n + 1)) {
      const source = this.#numbered[n];
      if (!source?.free(nowMs, want, share)) {
        holders.pass(n);
        continue;
      }
      const costMs = source.costMs(units.bytes(unit), want);
      if (costMs < bestMs) [best, bestMs] = [source, costMs];
    }
    return best;
  }

  /** Near hosts that want a manifest, and what they have of it. */
  *wanting(id: string): Iterable<[string, Bitmap]> {
    for (const source of this.#near) {
      const known = source.known(id);
      if (known?.wanting) yield [source.host, known.have];
    }
  }

  /** Hosts of the site that have all of a manifest. */
  whole(id: string): string[] {
    const whole = this.#all.values().filter((s) => {
      const known = s.local && !s.shunned ? s.manifests.get(id) : undefined;
      return (known?.holds ?? known?.have)?.complete === true;
    });
    return [...whole.map((s) => s.host)];
  }

  /**
   * Whom it concerns that a unit is here: who lacks it, who offers it one by one, and who brings
   * units in from outside and waits for others to follow, as `from` may.
   */
  concerned(want: WantState, unit: number, from: string | null): string[] {
    if (want.listeners?.changes !== this.#changes) want.listeners = this.#listeners(want.id);
    const hosts: string[] = [];
    for (const { number, host, always } of want.listeners.all)
      if (always || host === from || !want.holders.has(unit, number)) hosts.push(host);
    return hosts;
  }

  #listeners(id: string): Listeners {
    const all: Listeners["all"] = [];
    for (const { number, host, manifests } of this.#near) {
      const known = manifests.get(id);
      const always = known !== undefined && (known.holds !== null || known.fetches);
      if (always || known?.wanting) all.push({ number, host, always });
    }
    return { changes: this.#changes, all };
  }

  /** Whether a near host holds all of a manifest, though it may offer it unit by unit. */
  isWholeNear(id: string): boolean {
    return this.#near.values().some((source) => {
      const known = source.shunned ? undefined : source.known(id);
      return (known?.holds ?? known?.have)?.complete === true;
    });
  }

  /** Who fits, has the unit and will be done with it soonest. */
  pick(want: WantState, unit: number, nowMs: number, fits: (s: Source) => boolean): Source | null {
    const { id } = want;
    return this.#soonest(want, nowMs, (s) => fits(s) && s.has(id, unit) && !s.silent(id, nowMs));
  }

  /** The same of the site's hosts that hold it, whether they offered it or not. */
  pickHolder(want: WantState, unit: number, nowMs: number): Source | null {
    return this.#soonest(want, nowMs, (s) => s.local && s.holds(want.id, unit));
  }

  #soonest(want: WantState, nowMs: number, fits: (s: Source) => boolean): Source | null {
    let best: Source | null = null;
    for (const source of this.#all.values()) {
      if (!fits(source) || !source.free(nowMs, want)) continue;
      if (!best || source.costMs(0, want) < best.costMs(0, want)) best = source;
    }
    return best;
  }

  /** Whether the site has the unit; foreground does not wait for a host that failed just now. */
  siteHas(id: string, unit: number, nowMs: number, foreground: boolean): boolean {
    for (const source of this.#all.values()) {
      if (!source.local || source.shunned || !source.holds(id, unit)) continue;
      const awaited = source.near && !foreground;
      if (awaited || (source.usable(nowMs) && !source.silent(id, nowMs))) return true;
    }
    return false;
  }

  any(fits: (s: Source) => boolean): boolean {
    return this.#all.values().some(fits);
  }

  /**
   * Whether a host of the site gets the unit from outside: it said so within `patienceMs`, and
   * either a request waits there or it began within `idleMs`.
   */
  claimed(
    id: string,
    unit: number,
    { patienceMs, idleMs }: { patienceMs: number; idleMs: number },
    nowMs: number,
  ): boolean {
    for (const { local, shunned, manifests } of this.#all.values()) {
      const known = local && !shunned ? manifests.get(id) : undefined;
      const sinceMs = known?.claims.get(unit);
      if (!known || sinceMs === undefined || nowMs - known.heardMs >= patienceMs) continue;
      if (known.urgent || nowMs - sinceMs < idleMs) return true;
    }
    return false;
  }

  /** Whether a host of the site gets anything of it from outside, as said within `patienceMs`. */
  claimedAny(id: string, patienceMs: number, nowMs: number): boolean {
    return this.#all.values().some(({ local, shunned, manifests }) => {
      const known = local && !shunned ? manifests.get(id) : undefined;
      return known !== undefined && known.claims.size > 0 && nowMs - known.heardMs < patienceMs;
    });
  }

  /** Whether a request waits at another host of the site for what comes over the same thin link. */
  urgent(patienceMs: number, nowMs: number): boolean {
    for (const source of this.#all.values()) {
      if (!source.local || source.shunned) continue;
      for (const known of source.manifests.values())
        if (known.urgent && nowMs - known.progressMs < patienceMs) return true;
    }
    return false;
  }

  /** Hosts of the site that fetch the same, can go outside for it and were heard since. */
  *candidates(id: string, sinceMs: number): Iterable<Candidate> {
    for (const { host, local, shunned, manifests } of this.#all.values()) {
      const known = local && !shunned ? manifests.get(id) : undefined;
      if (known?.wanting && known.reaches && known.heardMs >= sinceMs) yield { host, known };
    }
  }

  /** The host, which is of the site and near if it was not heard before. */
  #met({ host, local, near = local }: Pick<SaidEvent, "host" | "local" | "near">): Source {
    let source = this.#all.get(host);
    if (!source) {
      source = new Source(host, local, near);
      this.#all.set(host, source);
    }
    source.near = near;
    if (near === source.number >= 0) return source;
    if (near) this.#number(source);
    for (const [id, { have }] of source.manifests)
      if (!source.shunned) this.#changed(id, source.number, near ? null : have, near ? have : null);
    if (!near) this.#part(source);
    return source;
  }

  #number(source: Source): void {
    source.number = this.#freeNumbers.pop() ?? this.#numbered.length;
    this.#numbered[source.number] = source;
    this.#near.add(source);
    this.#changes++;
  }

  /** It is no longer near. */
  #part(source: Source): void {
    if (!this.#near.delete(source)) return;
    this.#changes++;
    this.#freeNumbers.push(source.number);
    source.number = -1;
  }

  #dropAll(source: Source): void {
    for (const id of [...source.manifests.keys()]) this.#drop(source, id);
  }

  #drop(source: Source, id: string): void {
    const known = source.manifests.get(id);
    if (!known) return;
    source.know(id, null);
    this.#changes++;
    if (source.near && !source.shunned) this.#changed(id, source.number, known.have, null);
  }
}

/** What a host that spreads a version offered so far; before it knew it would, it said all. */
function offered(old: Known | undefined, units: number): Bitmap {
  const same = old?.have.size === units && (old.holds !== null || !old.have.complete);
  return same ? old.have : new Bitmap(units);
}
