/**
 * A network that misbehaves by chance: datagrams are dropped, delayed, duplicated and overtake one
 * another; connections keep order but break, with what was under way lost; partitions cut both.
 */
import type { Random } from "../../shared/runtime/random.ts";
import type { EventQueue } from "./queue.ts";

export type Weather = {
  /** Share of datagrams lost, and sent twice. */
  drop: number;
  duplicate: number;
  /** Delay: the least, and the mean of what comes on top. */
  delayMs: number;
  jitterMs: number;
  /** Share of messages that break their connection. */
  breaks: number;
};

export const CALM: Weather = { drop: 0, duplicate: 0, delayMs: 2, jitterMs: 3, breaks: 0 };

export type Faults = {
  dropped: number;
  duplicated: number;
  broken: number;
  partitioned: number;
};

/** How long after a cut an end notices at most. */
const NOTICE_MS_MAX = 4000;

export class LossyNetwork {
  readonly #queue: EventQueue;
  readonly #random: Random;
  readonly #pipes = new Set<Pipe>();
  /** Nodes in one partition talk to one another; a node not listed is in the first. */
  #side = new Map<string, number>();
  weather: Weather = CALM;
  readonly faults: Faults = { dropped: 0, duplicated: 0, broken: 0, partitioned: 0 };

  constructor(queue: EventQueue, random: Random) {
    this.#queue = queue;
    this.#random = random;
  }

  /** Puts each node on its side, breaks connections between sides. */
  partition(sides: ReadonlyMap<string, number>): void {
    this.#side = new Map(sides);
    for (const pipe of [...this.#pipes]) if (!this.reachable(pipe.a, pipe.b)) pipe.cut();
  }

  heal(): void {
    this.#side.clear();
  }

  reachable(a: string, b: string): boolean {
    return (this.#side.get(a) ?? 0) === (this.#side.get(b) ?? 0);
  }

  /** Breaks every connection of a node: it crashed. */
  crash(node: string): void {
    for (const pipe of [...this.#pipes]) if (pipe.a === node || pipe.b === node) pipe.cut();
  }

  delay(): number {
    const { delayMs, jitterMs } = this.weather;
    return delayMs + this.#random.exponential(jitterMs);
  }

  /** Delivers once, twice, late or not at all. */
  datagram(from: string, to: string, deliver: () => void): void {
    if (!this.reachable(from, to)) {
      this.faults.partitioned++;
      return;
    }
    const { drop, duplicate } = this.weather;
    const fate = this.#random.next();
    if (fate < drop) {
      this.faults.dropped++;
      return;
    }
    const arrive = () => {
      if (this.reachable(from, to)) deliver();
    };
    this.#queue.in(this.delay(), arrive);
    if (fate >= drop + duplicate) return;
    this.faults.duplicated++;
    this.#queue.in(this.delay() * 3, arrive);
  }

  /** An ordered connection, or null when nobody is reached. */
  connect(a: string, b: string): Pipe | null {
    if (!this.reachable(a, b)) {
      this.faults.partitioned++;
      return null;
    }
    const pipe = new Pipe(a, b, {
      in: (ms, fn) => this.#queue.in(ms, fn),
      now: () => this.#queue.now(),
      delay: () => this.delay(),
      breaks: () => {
        const broken = this.#random.next() < this.weather.breaks;
        if (broken) this.faults.broken++;
        return broken;
      },
      noticeMs: () => this.#random.next() * NOTICE_MS_MAX,
      closed: (one) => this.#pipes.delete(one),
    });
    this.#pipes.add(pipe);
    return pipe;
  }

  get connections(): number {
    return this.#pipes.size;
  }
}

type PipeWorld = {
  in(ms: number, fn: () => void): void;
  now(): number;
  delay(): number;
  breaks(): boolean;
  noticeMs(): number;
  closed(pipe: Pipe): void;
};

/** Both ends of a connection between `a` and `b`. */
export class Pipe {
  readonly a: string;
  readonly b: string;
  readonly #world: PipeWorld;
  /** No message arrives before the one sent before it, in each direction. */
  readonly #lastMs = { a: 0, b: 0 };
  #open = true;
  #told = { a: false, b: false };
  onClose: { a: () => void; b: () => void } = { a: () => {}, b: () => {} };

  constructor(a: string, b: string, world: PipeWorld) {
    this.a = a;
    this.b = b;
    this.#world = world;
  }

  get open(): boolean {
    return this.#open;
  }

  /** Sends to that end; lost when the connection breaks before it arrives. */
  send(to: "a" | "b", deliver: () => void): void {
    if (!this.#open) return;
    if (this.#world.breaks()) {
      this.cut();
      return;
    }
    const atMs = Math.max(this.#world.now() + this.#world.delay(), this.#lastMs[to]);
    this.#lastMs[to] = atMs;
    this.#world.in(atMs - this.#world.now(), () => {
      if (this.#open) deliver();
    });
  }

  /** Breaks it; each end notices in its own time. */
  cut(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#world.closed(this);
    for (const end of ["a", "b"] as const)
      this.#world.in(this.#world.noticeMs(), () => this.#tell(end));
  }

  /** One end closes it: what it sent before still arrives, the other end notices after that. */
  close(by: "a" | "b"): void {
    if (!this.#open) return;
    const other = by === "a" ? "b" : "a";
    this.#told[by] = true;
    const atMs = Math.max(this.#world.now() + this.#world.delay(), this.#lastMs[other]);
    this.#world.in(atMs - this.#world.now(), () => {
      this.#open = false;
      this.#world.closed(this);
      this.#tell(other);
    });
  }

  #tell(end: "a" | "b"): void {
    if (this.#told[end]) return;
    this.#told[end] = true;
    this.onClose[end]();
  }
}
