/**
 * A fleet that wants one version: the real transfer core of every host over simulated links. What
 * hosts tell one another goes the way the agents tell it, with its delay and its bytes: on meeting,
 * all a host has; then the units that are whole, some milliseconds' worth at once, to the neighbours
 * that lack them.
 */
import { refuses } from "../../../agent/mesh/transfer/backlog.ts";
import { Bitmap } from "../../../agent/mesh/transfer/bitmap.ts";
import { Units } from "../../../agent/mesh/transfer/units.ts";
import {
  type Answer,
  type Effect,
  ORIGIN,
  type TransferEvent,
} from "../../../agent/mesh/transfer/wants.ts";
import { SPACING_MS } from "../../../agent/mesh/wire/haves.ts";
import { Elsewhere } from "../../../coordinator/fleet/elsewhere.ts";
import { assert } from "../../../shared/runtime/assert.ts";
import { type Random, seededRandom } from "../../../shared/runtime/random.ts";
import { Events, type Happening } from "./events.ts";
import { type Ask, SwarmHost } from "./host.ts";
import { Link } from "./links.ts";
import { type SwarmOptions, versionOf } from "./plan.ts";

const KIND = {
  start: 0,
  tick: 1,
  meet: 2,
  said: 3,
  tell: 4,
  told: 5,
  ask: 6,
  sent: 7,
  came: 8,
  dies: 9,
  gone: 10,
  gossip: 11,
  left: 12,
};
const RESULTS: readonly Answer[] = ["ok", "bad", "busy"];
type Told = { to: SwarmHost; units: number[] };
const ID = "m".repeat(64);
const TICK_MS = 100;
/** From a host to the coordinator and back. */
const COORDINATOR_MS = 5;
/** From a change until gossip tells it: to the next tick, and not too often. */
const GOSSIP_SPACING_MS = 300;
const GOSSIP_HOPS = 3;
/** On the wire, of one request, one told unit, one first word; with headers and TLS. */
const REQUEST_BYTES = 96;
const TOLD_BYTES = 86;
const TOLD_UNIT_BYTES = 4;
const REFUSAL_BYTES = 90;
const SAID_BYTES = 200;
/** Verified and stored, beside the transfers. */
const STORE_MS_PER_MIB = 1;

export type SwarmResult = {
  seed: number;
  hosts: number;
  /** From each host's own start, sorted. */
  doneMs: number[];
  unfinished: number;
  /** Sent by those who had it from the beginning. */
  seedBytes: number;
  originBytes: number;
  thinBytes: number;
  twiceBytes: number;
  controlBytes: number;
  refusals: number;
  events: number;
};

export class Swarm {
  readonly #o: SwarmOptions;
  readonly #seed: number;
  readonly #random: Random;
  readonly #units: Units;
  readonly #events = new Events();
  readonly #hosts: SwarmHost[] = [];
  readonly #byName = new Map<string, SwarmHost>();
  readonly #elsewhere = new Elsewhere(() => this.#holders());
  readonly #origin: Link;
  readonly #thin: { in: Link; out: Link }[] = [];
  #left = 0;
  #refusals = 0;
  #seedBytes = 0;
  #originBytes = 0;
  /** From the origin, before a fetcher was killed. */
  #cameBytes = 0;
  #thinBytes = 0;
  #twiceBytes = 0;
  #controlBytes = 0;

  constructor(seed: number, options: SwarmOptions) {
    this.#o = options;
    this.#seed = seed;
    this.#random = seededRandom(`swarm ${seed}`);
    this.#units = Units.of(versionOf(options.bytes, seed));
    this.#origin = new Link(options.originBytesPerSecond);
    for (let i = 0; i < options.sites; i++) {
      const rate = options.thinBytesPerSecond || 1e15;
      this.#thin.push({ in: new Link(rate), out: new Link(rate) });
    }
    this.#populate();
    this.#introduce();
  }

