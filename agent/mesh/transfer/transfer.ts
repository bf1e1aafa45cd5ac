/**
 * Which unit to ask whom for, and when. No sockets, disks or clocks: events with their time go in,
 * effects come out, so that a simulated fleet and the real mesh run the same code.
 *
 * The idea: wants in order (foreground, priority, deadline), within a want the rarest units first,
 * each to the neighbour that will be done with it soonest. Foreground is never limited; background
 * obeys the byte budget and makes way while a foreground want moves here, and on the way from
 * outside while one moves anywhere in the site. Only a unit that no neighbour has is fetched from
 * outside (`outside.ts`), by one host per unit that all elect alike.
 *
 * Refused: a central tracker that hands out units (it would have to be up for every swap).
 */
import { unreachable } from "../../../shared/runtime/assert.ts";
import { Budget } from "./budget.ts";
import { Flights } from "./flights.ts";
import { OfferBook } from "./offers.ts";
import type { TransferOptions } from "./options.ts";
import { Outside } from "./outside.ts";
import { Reputation } from "./reputation.ts";
import { type Source, Sources } from "./sources.ts";
import {
  type AnswerEvent,
  byUrgency,
  type Effect,
  type Flight,
  ORIGIN,
  originFailed,
  type TransferEvent,
  type Want,
  WantState,
} from "./wants.ts";

const FOREGROUND_QUIET_MS = 2_000;
const STOP_MS = 700;
/** So many units nobody free has are passed over in one step. */
const MISSES_MAX = 512;
/** How long a host that has too much to do is left alone, in typical times to an answer. */
const BUSY_FACTOR = 1;
/** The same when it only said so while it told of a unit. */
const TOLD_BUSY_FACTOR = 0.3;

export class Transfer {
  readonly #o: TransferOptions;
  readonly #wants = new Map<string, WantState>();
  readonly #sources: Sources;
  readonly #flights: Flights;
  readonly #offers: OfferBook;
  readonly #outside: Outside;
  readonly #budget: Budget;
  #ordered: WantState[] = [];
  #stoppedMs: number | null = null;
  #effects: Effect[] = [];
  /** Bytes asked for under the budget, less what was refused. */
  spentBytes = 0;
  readonly reputation = new Reputation();

