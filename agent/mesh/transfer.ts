/**
 * Which chunk to ask whom for, and when. No sockets, disks, clocks or chance: events with their
 * time go in, effects come out, so that a simulated fleet and the real mesh run the same code.
 *
 * The idea: wants in order (foreground, priority, deadline), within a want the rarest chunks
 * first, each to the peer of the site that will be done with it soonest. Foreground is never
 * limited; background obeys the byte budget and makes way while a foreground want moves here, and
 * on the way from outside while one moves anywhere in the site. Only a
 * chunk that no live host of the site has is fetched from outside (origin, or hosts of other
 * sites), by one host per chunk that all elect alike; who makes no progress is no candidate.
 *
 * Refused: a central tracker that hands out chunks (it would have to be up for every swap).
 */
import { assert, unreachable } from "../../shared/runtime/assert.ts";
import { Budget } from "./budget.ts";
import { elect } from "./election.ts";
import { Sources } from "./sources.ts";
import {
  type Answer,
  byUrgency,
  type ChunkState,
  type Effect,
  type Flight,
  newWant,
  ORIGIN,
  rank,
  type TransferEvent,
  type Want,
  type WantState,
} from "./wants.ts";

export type TransferOptions = {
  self: string;
  flightBytesMax: number;
  originFlightsMax: number;
  /** How long to listen for others that want the same before going to the origin. */
  settleMs: number;
  /** How long a host may make no progress and still be waited for. */
  takeoverMs: number;
  /** Without any answer for so long a peer's requests are given to others. */
  peerTimeoutMs: number;
  /** When everything is under way, what is asked of a peer silent for so long is asked of a second. */
  endgameMs: number;
};

export const TRANSFER_DEFAULTS: Omit<TransferOptions, "self"> = {
  flightBytesMax: 48 << 20,
  originFlightsMax: 6,
  settleMs: 700,
  takeoverMs: 4_000,
  peerTimeoutMs: 8_000,
  endgameMs: 2_000,
};

const FOREGROUND_CLAIM_MS = 500;
const FOREGROUND_QUIET_MS = 2_000;
/** A host of the site that says so and gets nothing for so long holds nobody up any more. */
const URGENT_MS = 3_000;
const STOP_MS = 700;
const REBUILD_MS = 200;
const SCAN_MAX = 2_048;
const ORPHAN_REST_MS = 50;
const FIRST_CONTACT_MS = 3_000;

export class Transfer {
  readonly #o: TransferOptions;
  readonly #wants = new Map<string, WantState>();
  readonly #chunks = new Map<string, ChunkState>();
  readonly #sources = new Sources();
  readonly #flights = new Map<string, Flight>();
  readonly #budget = new Budget({ burstMs: 250 });
  #ordered: WantState[] = [];
  #flightBytes = 0;
  #originFlights = 0;
  #unassigned = 0;
  #neighbours = 0;
  #stoppedMs: number | null = null;
  #bornMs: number | null = null;
  #effects: Effect[] = [];
  /** Bytes asked for under the budget, less what was refused. */
  spentBytes = 0;

  constructor(options: TransferOptions) {
    this.#o = options;
  }

  step(event: TransferEvent, nowMs: number): Effect[] {
    this.#bornMs ??= nowMs;
    this.#apply(event, nowMs);
    this.#schedule(nowMs);
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }

  get wantIds(): string[] {
    return [...this.#wants.keys()];
  }

  /** Chunks still to come. */
  missing(id: string): number {
    return this.#wants.get(id)?.missing ?? 0;
  }

  /** Whether it is being fetched, not merely wished for: others count on it then. */
  fetching(id: string): boolean {
    const want = this.#wants.get(id);
    return want !== undefined && (want.foreground || this.#budget.rate > 0);
  }

  /** Hosts that said they have some of a manifest. */
  hostsWith(id: string): string[] {
    return this.#sources.hostsWith(id);
  }

  /** Positions under way from outside the site, and whether a request waits for one of them. */
  outside(id: string): { urgent: boolean; claims: number[] } {
    const claims: number[] = [];
    for (const flight of this.#flights.values())
      if (!this.#isLocal(flight.from))
        for (const ref of flight.chunk.refs) if (ref.want.id === id) claims.push(ref.position);
    return { urgent: claims.length > 0 && this.#wants.get(id)?.foreground === true, claims };
  }

  /** Milliseconds in which nothing of it came and nothing is under way. */
  stuckMs(id: string, nowMs: number): number {
    const want = this.#wants.get(id);
    return want && want.flights === 0 ? nowMs - want.progressMs : 0;
  }

  /** Wants of which nobody in the site has some chunk and that have no origin that works. */
  sourceless(nowMs: number): string[] {
    return this.#ordered
      .filter((w) => w.orphans.length > 0 && (!w.hasOrigin || nowMs < w.originBackoffUntilMs))
      .map((w) => w.id);
  }

  get underWay(): { peers: number; origin: number } {
    return { peers: this.#flights.size - this.#originFlights, origin: this.#originFlights };
  }

  #apply(event: TransferEvent, nowMs: number): void {
    switch (event.type) {
      case "want":
        this.#want(event.want, nowMs);
        return;
      case "unwant":
        this.#unwant(event.id);
        return;
      case "rate":
        this.#rate(event.bytesPerSecond, nowMs);
        return;
      case "neighbours":
        this.#neighbours = event.count;
        return;
      case "said":
        this.#said(event, nowMs);
        return;
      case "gone":
        this.#gone(event.host);
        return;
      case "stored":
        this.#stored(event.hash, nowMs);
        return;
      case "answer":
        this.#answer(event, nowMs);
        return;
      case "tick":
        this.#tick(nowMs);
        return;
      default:
        unreachable(event);
        return;
    }
  }

  #rate(bytesPerSecond: number, nowMs: number): void {
    const fetched = this.#budget.rate > 0;
    this.#budget.setRate(bytesPerSecond, nowMs);
    this.#stoppedMs = bytesPerSecond > 0 ? null : (this.#stoppedMs ?? nowMs);
    // Others wait for a host that fetches, so they are told when it stops and when it resumes.
    if (fetched === this.#budget.rate > 0) return;
    for (const id of this.#wants.keys()) this.#effects.push({ type: "announce", id });
  }

  #want(want: Want, nowMs: number): void {
    const { missing, ...rest } = want;
    let state = this.#wants.get(want.id);
    if (state) Object.assign(state, rest);
    else {
      state = newWant(rest, nowMs);
      this.#wants.set(want.id, state);
    }
    for (const position of missing) this.#addMissing(state, position);
    this.#sortWants();
    this.#effects.push({ type: "announce", id: want.id });
    if (state.missing === 0) this.#complete(state);
  }

  #addMissing(want: WantState, position: number): void {
    const chunk = want.chunks[position];
    assert(chunk, "a missing position is one of the manifest's");
    let state = this.#chunks.get(chunk.hash);
    if (!state) {
      state = { hash: chunk.hash, bytes: chunk.bytes, refs: [], flights: [] };
      this.#chunks.set(chunk.hash, state);
      this.#unassigned++;
    }
    if (state.refs.some((r) => r.want === want && r.position === position)) return;
    state.refs.push({ want, position });
    want.missing++;
    want.stale = true;
  }

  #unwant(id: string): void {
    const want = this.#wants.get(id);
    if (!want) return;
    this.#wants.delete(id);
    this.#sortWants();
    for (const { hash } of want.chunks) {
      const chunk = this.#chunks.get(hash);
      if (!chunk) continue;
      chunk.refs = chunk.refs.filter((r) => r.want !== want);
      if (chunk.refs.length === 0) this.#forget(chunk);
    }
    this.#effects.push({ type: "announce", id });
  }

  /** Drops a chunk nobody waits for, and what is under way for it. */
  #forget(chunk: ChunkState, except?: string): void {
    for (const flight of [...chunk.flights]) {
      if (flight.from !== except)
        this.#effects.push({ type: "cancel", from: flight.from, hash: chunk.hash });
      this.#land(flight);
    }
    this.#chunks.delete(chunk.hash);
    this.#unassigned--;
  }

  #complete(want: WantState): void {
    this.#wants.delete(want.id);
    this.#sortWants();
    this.#effects.push({ type: "announce", id: want.id }, { type: "complete", id: want.id });
  }

  #sortWants(): void {
    this.#ordered = [...this.#wants.values()].sort(byUrgency);
  }