  run(): SwarmResult {
    const happening: Happening = { kind: 0, a: 0, b: 0, what: null };
    while (this.#left > 0 && this.#events.next(happening)) {
      if (this.#events.nowMs > this.#o.untilMs) break;
      this.#happen(happening);
    }
    const wanting = this.#hosts.filter((h) => h.index >= this.#o.seeders && h.alive && !h.lies);
    const doneMs = wanting.map((h) => h.doneMs - h.startMs).filter((ms) => !Number.isNaN(ms));
    return {
      seed: this.#seed,
      hosts: wanting.length,
      doneMs: Array.from(Float64Array.from(doneMs).sort()),
      unfinished: wanting.length - doneMs.length,
      seedBytes: this.#seedBytes,
      originBytes: this.#originBytes,
      thinBytes: this.#thinBytes,
      twiceBytes: this.#twiceBytes,
      controlBytes: this.#controlBytes,
      refusals: this.#refusals,
      events: this.#events.made,
    };
  }

  #populate(): void {
    const { hosts, seeders, linkBytesPerSecond, spreadMs, slow, lying, dying, sites } = this.#o;
    const random = this.#random.fork("hosts");
    for (let i = 0; i < hosts + seeders; i++) {
      const fetches = i >= seeders;
      const share = fetches ? (i - seeders) / hosts : 1;
      const bytesPerSecond = share < slow ? linkBytesPerSecond / 10 : linkBytesPerSecond;
      const site = fetches ? i % sites : 0;
      const what = { site, units: this.#units.count, bytesPerSecond };
      const host = new SwarmHost(i, what, random.fork(`host ${i}`));
      this.#hosts.push(host);
      this.#byName.set(host.name, host);
      if (!fetches) host.have = Bitmap.full(this.#units.count);
      host.startMs = fetches ? random.next() * spreadMs : 0;
      host.lies = fetches && share >= 1 - lying;
      if (host.lies) host.have = Bitmap.full(this.#units.count);
      if (fetches && !host.lies) this.#left++;
      this.#events.add(host.startMs, KIND.start, i);
      const doomed = fetches && share >= slow && share < slow + dying;
      if (doomed) this.#events.add(random.next() * 1.2e4, KIND.dies, i);
    }
  }

  /** Every host chooses some at random in its site, and is chosen. */
  #introduce(): void {
    const random = this.#random.fork("neighbours");
    const bySite = Map.groupBy(this.#hosts, (h) => h.site);
    for (const host of this.#hosts) {
      const others = bySite.get(host.site) ?? [];
      const want = Math.min(this.#o.neighbours / 2, others.length - 1);
      for (let tries = 0, chosen = 0; chosen < want && tries < 20 * want; tries++) {
        const other = random.pick(others);
        if (other === host || host.neighbours.includes(other.index)) continue;
        host.neighbours.push(other.index);
        other.neighbours.push(host.index);
        chosen++;
      }
    }
  }

  #host(index: number): SwarmHost {
    const host = this.#hosts[index];
    assert(host, "the host was made");
    return host;
  }

  #happen({ kind, a, b, what }: Happening): void {
    const host = this.#host(a);
    if (!host.alive && kind !== KIND.gone) return;
    if (kind === KIND.tell) this.#tell(host);
    else if (kind === KIND.told) this.#told(host, what as Told[]);
    else if (kind === KIND.came) this.#came(host, what as Ask, b);
    else if (kind === KIND.sent) this.#sent(host, what as Ask);
    else if (kind === KIND.ask) this.#asked(host, what as Ask);
    else if (kind === KIND.tick) this.#tick(host);
    else if (kind === KIND.start) this.#start(host);
    else if (kind === KIND.meet) this.#meet(host, this.#host(b));
    else if (kind === KIND.said) this.#step(host, what as TransferEvent);
    else if (kind === KIND.dies) this.#dies(host);
    else if (kind === KIND.gossip) this.#gossip(host);
    else if (kind === KIND.left) host.end();
    else if (kind === KIND.gone) this.#step(this.#host(b), { type: "gone", host: host.name });
  }

  #start(host: SwarmHost): void {
    const now = this.#events.nowMs;
    const hosts = this.#othersOf(host).map((h) => h.name);
    this.#step(host, { type: "members", hosts, elsewhere: this.#o.sites > 1 });
    for (const other of host.neighbours)
      this.#events.add(now + host.latencyMs, KIND.meet, other, host.index);
    if (host.have.complete) {
      this.#step(host, { type: "hold", id: ID, units: this.#units.count });
      this.#events.add(now + this.#random.next() * TICK_MS, KIND.tick, host.index);
      return;
    }
    this.#step(host, { type: "rate", bytesPerSecond: 1e12 });
    const missing = this.#units.chunks.keys();
    const rest = { priority: 1, deadlineMs: 0, foreground: false };
    const hasOrigin = this.#o.seeders === 0;
    const { chunks } = this.#units;
    this.#step(host, { type: "want", want: { id: ID, chunks, missing, hasOrigin, ...rest } });
    this.#events.add(now + this.#random.next() * TICK_MS, KIND.tick, host.index);
  }

  /** `who` greets `host`, which then knows what it has, and says what itself has. */
  #meet(host: SwarmHost, who: SwarmHost): void {
    const now = this.#events.nowMs;
    if (host.startMs > now) return;
    this.#step(host, this.#said(who));
    this.#control(host, who, SAID_BYTES + this.#units.count / 8);
    this.#events.add(now + host.latencyMs, KIND.said, who.index, 0, this.#said(host));
  }

