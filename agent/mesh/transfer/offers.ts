/**
 * A host that alone has all of a version gives every unit out once before it repeats any: it offers
 * each unit to one neighbour only and lets them swap. A neighbour is offered more when it has got
 * what it was offered, so the fast get more; what a slow or lost one was offered goes to another.
 * When every unit was taken, or the last ones take long, all may ask for all; of few units only
 * when the others get on no more, as a crowd would be back before the first can hand them on.
 * Source of the idea: super-seeding (BEP 16), with a window instead of one unit at a time.
 */
import type { Random } from "../../../shared/runtime/random.ts";
import { Bitmap } from "./bitmap.ts";
import type { Effect, SaidEvent } from "./wants.ts";

/** Offered and not yet got, over all neighbours: enough to keep the uplink busy. */
const OPEN_MIN = 12;
const OPEN_MAX = 256;
/** Who comes first is offered no more than if so many had come: what it gets first, it hands on. */
const TAKERS_MIN = 4;
/** More of them while they are got sooner than this: the word of each is on its way for a while. */
const TAKE_AIM_MS = 50;
/** An offer not taken for so long goes to another, and the host waits as long for the next. */
const TAKE_MS = 3_000;
/** What was offered last is waited for so many times as long as taking an offer takes. */
const PATIENCE = 2;
/** Who comes alone is offered units for so long, as others may be about to come; then it may ask. */
const ALONE_MS = 400;
/** So few units go from one neighbour to the next, without this host, while they get on at all. */
const FEW_UNITS = 64;
const IDLE_MS = 500;
/** However they get on: their uplinks may be slower than this host's. */
const LEFT_MS = 10_000;

type Taker = {
  /** Offered and not got, since when. */
  open: Map<number, number>;
  have: Bitmap;
  notBeforeMs: number;
};
/** What became of a unit. */
const LEFT = 0;
const OFFERED = 1;
const TAKEN = 2;

class Offers {
  readonly id: string;
  readonly #random: Random;
  readonly #site: { others: number };
  /** Not offered yet; taken from the end. */
  #pool: number[];
  readonly #state: Uint8Array;
  /** Units that were offered and nobody has yet. */
  #awaited = 0;
  readonly #takers = new Map<string, Taker>();
  #open = 0;
  #spreading = false;
  /** From offering to the word that it is there, lately. */
  #takeMs = 0;
  #openMax = OPEN_MIN;
  #lastOfferMs = Number.NEGATIVE_INFINITY;
  /** Since there are takers: when the first came, whether there was a second, what they got. */
  #firstMs = 0;
  #crowd = false;
  #given = 0;
  #progressMs = Number.NEGATIVE_INFINITY;

  constructor(id: string, units: number, random: Random, site: { others: number }) {
    this.id = id;
    this.#random = random;
    this.#site = site;
    this.#state = new Uint8Array(units);
    this.#pool = Array.from({ length: units }, (_, unit) => unit);
    for (let i = units - 1; i > 0; i--) {
      const j = random.int(i + 1);
      const unit = this.#pool[i] ?? 0;
      this.#pool[i] = this.#pool[j] ?? 0;
      this.#pool[j] = unit;
    }
  }

  /** Whether somebody takes from here. */
  get taken(): boolean {
    return this.#takers.size > 0;
  }

  /** Whether neighbours are to ask only for what they are offered. */
  get spreading(): boolean {
    return this.#spreading;
  }