  #said(event: Extract<TransferEvent, { type: "said" }>, nowMs: number): void {
    for (const id of this.#sources.said(event, nowMs)) {
      const want = this.#wants.get(id);
      if (want) want.stale = true;
    }
    if (event.whole) for (const want of this.#ordered) want.stale = true;
  }

  #gone(host: string): void {
    const source = this.#sources.get(host);
    if (!source) return;
    this.#giveBack(host, false);
    this.#sources.forget(source);
    for (const want of this.#ordered) want.stale = true;
  }

  /** Everything asked of a host goes back to be asked of others. */
  #giveBack(from: string, cancel: boolean): void {
    for (const flight of [...this.#flights.values()]) {
      if (flight.from !== from) continue;
      if (cancel) this.#effects.push({ type: "cancel", from, hash: flight.chunk.hash });
      this.#return(flight);
    }
  }

  #return(flight: Flight): void {
    this.#land(flight);
    if (flight.chunk.flights.length > 0) return;
    for (const { want, position } of flight.chunk.refs) want.retry.push(position);
  }

  /** Books a flight out. */
  #land(flight: Flight): void {
    this.#flights.delete(`${flight.from} ${flight.chunk.hash}`);
    flight.chunk.flights = flight.chunk.flights.filter((f) => f !== flight);
    if (flight.chunk.flights.length === 0) this.#unassigned++;
    flight.want.flights--;
    this.#flightBytes -= flight.chunk.bytes;
    const source = this.#sources.get(flight.from);
    if (source) {
      source.flights--;
      source.flightBytes -= flight.chunk.bytes;
    }
    if (flight.from === ORIGIN) this.#originFlights--;
    if (!this.#isLocal(flight.from)) this.#effects.push({ type: "announce", id: flight.want.id });
  }

  #stored(hash: string, nowMs: number, from?: string): void {
    const chunk = this.#chunks.get(hash);
    if (!chunk) return;
    const { refs } = chunk;
    this.#forget(chunk, from);
    for (const { want } of refs) {
      want.missing--;
      want.progressMs = nowMs;
      want.originFailures = 0;
      this.#effects.push({ type: "announce", id: want.id });
      if (want.missing === 0 && this.#wants.has(want.id)) this.#complete(want);
    }
  }

  #answer(event: Extract<TransferEvent, { type: "answer" }>, nowMs: number): void {
    const flight = this.#flights.get(`${event.from} ${event.hash}`);
    const source = this.#sources.get(event.from);
    if (source) source.answeredMs = nowMs;
    if (event.result === "ok") {
      if (flight) source?.noteOk(flight.chunk.bytes, nowMs - flight.sinceMs);
      this.#stored(event.hash, nowMs, event.from);
      return;
    }
    if (!flight) return;
    this.#return(flight);
    if (flight.background && (event.result === "missing" || event.result === "busy")) {
      this.#budget.refund(flight.chunk.bytes);
      this.spentBytes -= flight.chunk.bytes;
    }
    if (event.from === ORIGIN) {
      this.#originFailed(flight.want, event.result, nowMs);
      return;
    }
    if (event.result === "missing" || event.result === "bad")
      for (const { want, position } of flight.chunk.refs)
        source?.manifests.get(want.id)?.have.clear(position);
    if (event.result === "missing") source?.noteMissing(nowMs);
    if (event.result === "busy") source?.noteBusy(nowMs);
    if (event.result === "failed") source?.noteFailed(nowMs);
    if (event.result === "bad" && source?.noteBad()) {
      this.#giveBack(event.from, true);
      source.manifests.clear();
      this.#effects.push({ type: "shun", host: event.from });
      for (const want of this.#ordered) want.stale = true;
    }
  }

  #originFailed(want: WantState, result: Answer, nowMs: number): void {
    const waitMs = result === "bad" ? 30_000 : 500 * 2 ** Math.min(want.originFailures, 6);
    want.originFailures++;
    want.originBackoffUntilMs = Math.max(want.originBackoffUntilMs, nowMs + waitMs);
  }

  #tick(nowMs: number): void {
    for (const flight of [...this.#flights.values()]) {
      const source = this.#sources.get(flight.from);
      const stop = this.#stoppedMs !== null && nowMs - this.#stoppedMs >= STOP_MS;
      const lastMs = Math.max(flight.sinceMs, source?.answeredMs ?? 0);
      const late = source !== undefined && nowMs - lastMs > this.#o.peerTimeoutMs;
      const needed = flight.chunk.refs.some((r) => r.want.foreground);
      if (!late && !(stop && flight.background && !needed)) continue;
      this.#effects.push({ type: "cancel", from: flight.from, hash: flight.chunk.hash });
      this.#return(flight);
      if (late && source.usable(nowMs)) source.noteFailed(nowMs);
    }
    if (this.#unassigned === 0) this.#endgame(nowMs);
  }

  /** All is under way: asks a second peer for what is asked of one that has fallen silent. */
  #endgame(nowMs: number): void {
    for (const flight of [...this.#flights.values()]) {
      const { chunk, want } = flight;
      // Who answers other requests gets to this one: a second answer would come for nothing.
      const lastMs = Math.max(flight.sinceMs, this.#sources.get(flight.from)?.answeredMs ?? 0);
      if (chunk.flights.length > 1 || nowMs - lastMs < this.#o.endgameMs) continue;
      const other = this.#sources.pick(chunk, nowMs, (s) => s.local && s.host !== flight.from);
      if (other && this.#allowed(want, nowMs)) this.#launch(chunk, want, other.host, nowMs);
    }
  }

  #schedule(nowMs: number): void {
    const yielding = this.#foregroundMoves(nowMs);
    for (const want of this.#ordered) {
      if (this.#flightBytes >= this.#o.flightBytesMax) return;
      if (!want.foreground && (yielding || !this.#budget.open(nowMs))) return;
      if (want.stale && nowMs - want.builtMs >= REBUILD_MS) this.#rebuild(want, nowMs);
      this.#fill(want, nowMs);
    }
  }

  #foregroundMoves(nowMs: number): boolean {
    return this.#ordered.some(
      (w) => w.foreground && (w.flights > 0 || nowMs - w.progressMs < FOREGROUND_QUIET_MS),
    );
  }

  #rebuild(want: WantState, nowMs: number): void {
    const holders = [...this.#sources.inSite(want.id)].map(([, known]) => known);
    rank(want, holders, (hash) => this.#chunks.has(hash), this.#o.self);
    want.builtMs = nowMs;
  }

  #fill(want: WantState, nowMs: number): void {
    this.#scan(want, want.retry, nowMs, () => true);
    this.#scan(want, want.queue, nowMs, () => this.#sources.anyFree(nowMs, true));
    if (want.orphans.length === 0 || nowMs < want.restUntilMs) return;
    const outside = () => this.#originFree(want, nowMs) || this.#sources.anyFree(nowMs, false);
    if (!this.#scan(want, want.orphans, nowMs, outside)) want.restUntilMs = nowMs + ORPHAN_REST_MS;
  }

  /** Launches what it can of the list's first part and takes it out. True when anything was. */
  #scan(want: WantState, list: number[], nowMs: number, anyoneFree: () => boolean): boolean {
    if (list.length === 0) return false;
    const candidates = [
      this.#o.self,
      ...this.#sources.fetching(want.id, this.#o.takeoverMs, nowMs),
    ];
    const kept: number[] = [];
    let launched = false;
    let at = 0;
    for (; at < list.length && at < SCAN_MAX; at++) {
      if (this.#flightBytes >= this.#o.flightBytesMax || !this.#allowed(want, nowMs)) break;
      if (!anyoneFree()) break;
      const position = list[at] ?? 0;
      const chunk = this.#chunks.get(want.chunks[position]?.hash ?? "");
      if (!chunk || chunk.flights.length > 0) continue;
      const from = this.#whom(chunk, want, candidates, nowMs);
      if (from === null) kept.push(position);
      else this.#launch(chunk, want, from, nowMs);
      launched ||= from !== null;
    }
    // What could not be asked goes to the end, so that the next scan sees others.
    list.splice(0, at);
    list.push(...kept);
    return launched;
  }

  #originFree(want: WantState, nowMs: number): boolean {
    const free = this.#originFlights < this.#o.originFlightsMax;
    return want.hasOrigin && free && nowMs >= want.originBackoffUntilMs;
  }

  #allowed(want: WantState, nowMs: number): boolean {
    return want.foreground || this.#budget.open(nowMs);
  }

  /** Who can be asked for the chunk now: a host, the origin, or nobody yet. */
  #whom(chunk: ChunkState, want: WantState, candidates: string[], nowMs: number): string | null {
    const peer = this.#sources.pick(chunk, nowMs, (s) => s.local);
    if (peer) return peer.host;
    if (this.#sources.siteHas(chunk, nowMs, want.foreground)) return null;
    if (!want.foreground && !this.#settled(want, nowMs)) return null;
    const patienceMs = want.foreground ? FOREGROUND_CLAIM_MS : this.#o.takeoverMs;
    if (this.#sources.claimed(chunk, patienceMs, nowMs)) return null;
    if (!want.foreground && elect(candidates, chunk.hash) !== this.#o.self) return null;
    if (!want.foreground && this.#sources.urgent(URGENT_MS, nowMs)) return null;
    if (this.#originFree(want, nowMs)) return ORIGIN;
    return this.#sources.pick(chunk, nowMs, (s) => !s.local)?.host ?? null;
  }

  #settled(want: WantState, nowMs: number): boolean {
    if (this.#neighbours === 0) return true;
    if (!this.#sources.anyLocal && nowMs - (this.#bornMs ?? nowMs) < FIRST_CONTACT_MS) return false;
    return nowMs - want.startedMs >= this.#o.settleMs;
  }

  #launch(chunk: ChunkState, want: WantState, from: string, nowMs: number): void {
    const { hash, bytes } = chunk;
    const background = !want.foreground;
    const flight: Flight = { chunk, from, sinceMs: nowMs, background, want };
    if (chunk.flights.length === 0) this.#unassigned--;
    chunk.flights.push(flight);
    this.#flights.set(`${from} ${hash}`, flight);
    this.#flightBytes += bytes;
    want.flights++;
    if (background) {
      this.#budget.take(bytes);
      this.spentBytes += bytes;
    }
    const foreground = want.foreground;
    const source = this.#sources.get(from);
    if (source) {
      source.flights++;
      source.flightBytes += bytes;
      this.#effects.push({ type: "request", host: from, hash, bytes, foreground });
    } else {
      const position = chunk.refs.find((r) => r.want === want)?.position ?? 0;
      this.#originFlights++;
      this.#effects.push({ type: "origin", id: want.id, position, hash, bytes, fg: foreground });
    }
    if (!this.#isLocal(from)) this.#effects.push({ type: "announce", id: want.id });
  }

  #isLocal(from: string): boolean {
    return this.#sources.get(from)?.local ?? false;
  }
}