  #said(who: SwarmHost, near = true): TransferEvent {
    const have = new Bitmap(this.#units.count, who.have.toBytes());
    const wanting = !have.complete;
    const spreading = who.core.spreading(ID);
    const manifests = [{ id: ID, have, wanting, ...who.core.outside(ID), spreading }];
    return { type: "said", host: who.name, local: true, near, whole: false, manifests };
  }

  #control(from: SwarmHost, to: SwarmHost, bytes: number): void {
    this.#controlBytes += bytes;
    from.up.carry(bytes, this.#events.nowMs);
    to.down.carry(bytes, this.#events.nowMs);
  }

  #tick(host: SwarmHost): void {
    if (!Number.isNaN(host.doneMs)) return;
    this.#step(host, { type: "tick" });
    this.#askElsewhere(host);
    this.#events.add(this.#events.nowMs + TICK_MS, KIND.tick, host.index);
  }

  /** Asks the coordinator, and hosts of other sites that it names. */
  #askElsewhere(host: SwarmHost): void {
    const now = this.#events.nowMs;
    const asker = { host: host.name, site: `${host.site}` };
    for (const { id, foreground, reaches } of host.core.looks(now)) {
      const want = { hash: id, foreground, reaches };
      const { origin, ahead, hosts } = this.#elsewhere.answer(asker, want, now);
      const knownMs = now + COORDINATOR_MS;
      const turn: TransferEvent = { type: "turn", id, ours: origin, ahead };
      this.#events.add(knownMs, KIND.said, host.index, 0, turn);
      for (const name of hosts) {
        const other = this.#byName.get(name);
        if (!other?.alive) continue;
        const have = new Bitmap(this.#units.count, other.have.toBytes());
        const manifests = [{ id, have, wanting: false, urgent: false, claims: [] }];
        const far = { type: "said", host: name, local: false, whole: false } as const;
        this.#control(other, host, SAID_BYTES + this.#units.count / 8);
        const atMs = knownMs + host.latencyMs + other.latencyMs;
        this.#events.add(atMs, KIND.said, host.index, 0, { ...far, manifests });
      }
    }
  }

