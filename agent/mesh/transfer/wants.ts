/** The words of the transfer core: what goes in, what comes out, what it remembers of a want. */
import type { Random } from "../../../shared/runtime/random.ts";
import { Bitmap } from "./bitmap.ts";
import { Holders } from "./holders.ts";
import { Lead } from "./lead.ts";
import { Rarity } from "./rarity.ts";
import { type ChunkOf, Units } from "./units.ts";

/** Stands for the origin where a host could stand; no host name has a colon. */
export const ORIGIN = "origin:";

export type Want = {
  /** Manifest hash. */
  id: string;
  /** By position. The same array for the same version, as units are made once for it. */
  chunks: readonly ChunkOf[];
  /** Positions not held. */
  missing: Iterable<number>;
  priority: number;
  deadlineMs: number;
  foreground: boolean;
  hasOrigin: boolean;
};

export type Said = {
  id: string;
  /** Whole units. The core's own from then on. */
  have: Bitmap;
  wanting: boolean;
  /** A request waits for it, and it comes from outside the site. */
  urgent: boolean;
  /** Units it is getting from outside. */
  claims: Iterable<number>;
  /** It is to be asked only for units of which it said `have` here. */
  spreading?: boolean;
  /** Its way outside works, as far as it knows; so if not given. */
  reaches?: boolean;
};

export type TransferEvent =
  | { type: "want"; want: Want }
  | { type: "unwant"; id: string }
  /** Somebody reads a version as it comes, and is at that position. */
  | { type: "read"; id: string; position: number }
  /** All of a version is here, so many units; none: no longer. */
  | { type: "hold"; id: string; units: number }
  | { type: "rate"; bytesPerSecond: number }
  /** The other hosts of the site, connected or not; `elsewhere`: there are other sites too. */
  | { type: "members"; hosts: readonly string[]; elsewhere?: boolean }
  /**
   * Whether it is for this site to go to the origin of a version, or for another one; `ahead`: another
   * host of the site has it or brings it in since before.
   */
  | { type: "turn"; id: string; ours: boolean; ahead: boolean }
  /** A host of the site is a neighbour now, asked freely, or no longer. */
  | { type: "near"; host: string; near: boolean }
  /**
   * Replaces what was known of these manifests; `whole` of all its manifests. `local`: of this
   * site. `near`: asked freely; else only by who was elected. As `local` when not given.
   */
  | SaidEvent
  /** More whole units at a neighbour; `busy`: a request would wait there behind others. */
  | { type: "have"; host: string; id: string; units: readonly number[]; busy?: boolean }
  | { type: "gone"; host: string }
  /** A chunk is held now that nobody was asked for. */
  | { type: "stored"; hash: string }
  /** A chunk of what was asked for is verified and stored; more of it is to come. */
  | { type: "part"; id: string; position: number; from: string }
  | AnswerEvent
  /** A host gave something else that is not what it was asked for. */
  | { type: "lied"; host: string }
  | { type: "tick" };
export type SaidEvent = {
  type: "said";
  host: string;
  local: boolean;
  near?: boolean;
  whole: boolean;
  manifests: Iterable<Said>;
};
/** The last word on a request; `positions` as they were asked for. */
export type AnswerEvent = {
  type: "answer";
  id: string;
  unit: number;
  positions: readonly number[];
  from: string;
  result: Answer;
  /** Of a bad answer: how many chunks were wrong; 1 when not given. */
  lies?: number;
};
/** `ok`: all of it verified and stored. */
export type Answer = "ok" | "missing" | "busy" | "bad" | "failed";

/** `positions`: what is missing of the unit, in order; `bytes` theirs. */
type Asked = { id: string; unit: number; positions: number[]; bytes: number; foreground: boolean };
export type Effect =
  | ({ type: "request"; host: string } & Asked)
  | ({ type: "origin" } & Asked)
  | { type: "cancel"; from: string; id: string; unit: number }
  | { type: "complete"; id: string }
  | { type: "shun"; host: string }
  /** These neighbours are to be told that they may ask here for a unit. */
  | { type: "have"; id: string; unit: number; hosts: string[] }
  /** What others know of this manifest is out of date. */
  | { type: "announce"; id: string };

export type Flight = {
  want: WantState;
  unit: number;
  from: string;
  positions: number[];
  bytes: number;
  sinceMs: number;
  background: boolean;
};

/** Near hosts that are told of units, as of so many changes. */
export type Listeners = {
  changes: number;
  all: { number: number; host: string; always: boolean }[];
};

/** Raised: the rare ones wait longer for what is read; lowered: who reads waits for each unit. */
const READ_AHEAD_UNITS = 24;