  constructor(options: TransferOptions) {
    this.#o = options;
    this.#budget = new Budget({ burstMs: options.askedAheadMs });
    this.#sources = new Sources(
      (id, host, before, after) => this.#wants.get(id)?.changed(host, before, after),
      this.reputation,
    );
    this.#flights = new Flights((host) => this.#sources.get(host));
    this.#offers = new OfferBook(options.random);
    this.#outside = new Outside(options, this.#sources, this.#flights);
  }

  step(event: TransferEvent, nowMs: number): Effect[] {
    this.#outside.at(nowMs);
    if (this.#apply(event, nowMs)) this.#schedule(nowMs);
    const effects = this.#effects;
    if (effects.length > 0) this.#effects = [];
    return effects;
  }

  get wantIds(): string[] {
    return [...this.#wants.keys()];
  }

  /** Chunks still to come. */
  missing(id: string): number {
    return this.#wants.get(id)?.missing.count ?? 0;
  }

  /** Whether background makes way for a request here. */
  yields(nowMs: number): boolean {
    return this.#ordered.some(
      (w) => w.foreground && (w.flights.size > 0 || nowMs - w.progressMs < FOREGROUND_QUIET_MS),
    );
  }

  /** Whether anything may be staged now. */
  get stages(): boolean {
    return this.#budget.rate > 0;
  }

  /** Whether it is being fetched, not merely wished for: others count on it then. */
  fetching(id: string): boolean {
    const want = this.#wants.get(id);
    return want !== undefined && (want.foreground || this.#budget.rate > 0);
  }

  /** Whether neighbours are to ask only for what they are offered of a version held here. */
  spreading(id: string): boolean {
    return this.#offers.spreading(id);
  }

  /** Hosts that said they have some of a manifest; `whole`: of the site, and all of it. */
  hostsWith(id: string, what: "some" | "whole" = "some"): string[] {
    return what === "whole" ? this.#sources.whole(id) : this.#sources.hostsWith(id);
  }

  /**
   * Units under way from outside the neighbours, whether a request waits for what comes from there,
   * and whether the way there works.
   */
  outside(id: string): { urgent: boolean; claims: number[]; reaches: boolean } {
    const want = this.#wants.get(id);
    return want ? this.#outside.said(want) : { urgent: false, claims: [], reaches: true };
  }

  /** Milliseconds in which nothing of it came and nothing is under way, here or to here. */
  stuckMs(id: string, nowMs: number): number {
    const want = this.#wants.get(id);
    if (!want || want.flights.size > 0) return 0;
    if (this.#sources.claimedAny(id, this.#o.takeoverMs, nowMs)) return 0;
    return nowMs - want.progressMs;
  }

  /**
   * Wants of which no neighbour has some unit and that have no origin that works; only such that
   * are fetched now.
   */
  sourceless(nowMs: number): string[] {
    return this.#fetched.filter((w) => w.sourceless(nowMs)).map((w) => w.id);
  }

  /** Wants that this host is to look for in other sites now; `reaches`: its way to the origin works. */
  *looks(nowMs: number): Generator<{ id: string; foreground: boolean; reaches: boolean }> {
    for (const { id, foreground, originFailures } of this.#outside.looks(this.#fetched, nowMs))
      yield { id, foreground, reaches: originFailures === 0 };
  }

  get #fetched(): WantState[] {
    return this.#ordered.filter((w) => w.foreground || this.stages);
  }

  get underWay(): { peers: number; origin: number; rate: number; open: Map<string, number> } {
    const { count, origin } = this.#flights;
    return { peers: count - origin, origin, rate: this.#budget.rate, open: this.#flights.open() };
  }

  /** What is remembered, in entries: has to stay bounded. */
  get sizes() {
    const { size: sources, manifests } = this.#sources;
    const { count: flights } = this.#flights;
    return { wants: this.#wants.size, sources, manifests, flights, offers: this.#offers.size };
  }

  /** True when something may be asked for now that could not be before. */
  #apply(event: TransferEvent, nowMs: number): boolean {
    switch (event.type) {
      case "want":
        this.#want(event.want, nowMs);
        return true;
      case "unwant":
        this.#unwant(event.id);
        return true;
      case "read":
        return this.#wants.get(event.id)?.readAt(event.position) === true;
      case "rate":
        this.#rate(event.bytesPerSecond, nowMs);
        return true;
      case "members":
        this.#outside.members = event.hosts;
        this.#outside.elsewhere = event.elsewhere === true;
        this.#offers.neighbours(event.hosts.length, nowMs, this.#effects);
        return true;
      case "turn":
        this.#turn(event);
        return true;
      case "near":
        this.#sources.meets(event.host, event.near);
        return true;
      case "hold":
        this.#offers.hold(event, this.#sources, nowMs, this.#effects);
        return false;
      case "said":
        this.#sources.said(event, nowMs);
        for (const { id } of event.manifests)
          for (const doubled of this.#outside.heard(event.host, this.#wants.get(id), nowMs))
            this.#callBack(doubled);
        this.#offers.said(event, nowMs, this.#effects);
        return this.#wants.size > 0;
      case "have":
        return this.#have(event, nowMs);
      case "gone":
        this.#gone(event.host, nowMs);
        return true;
      case "stored":
        this.#found(event.hash, nowMs, null);
        return true;
      case "part":
        this.#part(event, nowMs);
        return false;
      case "lied":
        this.#lied(this.#sources.get(event.host), 1, nowMs);
        return true;
      case "answer":
        this.#answer(event, nowMs);
        return true;
      case "tick":
        this.#tick(nowMs);
        return true;
      default:
        return unreachable(event);
    }
  }

  #rate(bytesPerSecond: number, nowMs: number): void {
    const fetched = this.#budget.rate > 0;
    this.#budget.setRate(bytesPerSecond, nowMs);
    this.#stoppedMs = bytesPerSecond > 0 ? null : (this.#stoppedMs ?? nowMs);
    // Others wait for a host that fetches, so they are told when it stops and when it resumes.
    if (fetched === this.#budget.rate > 0) return;
    if (!fetched) this.#outside.begins(nowMs);
    for (const id of this.#wants.keys()) this.#effects.push({ type: "announce", id });
  }

  #want(want: Want, nowMs: number): void {
    let state = this.#wants.get(want.id);
    if (!state) {
      state = new WantState(want, this.#o.random, nowMs);
      this.#wants.set(want.id, state);
      for (const [host, have] of this.#sources.near(want.id)) state.changed(host, null, have);
    }
    state.update(want);
    // What was asked for in the background is held back now, and would not come.
    if (want.foreground) for (const flight of this.#flights.behind(state)) this.#callBack(flight);
    this.#sortWants();
    this.#effects.push({ type: "announce", id: want.id });
    if (state.missing.count === 0) this.#complete(state);
  }

  #turn({ id, ours, ahead }: Extract<TransferEvent, { type: "turn" }>): void {
    const want = this.#wants.get(id);
    if (!want) return;
    want.turn = ours;
    want.ahead = ahead;
    want.restUntilMs = 0;
  }

  #unwant(id: string): void {
    const want = this.#wants.get(id);
    if (!want) return;
    this.#wants.delete(id);
    this.#sortWants();
    this.#recall(want, null);
    this.#effects.push({ type: "announce", id });
  }

  /** Calls back all that is under way for a want, or for one of its units. */
  #recall(want: WantState, unit: number | null, except?: string): void {
    for (const flights of unit === null ? [...want.flights.values()] : [want.flights.get(unit)])
      for (const flight of [...(flights ?? [])]) if (flight.from !== except) this.#callBack(flight);
  }

  #callBack(flight: Flight): void {
    const { from, unit, want } = flight;
    this.#effects.push({ type: "cancel", from, id: want.id, unit });
    this.#land(flight);
  }

  #complete(want: WantState): void {
    this.#wants.delete(want.id);
    this.#sortWants();
    this.#recall(want, null);
    this.#effects.push({ type: "announce", id: want.id }, { type: "complete", id: want.id });
  }

  #sortWants(): void {
    this.#ordered = [...this.#wants.values()].sort(byUrgency);
  }

  /** Comes for every unit of every neighbour, so it does no more than it must. */
  #have(event: Extract<TransferEvent, { type: "have" }>, nowMs: number): boolean {
    const { host, id, units, busy } = event;
    const source = this.#sources.neighbour(host);
    this.#offers.had(host, id, units, nowMs, this.#effects);
    const want = this.#wants.get(id);
    if (!want || source.shunned) return false;
    if (busy) source.noteBusy(nowMs, TOLD_BUSY_FACTOR * this.#flights.typicalMs);
    const known = this.#sources.telling(source, id, want.units.count, nowMs);
    const single = this.#ordered.length === 1;
    let news = false;
    for (const unit of units) {
      want.lead.followed(unit, nowMs);
      if (!known.have.set(unit)) continue;
      known.progressMs = nowMs;
      if (known.claims.size > 0) known.claims.delete(unit);
      if (!source.near) continue;
      want.gained(unit, source.number);
      if (this.#full(want) || !want.rarity.has(unit) || !source.free(nowMs, want, want.share))
        continue;
      news = true;
      // All else that could be asked for is under way already.
      if (single && this.#allowed(want, unit, nowMs)) this.#launch(want, unit, host, nowMs);
    }
    return news && !single;
  }

  #gone(host: string, nowMs: number): void {
    const source = this.#sources.get(host);
    if (!source) return;
    for (const flight of [...source.flights]) this.#callBack(flight);
    this.#sources.forget(source);
    this.#offers.gone(host, nowMs, this.#effects);
  }

  /** Books a flight out; what did not come may be asked for again. */
  #land(flight: Flight): void {
    this.#flights.land(flight);
    if (this.#outside.isOutside(flight.from))
      this.#effects.push({ type: "announce", id: flight.want.id });
  }

  #part(event: Extract<TransferEvent, { type: "part" }>, nowMs: number): void {
    const source = this.#sources.get(event.from);
    if (source) source.answeredMs = nowMs;
    const hash = this.#wants.get(event.id)?.units.chunks[event.position]?.hash;
    if (hash !== undefined) this.#found(hash, nowMs, event.from);
  }

  /** A chunk is held now, in every version that wants it. `from` may still have to answer for it. */
  #found(hash: string, nowMs: number, from: string | null): void {
    for (const want of [...this.#wants.values()])
      for (const position of want.units.positionsOf(hash))
        if (want.found(position)) this.#progress(want, position, nowMs, from);
  }

  #progress(want: WantState, position: number, nowMs: number, from: string | null): void {
    want.progressMs = nowMs;
    const unit = want.units.unitOf(position);
    if (want.missingIn(unit) > 0) return;
    want.rarity.remove(unit);
    this.#recall(want, unit, from ?? undefined);
    const { id } = want;
    const hosts = this.#sources.concerned(want, unit, from);
    this.#effects.push({ type: "have", id, unit, hosts });
    if (want.missing.count === 0) this.#complete(want);
  }

  #answer(event: AnswerEvent, nowMs: number): void {
    const { from, id, unit, result } = event;
    const flight = this.#flights.get(from, id, unit);
    const source = this.#sources.get(from);
    if (source) source.answeredMs = nowMs;
    if (flight) {
      if (result === "ok") {
        const tookMs = this.#flights.tookMs(flight, nowMs);
        if (source) this.#sources.delivered(source, flight.bytes, tookMs);
        this.#flights.note(flight.bytes, tookMs);
        this.#outside.came(flight, nowMs);
      }
      this.#land(flight);
    }
    if (result === "ok") {
      const { units, missing } = flight?.want ?? this.#wants.get(id) ?? {};
      for (const position of event.positions)
        if (missing?.has(position)) this.#found(units?.chunks[position]?.hash ?? "", nowMs, from);
      return;
    }
    if (!flight) return;
    if (flight.background && (result === "missing" || result === "busy")) {
      const bytes = flight.want.missingBytes(flight.positions);
      this.#budget.refund(bytes);
      this.spentBytes -= bytes;
    }
    if (from === ORIGIN) originFailed(flight.want, result, nowMs);
    else if (source) this.#failed(source, flight, event, nowMs);
  }

  #failed(source: Source, { want, unit }: Flight, event: AnswerEvent, nowMs: number): void {
    const { result, lies = 1 } = event;
    if (result === "missing" || result === "bad")
      if (this.#sources.lacks(source, want.id, unit)) want.lost(unit, source.number);
    if (result === "missing" && this.#sources.refused(source, nowMs)) this.#shun(source);
    if (result === "busy") source.noteBusy(nowMs, BUSY_FACTOR * this.#flights.typicalMs);
    if (result === "failed") this.#sources.failed(source, nowMs);
    if (result === "bad") this.#lied(source, lies, nowMs);
  }

  #lied(source: Source | undefined, lies: number, nowMs: number): void {
    for (let i = 0; source && i < lies; i++)
      if (this.reputation.lied(source.host, nowMs)) this.#shun(source);
  }

  #shun(source: Source): void {
    for (const flight of [...source.flights]) this.#callBack(flight);
    this.#sources.shun(source);
    this.#effects.push({ type: "shun", host: source.host });
  }

  #tick(nowMs: number): void {
    this.#sources.release(nowMs);
    if (this.yields(nowMs)) this.#flights.yieldedMs = nowMs;
    const stop = this.#stoppedMs !== null && nowMs - this.#stoppedMs >= STOP_MS;
    for (const flight of [...this.#flights.all()]) {
      const source = this.#sources.get(flight.from);
      const late =
        source !== undefined && this.#flights.silentMs(flight, nowMs) > this.#o.peerTimeoutMs;
      if (!late && !(stop && flight.background && !flight.want.foreground)) continue;
      this.#callBack(flight);
      if (late && source.usable(nowMs)) this.#sources.failed(source, nowMs, { silent: true });
    }
    for (const id of this.#outside.tick(this.#ordered, nowMs))
      this.#effects.push({ type: "announce", id });
    if (!this.#ordered.some((w) => w.rarity.size > 0)) this.#endgame(nowMs);
    this.#offers.tick(nowMs, this.#effects);
  }

  /** All is under way: asks a second peer for what is asked of one that has fallen silent. */
  #endgame(nowMs: number): void {
    const patienceMs = this.#flights.patienceMs(this.#o.endgameMs);
    for (const flight of [...this.#flights.all()]) {
      const { want, unit, from } = flight;
      // Who answers other requests gets to this one: a second answer would come for nothing.
      if ((want.flights.get(unit)?.length ?? 0) > 1) continue;
      if (this.#flights.silentMs(flight, nowMs) < patienceMs) continue;
      const other = this.#sources.pick(want, unit, nowMs, (s) => s.near && s.host !== from);
      if (other && this.#allowed(want, unit, nowMs)) this.#launch(want, unit, other.host, nowMs);
    }
  }

  #full(want: WantState): boolean {
    const { bytes } = this.#flights.load.seenBy(want);
    return bytes >= Math.min(this.#flights.windowBytes, this.#o.flightBytesMax);
  }

  #schedule(nowMs: number): void {
    let yields: boolean | null = null;
    for (const want of this.#ordered) {
      if (this.#full(want)) return;
      if (!want.foreground) yields ??= this.yields(nowMs);
      if (!want.foreground && (yields || !this.#budget.open(nowMs))) return;
      this.#askNear(want, nowMs);
      this.#askOutside(want, nowMs);
    }
  }

  /** Asks neighbours, the rarest unit first. */
  #askNear(want: WantState, nowMs: number): void {
    const { rarity } = want;
    if (rarity.size === rarity.orphans) return;
    want.share = this.#flights.share(Math.max(1, want.holders.hosts));
    want.holders.restart();
    let misses = 0;
    let read = 0;
    for (let i = rarity.orphans; i < rarity.size && misses < MISSES_MAX; ) {
      const next = want.aboutToBeRead(read);
      const unit = next ?? rarity.at(i);
      if (this.#full(want) || !this.#allowed(want, unit, nowMs)) return;
      const source = this.#sources.soonest(want, unit, nowMs);
      if (source && this.#launch(want, unit, source.host, nowMs)) continue;
      if (next === null) i++;
      else read = next + 1;
      misses++;
    }
  }

  /** Asks beyond the neighbours for what none of them has, and for what a request cannot wait. */
  #askOutside(want: WantState, nowMs: number): void {
    for (const { unit, from } of this.#outside.choices(want, nowMs)) {
      if (this.#full(want) || !this.#allowed(want, unit, nowMs)) return;
      this.#launch(want, unit, from, nowMs);
    }
  }

  #allowed(want: WantState, unit: number, nowMs: number): boolean {
    return want.foreground || this.#budget.open(nowMs, want.units.bytes(unit));
  }

  /** False when all that is missing of the unit is under way for another want. */
  #launch(want: WantState, unit: number, from: string, nowMs: number): boolean {
    const most = want.foreground ? Number.POSITIVE_INFINITY : this.#budget.bytes;
    const flight = this.#flights.launch(want, unit, { from, most, nowMs });
    if (!flight) return false;
    const { positions, bytes, background } = flight;
    if (background) {
      this.#budget.take(bytes);
      this.spentBytes += bytes;
    }
    const asked = { id: want.id, unit, positions, bytes, foreground: !background };
    if (from === ORIGIN) this.#effects.push({ type: "origin", ...asked });
    else this.#effects.push({ type: "request", host: from, ...asked });
    if (this.#outside.isOutside(from)) this.#effects.push({ type: "announce", id: want.id });
    return true;
  }
}