  *#holders(): Iterable<{ host: string; site: string }> {
    for (const { name, site, have, alive } of this.#hosts)
      if (alive && have.complete) yield { host: name, site: `${site}` };
  }

  #step(host: SwarmHost, event: TransferEvent): void {
    if (!host.alive) return;
    const effects = host.core.step(event, this.#events.nowMs);
    for (let i = 0; i < effects.length; i++) {
      const effect = effects[i];
      if (effect) this.#carryOut(host, effect);
    }
  }

  #carryOut(host: SwarmHost, effect: Effect): void {
    const now = this.#events.nowMs;
    if (effect.type === "request" || effect.type === "origin") this.#ask(host, effect);
    else if (effect.type === "announce") this.#announce(host);
    else if (effect.type === "have") {
      host.have.set(effect.unit);
      if (host.telling.size === 0) this.#events.add(host.tellAgainMs, KIND.tell, host.index);
      host.tell(effect.unit, effect.hosts);
    } else if (effect.type === "cancel") {
      const key = this.#key(this.#byName.get(effect.from)?.index ?? -1, effect.unit);
      const ask = host.asked.get(key);
      if (ask) ask.cancelled = true;
      host.asked.delete(key);
    } else if (effect.type === "complete") {
      host.doneMs = now;
      this.#left--;
    }
  }

  #othersOf(host: SwarmHost): SwarmHost[] {
    return this.#hosts.filter((h) => h !== host && h.site === host.site);
  }

  /** Tells the whole site, neighbours or not, what this host has and fetches. */
  #gossip(host: SwarmHost): void {
    const now = this.#events.nowMs;
    host.gossipMs = now;
    for (const other of this.#othersOf(host)) {
      if (other.startMs > now) continue;
      const said = this.#said(host, other.neighbours.includes(host.index));
      this.#control(host, other, SAID_BYTES + this.#units.count / 8);
      this.#events.add(now + GOSSIP_HOPS * host.latencyMs, KIND.said, other.index, 0, said);
    }
  }

  /** Says anew how it may be asked and, where that matters, what it gets from outside. */
  #announce(host: SwarmHost): void {
    const now = this.#events.nowMs;
    // Nobody goes outside for what a host of the site has.
    if ((this.#o.seeders === 0 || this.#o.sites > 1) && host.gossipMs <= now) {
      const atMs = Math.max(host.gossipMs + GOSSIP_SPACING_MS, now + this.#random.next() * TICK_MS);
      host.gossipMs = atMs;
      this.#events.add(atMs, KIND.gossip, host.index);
    }
    const spreading = host.core.spreading(ID);
    if (spreading === host.spreading) return;
    host.spreading = spreading;
    for (const other of host.neighbours) {
      const to = this.#host(other);
      if (to.startMs > this.#events.nowMs) continue;
      this.#control(host, to, SAID_BYTES);
      this.#events.add(this.#events.nowMs + host.latencyMs, KIND.said, other, 0, this.#said(host));
    }
  }

  #key(of: number, unit: number): number {
    return (of + 1) * this.#units.count + unit;
  }

  #tell(host: SwarmHost): void {
    const told: Told[] = [];
    for (const [name, units] of host.telling) {
      const to = this.#byName.get(name);
      if (!to) continue;
      this.#control(host, to, TOLD_BYTES + TOLD_UNIT_BYTES * units.length);
      told.push({ to, units });
    }
    host.telling.clear();
    host.tellAgainMs = this.#events.nowMs + SPACING_MS;
    this.#events.add(this.#events.nowMs + host.latencyMs, KIND.told, host.index, 0, told);
  }

  #told(host: SwarmHost, told: Told[]): void {
    for (const { to, units } of told)
      this.#step(to, { type: "have", host: host.name, id: ID, units });
  }

  #ask(host: SwarmHost, effect: Extract<Effect, { type: "request" | "origin" }>): void {
    const now = this.#events.nowMs;
    const of = effect.type === "request" ? this.#byName.get(effect.host) : undefined;
    const ask: Ask = {
      by: host.index,
      of: of?.index ?? -1,
      effect,
      cancelled: false,
      startMs: now,
    };
    host.asked.set(this.#key(ask.of, effect.unit), ask);
    if (!of) {
      const endMs = this.#origin.pass(effect.bytes, now, now);
      this.#originBytes += effect.bytes;
      const inMs = host.down.pass(effect.bytes, now, endMs);
      this.#events.add(inMs + 1, KIND.came, host.index, 0, ask);
      return;
    }
    this.#control(host, of, REQUEST_BYTES);
    this.#events.add(now + host.latencyMs, KIND.ask, of.index, 0, ask);
  }

  #asked(host: SwarmHost, ask: Ask): void {
    if (this.#o.refusing && refuses({ units: host.open, own: 0 })) {
      this.#refusals++;
      this.#control(host, this.#host(ask.by), REFUSAL_BYTES);
      this.#events.add(
        this.#events.nowMs + host.latencyMs,
        KIND.came,
        ask.by,
        RESULTS.indexOf("busy"),
        ask,
      );
      return;
    }
    host.take(ask);
    if (!host.sending) this.#send(host);
  }

  #send(host: SwarmHost): void {
    const now = this.#events.nowMs;
    const ask = host.nextAsk();
    host.sending = ask !== null;
    if (!ask) return;
    ask.startMs = now;
    const { bytes } = ask.effect;
    this.#events.add(host.up.pass(bytes, now, now), KIND.sent, host.index, 0, ask);
  }

  #sent(host: SwarmHost, ask: Ask): void {
    const now = this.#events.nowMs;
    const to = this.#host(ask.by);
    const { bytes } = ask.effect;
    if (host.index < this.#o.seeders) this.#seedBytes += bytes;
    let firstMs = ask.startMs + host.latencyMs;
    let lastMs = now + host.latencyMs;
    if (to.site !== host.site) {
      this.#thinBytes += bytes;
      lastMs = this.#thin[host.site]?.out.pass(bytes, firstMs, lastMs) ?? lastMs;
      this.#events.add(lastMs, KIND.left, host.index);
      lastMs = this.#thin[to.site]?.in.pass(bytes, firstMs, lastMs) ?? lastMs;
      firstMs = lastMs - bytes / to.down.bytesPerMs;
    }
    if (to.site === host.site) host.end();
    const endMs = to.down.pass(bytes, firstMs, lastMs);
    const storedMs = endMs + (bytes / 2 ** 20) * STORE_MS_PER_MIB;
    this.#events.add(storedMs, KIND.came, to.index, RESULTS.indexOf(host.lies ? "bad" : "ok"), ask);
    this.#send(host);
  }

  #came(host: SwarmHost, ask: Ask, how: number): void {
    const { effect } = ask;
    const from = effect.type === "request" ? effect.host : ORIGIN;
    const { id, unit, positions, bytes } = effect;
    if (ask.cancelled) {
      this.#twiceBytes += bytes;
      return;
    }
    host.asked.delete(this.#key(ask.of, unit));
    const result = RESULTS[how] ?? "failed";
    if (result === "ok" && host.have.has(unit)) this.#twiceBytes += bytes;
    const killBytes = this.#o.killAt * this.#o.bytes;
    if (from === ORIGIN && killBytes > 0 && this.#cameBytes < killBytes) {
      this.#cameBytes += bytes;
      if (this.#cameBytes >= killBytes) this.#dies(host);
    }
    this.#step(host, { type: "answer", id, unit, positions, from, result });
  }

  #dies(host: SwarmHost): void {
    host.alive = false;
    if (Number.isNaN(host.doneMs)) this.#left--;
    for (const other of host.neighbours)
      this.#events.add(
        this.#events.nowMs + 100 + 900 * this.#random.next(),
        KIND.gone,
        host.index,
        other,
      );
  }
}
