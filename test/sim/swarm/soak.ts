/**
 * A day of a site whose hosts come and go while versions are published and dropped: every want has
 * to end, and nothing that a transfer core remembers may grow. Transfers take some milliseconds
 * here; links are the swarm's subject.
 */
import { Bitmap } from "../../../agent/mesh/transfer/bitmap.ts";
import { TRANSFER_DEFAULTS } from "../../../agent/mesh/transfer/options.ts";
import { Transfer } from "../../../agent/mesh/transfer/transfer.ts";
import type { Answer, Effect, Said, TransferEvent } from "../../../agent/mesh/transfer/wants.ts";
import { type Random, seededRandom } from "../../../shared/runtime/random.ts";
import { Events, type Happening } from "./events.ts";

export type SoakOptions = { hosts: number; hours: number; seed: number };
/** What all cores remember together, and the heap, at one moment. */
export type Sample = { atMs: number; heapBytes: number; remembered: number };
export type SoakResult = {
  samples: Sample[];
  published: number;
  joined: number;
  completed: number;
  /** Wants that did not end before their version was dropped. */
  unfinished: number;
  /** Remembered beside the hosts there are, once every version was dropped. */
  left: number;
  events: number;
};
type Version = { id: string; chunks: { hash: string; bytes: number }[] };
type Asked = Extract<Effect, { type: "request" | "origin" }>;
type Host = {
  name: string;
  core: Transfer;
  held: Map<string, Bitmap>;
  wants: Set<string>;
  under: Map<string, Asked>;
  dirty: Set<string>;
};

const UNITS = 24;
const UNIT_BYTES = 1 << 20;
const PUBLISH_EVERY_MS = 300_000;
const KEEP_MS = 1_800_000;
const LEAVE_EVERY_MS = 600_000;
const AWAY_MS = 120_000;
const TROUBLE = 0.01;
export const SAMPLE_MS = 600_000;

export class Soak {
  readonly #o: SoakOptions;
  readonly #random: Random;
  readonly #heap: () => number;
  readonly #events = new Events();
  readonly #hosts = new Map<string, Host>();
  readonly #versions = new Map<string, Version>();
  readonly #result: SoakResult;
  #names = 0;
  /** Nothing new begins after it. */
  #endMs = 0;

  /** `heap`: bytes in use after garbage was collected. */
  constructor(options: SoakOptions, heap: () => number) {
    this.#o = options;
    this.#random = seededRandom(`soak ${options.seed}`);
    this.#heap = heap;
    const counts = { published: 0, joined: 0, completed: 0, unfinished: 0, left: 0, events: 0 };
    this.#result = { samples: [], ...counts };
  }

  run(): SoakResult {
    for (let i = 0; i < this.#o.hosts; i++) this.#join();
    this.#repeat(PUBLISH_EVERY_MS, () => this.#publish());
    this.#repeat(LEAVE_EVERY_MS, () => this.#leave());
    const sample = () => {
      if (this.#events.nowMs <= this.#endMs) this.#sample();
      this.#in(SAMPLE_MS, sample);
    };
    this.#in(SAMPLE_MS, sample);
    const happening: Happening = { kind: 0, a: 0, b: 0, what: null };
    this.#endMs = this.#o.hours * 3_600_000;
    while (this.#events.nowMs < this.#endMs + KEEP_MS + 60_000 && this.#events.next(happening))
      (happening.what as () => void)();
    this.#result.events = this.#events.made;
    for (const { core } of this.#hosts.values()) {
      const { sources, ...others } = core.sizes;
      for (const entries of Object.values(others)) this.#result.left += entries;
      this.#result.left += Math.abs(sources - (this.#hosts.size - 1));
    }
    return this.#result;
  }

  #in(ms: number, run: () => void): void {
    this.#events.add(this.#events.nowMs + ms, 0, 0, 0, run);
  }

  #repeat(meanMs: number, run: () => void): void {
    this.#in(this.#random.exponential(meanMs), () => {
      if (this.#events.nowMs > this.#endMs) return;
      run();
      this.#repeat(meanMs, run);
    });
  }

  #sample(): void {
    let remembered = 0;
    for (const { core } of this.#hosts.values())
      for (const entries of Object.values(core.sizes)) remembered += entries;
    this.#result.samples.push({ atMs: this.#events.nowMs, heapBytes: this.#heap(), remembered });
  }

  #join(): void {
    const name = `h${this.#names++}`;
    const random = this.#random.fork(name);
    const core = new Transfer({ ...TRANSFER_DEFAULTS, self: name, random });
    const host: Host = {
      name,
      core,
      held: new Map(),
      wants: new Set(),
      under: new Map(),
      dirty: new Set(),
    };
    this.#hosts.set(name, host);
    this.#result.joined++;
    this.#step(host, { type: "rate", bytesPerSecond: 1e12 });
    this.#step(host, { type: "members", hosts: [...this.#hosts.keys()] });
    for (const other of this.#hosts.values()) {
      if (other === host) continue;
      const ids = new Set([...other.held.keys(), ...other.wants]);
      this.#say(other, [host], ids);
    }
    for (const version of this.#versions.values()) this.#want(host, version);
    this.#tick(host);
  }