export class WantState {
  readonly id: string;
  readonly units: Units;
  priority = 0;
  deadlineMs = 0;
  foreground = false;
  hasOrigin = false;
  /** Positions still to come. */
  readonly missing: Bitmap;
  /** By unit, how many of its positions are still to come. */
  readonly #missingIn: Uint16Array;
  /** Units with something to come and nothing under way. */
  readonly rarity: Rarity;
  /** Who near has which. */
  readonly holders: Holders;
  listeners: Listeners | null = null;
  readonly flights = new Map<number, Flight[]>();
  /** So many units at once of each neighbour. */
  share = 1;
  /** Nobody to ask outside for an orphan was found: not looked again before. */
  restUntilMs: number;
  readonly startedMs: number;
  progressMs: number;
  /** The unit that somebody reads now who reads on as it comes. */
  #reading: number | null = null;
  originFailures = 0;
  originBackoffUntilMs = 0;
  /** Whether this site is the one that goes to the origin; null: not heard yet. */
  turn: boolean | null = null;
  /** Whether another host of the site was before this one; null: not heard yet. */
  ahead: boolean | null = null;
  /** When it was last looked for in other sites. */
  lookedMs = Number.NEGATIVE_INFINITY;
  /** When something of it was last under way. */
  flownMs: number;
  /** Nobody else of the site is known to fetch it. */
  alone = true;
  /** When the others were last told that this host sees to it that it comes from outside. */
  beatMs = Number.NEGATIVE_INFINITY;
  readonly lead: Lead;

  constructor(want: Want, random: Random, nowMs: number) {
    this.id = want.id;
    this.units = Units.of(want.chunks);
    this.missing = new Bitmap(want.chunks.length);
    this.#missingIn = new Uint16Array(this.units.count);
    this.rarity = new Rarity(this.units.count, random);
    this.holders = new Holders(this.units.count);
    this.restUntilMs = nowMs;
    this.startedMs = nowMs;
    this.progressMs = nowMs;
    this.flownMs = nowMs;
    this.lead = new Lead(this.units.totalBytes, nowMs);
  }

  /** Takes over how it is wanted now, and what more is missing. */
  update(want: Want): void {
    this.priority = want.priority;
    this.deadlineMs = want.deadlineMs;
    this.foreground = want.foreground;
    this.hasOrigin = want.hasOrigin;
    for (const position of want.missing) {
      if (!this.missing.set(position)) continue;
      const unit = this.units.unitOf(position);
      this.#missingIn[unit] = this.missingIn(unit) + 1;
      if (!this.flights.has(unit)) this.rarity.add(unit);
    }
  }

  /** A near host, by its number, has one more unit. */
  gained(unit: number, host: number): void {
    this.holders.set(unit, host);
    this.rarity.raise(unit);
  }

  lost(unit: number, host: number): void {
    this.holders.clear(unit, host);
    this.rarity.lower(unit);
  }

  /** Takes over what a near host has now instead of before. */
  changed(host: number, before: Bitmap | null, after: Bitmap | null): void {
    for (let unit = 0; unit < this.units.count; unit++) {
      const had = before?.has(unit) === true;
      const has = after?.has(unit) === true;
      if (has && !had) this.gained(unit, host);
      else if (had && !has) this.lost(unit, host);
    }
  }

  /** True when that is another unit than before. */
  readAt(position: number): boolean {
    const unit = this.units.unitOf(position);
    const moved = unit !== this.#reading;
    this.#reading = unit;
    return moved;
  }

  /** From `unit` on, the next of those about to be read that a neighbour may be asked for. */
  aboutToBeRead(unit: number): number | null {
    if (this.#reading === null) return null;
    const end = Math.min(this.units.count, this.#reading + READ_AHEAD_UNITS);
    for (let next = Math.max(unit, this.#reading); next < end; next++)
      if (this.rarity.has(next) && this.rarity.count(next) > 0) return next;
    return null;
  }

  missingIn(unit: number): number {
    return this.#missingIn[unit] ?? 0;
  }

  /** Of some unit no neighbour is known and there is no origin that works. */
  sourceless(nowMs: number): boolean {
    return this.rarity.orphans > 0 && (!this.hasOrigin || nowMs < this.originBackoffUntilMs);
  }

  /** Bytes of those positions that are still to come. */
  missingBytes(positions: readonly number[]): number {
    let bytes = 0;
    for (const position of positions)
      if (this.missing.has(position)) bytes += this.units.chunks[position]?.bytes ?? 0;
    return bytes;
  }

  /** True when the position was missing. */
  found(position: number): boolean {
    if (!this.missing.clear(position)) return false;
    const unit = this.units.unitOf(position);
    this.#missingIn[unit] = this.missingIn(unit) - 1;
    return true;
  }
}

/** Most urgent first. */
export function byUrgency(a: WantState, b: WantState): number {
  return (
    Number(b.foreground) - Number(a.foreground) ||
    b.priority - a.priority ||
    a.deadlineMs - b.deadlineMs ||
    (a.id < b.id ? -1 : 1)
  );
}

/** The origin is left alone for a while, longer each time. */
export function originFailed(want: WantState, result: Answer, nowMs: number): void {
  const waitMs = result === "bad" ? 30_000 : 500 * 2 ** Math.min(want.originFailures, 6);
  want.originFailures++;
  want.originBackoffUntilMs = Math.max(want.originBackoffUntilMs, nowMs + waitMs);
}