  /** A neighbour that wants the version, and what it has of it. */
  wanted(host: string, have: Bitmap, nowMs: number, effects: Effect[]): void {
    const taker = this.#takers.get(host) ?? this.#came(host, nowMs);
    taker.have = new Bitmap(this.#state.length);
    for (let unit = 0; unit < have.size; unit++)
      if (have.has(unit) && taker.have.set(unit)) this.#got(unit);
    for (const unit of [...taker.open.keys()]) if (have.has(unit)) this.#took(taker, unit, nowMs);
    this.#offerAll(nowMs, effects);
  }

  #came(host: string, nowMs: number): Taker {
    if (this.#takers.size === 0) {
      this.#firstMs = nowMs;
      this.#crowd = false;
      this.#given = 0;
    } else this.#crowd = true;
    const have = new Bitmap(this.#state.length);
    const taker = { open: new Map(), have, notBeforeMs: Number.NEGATIVE_INFINITY };
    this.#takers.set(host, taker);
    return taker;
  }

  /** A neighbour has one more unit. */
  had(host: string, unit: number, nowMs: number, effects: Effect[]): void {
    this.#got(unit);
    const taker = this.#takers.get(host);
    if (!taker) return;
    this.#progressMs = nowMs;
    taker.have.set(unit);
    if (this.#took(taker, unit, nowMs)) this.#offerAll(nowMs, effects);
  }

  /** A neighbour that went, or wants it no more. */
  left(host: string, nowMs: number, effects: Effect[]): void {
    const taker = this.#takers.get(host);
    if (!taker) return;
    this.#takers.delete(host);
    this.#open -= taker.open.size;
    for (const unit of taker.open.keys()) this.#takeBack(unit);
    this.#offerAll(nowMs, effects);
  }

  /** Nobody wants it yet. */
  idle(nowMs: number, effects: Effect[]): void {
    this.#settle(nowMs, effects);
  }

  tick(nowMs: number, effects: Effect[]): void {
    if (!this.#spreading || this.#takers.size === 0) return;
    for (const taker of this.#takers.values())
      for (const [unit, sinceMs] of taker.open) {
        if (nowMs - sinceMs < TAKE_MS) continue;
        this.#close(taker, unit);
        taker.notBeforeMs = nowMs + TAKE_MS;
        this.#takeBack(unit);
      }
    this.#offerAll(nowMs, effects);
  }

  #offerAll(nowMs: number, effects: Effect[]): void {
    this.#settle(nowMs, effects);
    if (!this.#spreading) return;
    const takers = Math.max(this.#takers.size, Math.min(this.#site.others, TAKERS_MIN));
    const most = Math.ceil(this.#openMax / takers);
    // In turn: who was offered something goes to the end.
    for (const [host, taker] of [...this.#takers]) {
      if (this.#open >= this.#openMax) break;
      if (nowMs < taker.notBeforeMs || taker.open.size >= most) continue;
      if (this.#pool.length > 0) this.#offer(host, taker, most, nowMs, effects);
      else if (this.#given > FEW_UNITS) this.#repeat(host, taker, most, nowMs, effects);
      this.#takers.delete(host);
      this.#takers.set(host, taker);
    }
    this.#settle(nowMs, effects);
  }

  #settle(nowMs: number, effects: Effect[]): void {
    while (this.#pool.length > 0 && this.#state[this.#pool.at(-1) ?? 0] !== LEFT) this.#pool.pop();
    const spreading = this.#hasTo(nowMs);
    if (spreading === this.#spreading) return;
    this.#spreading = spreading;
    effects.push({ type: "announce", id: this.id });
  }

  /**
   * Spreads before several come, and while something was not taken yet: who may ask for all before
   * asks here for what others are about to hand on.
   */
  #hasTo(nowMs: number): boolean {
    const untaken = this.#pool.length > 0;
    if (this.#takers.size === 0) return untaken && this.#site.others > 1;
    if (!this.#crowd) {
      const left = untaken || this.#awaited > 0;
      return left && this.#site.others > 1 && nowMs - this.#firstMs < ALONE_MS;
    }
    const awaited = this.#awaited > 0 && nowMs - this.#lastOfferMs < PATIENCE * this.#takeMs;
    if (this.#takers.size > 1 && (untaken || awaited)) return true;
    if (untaken || this.#given > FEW_UNITS || nowMs - this.#lastOfferMs > LEFT_MS) return false;
    return nowMs - Math.max(this.#progressMs, this.#lastOfferMs) < IDLE_MS;
  }

  #offer(host: string, taker: Taker, most: number, nowMs: number, effects: Effect[]): void {
    while (taker.open.size < most && this.#open < this.#openMax) {
      const unit = this.#pool.pop();
      if (unit === undefined) return;
      if (this.#state[unit] !== LEFT) continue;
      this.#state[unit] = OFFERED;
      this.#awaited++;
      this.#given++;
      this.#lastOfferMs = nowMs;
      this.#openTo(host, taker, unit, nowMs, effects);
    }
  }

  /** While the last units are on their way: of those that others have, the rarest it lacks. */
  #repeat(host: string, taker: Taker, most: number, nowMs: number, effects: Effect[]): void {
    while (taker.open.size < most && this.#open < this.#openMax) {
      const unit = this.#rarest(taker);
      if (unit < 0) return;
      this.#openTo(host, taker, unit, nowMs, effects);
    }
  }

  #rarest({ have, open }: Taker): number {
    let best = -1;
    let fewest = Number.POSITIVE_INFINITY;
    for (let unit = 0; unit < this.#state.length; unit++) {
      if (this.#state[unit] !== TAKEN || have.has(unit) || open.has(unit)) continue;
      const holders = this.#takers.values().reduce((n, t) => n + (t.have.has(unit) ? 1 : 0), 0);
      if (holders >= fewest) continue;
      best = unit;
      fewest = holders;
    }
    return best;
  }

  #openTo(host: string, taker: Taker, unit: number, nowMs: number, effects: Effect[]): void {
    this.#open++;
    taker.open.set(unit, nowMs);
    effects.push({ type: "have", id: this.id, unit, hosts: [host] });
  }

  #took(taker: Taker, unit: number, nowMs: number): boolean {
    const sinceMs = taker.open.get(unit);
    if (sinceMs !== undefined) this.#note(nowMs - sinceMs);
    return this.#close(taker, unit);
  }

  #note(tookMs: number): void {
    this.#takeMs += (tookMs - this.#takeMs) / 8;
    const more = tookMs < TAKE_AIM_MS ? 1 : -1;
    this.#openMax = Math.min(OPEN_MAX, Math.max(OPEN_MIN, this.#openMax + more));
  }

  #close(taker: Taker, unit: number): boolean {
    const closed = taker.open.delete(unit);
    if (closed) this.#open--;
    return closed;
  }

  #got(unit: number): void {
    if (this.#state[unit] === OFFERED) this.#awaited--;
    this.#state[unit] = TAKEN;
  }

  /** Somewhere among those to come, unless somebody has it by now. */
  #takeBack(unit: number): void {
    if (this.#state[unit] !== OFFERED) return;
    this.#state[unit] = LEFT;
    this.#awaited--;
    this.#pool.push(unit);
    const at = this.#random.int(this.#pool.length);
    const other = this.#pool[at] ?? unit;
    this.#pool[at] = unit;
    this.#pool[this.#pool.length - 1] = other;
  }
}

/** What others said: who has all of a version; what neighbours that want it have of it. */
type Others = {
  whole(id: string): string[];
  wanting(id: string): Iterable<[string, Bitmap]>;
};

/** The offers of every version that this host alone has all of. */
export class OfferBook {
  readonly #random: Random;
  readonly #held = new Map<string, Offers>();
  readonly #site = { others: 0 };

  constructor(random: Random) {
    this.#random = random;
  }

  get size(): number {
    return this.#held.size;
  }

  spreading(id: string): boolean {
    return this.#held.get(id)?.spreading === true;
  }

  /** So many other hosts may come to want what is here. */
  neighbours(count: number, nowMs: number, effects: Effect[]): void {
    this.#site.others = count;
    for (const offers of this.#held.values()) if (!offers.taken) offers.idle(nowMs, effects);
  }

  /** All of it is here, which others are told. No units: no longer. */
  hold(
    { id, units }: { id: string; units: number },
    others: Others,
    nowMs: number,
    effects: Effect[],
  ): void {
    if (units === 0) this.#held.delete(id);
    else effects.push({ type: "announce", id });
    if (units === 0 || this.#held.has(id) || others.whole(id).length > 0) return;
    const offers = new Offers(id, units, this.#random, this.#site);
    this.#held.set(id, offers);
    for (const [host, have] of others.wanting(id)) offers.wanted(host, have, nowMs, effects);
    offers.idle(nowMs, effects);
  }

  said({ host, near, local, manifests }: SaidEvent, nowMs: number, effects: Effect[]): void {
    if (this.#held.size === 0 || !(near ?? local)) return;
    for (const { id, wanting, have } of manifests) {
      const offers = this.#held.get(id);
      if (wanting) offers?.wanted(host, have, nowMs, effects);
      else offers?.left(host, nowMs, effects);
      if (have.complete && offers && !offers.taken) this.#seconded(offers, effects);
    }
  }

  had(host: string, id: string, units: readonly number[], nowMs: number, effects: Effect[]): void {
    const offers = this.#held.get(id);
    for (const unit of offers ? units : []) offers?.had(host, unit, nowMs, effects);
  }

  gone(host: string, nowMs: number, effects: Effect[]): void {
    for (const offers of this.#held.values()) offers.left(host, nowMs, effects);
  }

  tick(nowMs: number, effects: Effect[]): void {
    for (const offers of this.#held.values()) offers.tick(nowMs, effects);
  }

  /** Another host has all of it too, and nobody is half-way: they may ask whom they like. */
  #seconded(offers: Offers, effects: Effect[]): void {
    this.#held.delete(offers.id);
    if (offers.spreading) effects.push({ type: "announce", id: offers.id });
  }
}