  #leave(): void {
    const host = this.#random.pick([...this.#hosts.values()]);
    this.#hosts.delete(host.name);
    this.#in(1_000, () => {
      for (const other of this.#hosts.values())
        this.#step(other, { type: "gone", host: host.name });
    });
    this.#in(this.#random.exponential(AWAY_MS), () => this.#join());
  }

  #publish(): void {
    const id = `version ${this.#result.published++}`;
    const chunks = Array.from({ length: UNITS }, (_, i) => ({
      hash: `${(this.#result.published * UNITS + i).toString(16).padStart(8, "0")} of ${id}`,
      bytes: UNIT_BYTES,
    }));
    const version = { id, chunks };
    this.#versions.set(id, version);
    const [publisher, ...others] = [...this.#hosts.values()].sort(() => this.#random.next() - 0.5);
    if (!publisher) return;
    publisher.held.set(id, Bitmap.full(UNITS));
    this.#step(publisher, { type: "hold", id, units: UNITS });
    this.#say(publisher, others, [id]);
    for (const host of others) if (this.#random.next() < 0.8) this.#want(host, version);
    this.#in(KEEP_MS, () => this.#drop(id));
  }

  #want(host: Host, { id, chunks }: Version): void {
    host.held.set(id, new Bitmap(UNITS));
    host.wants.add(id);
    const how = { priority: 1, deadlineMs: 0, foreground: false, hasOrigin: false };
    this.#step(host, { type: "want", want: { id, chunks, missing: chunks.keys(), ...how } });
  }

  #drop(id: string): void {
    this.#versions.delete(id);
    for (const host of this.#hosts.values()) {
      if (host.wants.delete(id)) this.#result.unfinished++;
      host.held.delete(id);
      this.#step(host, { type: "unwant", id });
      this.#step(host, { type: "hold", id, units: 0 });
      this.#say(host, [...this.#hosts.values()], [id]);
    }
  }

  #tick(host: Host): void {
    if (this.#hosts.get(host.name) !== host) return;
    this.#step(host, { type: "tick" });
    this.#in(host.wants.size > 0 ? 100 : 1_000, () => this.#tick(host));
  }

  #say(from: Host, to: Host[], ids: Iterable<string>): void {
    const said = (): Said[] =>
      [...ids].map((id) => {
        const have = new Bitmap(UNITS, from.held.get(id)?.toBytes());
        const { urgent, claims } = from.core.outside(id);
        const spreading = from.core.spreading(id);
        return { id, have, wanting: from.wants.has(id), urgent, claims, spreading };
      });
    for (const host of to) {
      if (host === from) continue;
      const event = { type: "said", host: from.name, local: true, whole: false } as const;
      const manifests = said();
      this.#in(2, () => {
        if (this.#hosts.get(from.name) === from) this.#step(host, { ...event, manifests });
      });
    }
  }

  #step(host: Host, event: TransferEvent): void {
    if (this.#hosts.get(host.name) !== host) return;
    for (const effect of host.core.step(event, this.#events.nowMs)) this.#perform(host, effect);
  }

  #perform(host: Host, effect: Effect): void {
    if (effect.type === "request" || effect.type === "origin") this.#ask(host, effect);
    else if (effect.type === "cancel")
      host.under.delete(`${effect.from} ${effect.id} ${effect.unit}`);
    else if (effect.type === "announce") this.#announce(host, effect.id);
    else if (effect.type === "have") {
      const { id, unit } = effect;
      host.held.get(id)?.set(unit);
      for (const name of effect.hosts) {
        const to = this.#hosts.get(name);
        if (to)
          this.#in(1, () => this.#step(to, { type: "have", host: host.name, id, units: [unit] }));
      }
    } else if (effect.type === "complete") {
      this.#result.completed++;
      host.wants.delete(effect.id);
      this.#step(host, { type: "hold", id: effect.id, units: UNITS });
    }
  }

  /** Soon, together with what else changes until then. */
  #announce(host: Host, id: string): void {
    if (host.dirty.size === 0)
      this.#in(300, () => {
        const ids = [...host.dirty];
        host.dirty.clear();
        this.#say(host, [...this.#hosts.values()], ids);
      });
    host.dirty.add(id);
  }

  #ask(host: Host, asked: Asked): void {
    const name = asked.type === "request" ? asked.host : "";
    const { id, unit, positions } = asked;
    const key = `${name} ${id} ${unit}`;
    host.under.set(key, asked);
    const luck = this.#random.next();
    if (luck < TROUBLE / 4) return;
    this.#in(3 + 20 * this.#random.next(), () => {
      if (host.under.get(key) !== asked) return;
      host.under.delete(key);
      const has = this.#hosts.get(name)?.held.get(id)?.has(unit) === true;
      const trouble: Answer =
        luck < TROUBLE / 2 ? "failed" : luck < (3 * TROUBLE) / 4 ? "busy" : "bad";
      const result = luck < TROUBLE ? trouble : has ? "ok" : "missing";
      this.#step(host, { type: "answer", id, unit, positions, from: name, result });
    });
  }
}

/** Growth per sampling interval by least squares over the samples after the first quarter. */
export function growth(samples: Sample[], of: (sample: Sample) => number): number {
  const rest = samples.slice(Math.floor(samples.length / 4));
  const n = rest.length;
  const meanX = (n - 1) / 2;
  const meanY = rest.reduce((sum, s) => sum + of(s), 0) / n;
  const covariance = rest.reduce((sum, s, x) => sum + (x - meanX) * (of(s) - meanY), 0);
  return covariance / rest.reduce((sum, _, x) => sum + (x - meanX) ** 2, 0);
}
