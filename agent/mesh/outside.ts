/**
 * Whom to ask for what no neighbour has: a host of the site that is no neighbour, the origin, or a
 * host of another site; by one host of the site for each unit, that all elect alike.
 */
import { elect } from "./election.ts";
import type { Flights } from "./flights.ts";
import type { Source, Sources } from "./sources.ts";
import { ORIGIN, type WantState } from "./wants.ts";

const FOREGROUND_CLAIM_MS = 500;
/** A host of the site that says so and gets nothing for so long holds nobody up any more. */
const URGENT_MS = 3_000;
const FIRST_CONTACT_MS = 3_000;

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
  /** How many other hosts the site has. */
  neighbours = 0;
  bornMs: number | null = null;

  constructor(options: OutsideOptions, sources: Sources, flights: Flights) {
    this.#o = options;
    this.#sources = sources;
    this.#flights = flights;
  }

  /** Of whom one is elected for each unit of a manifest. */
  candidates(id: string, nowMs: number): string[] {
    return [this.#o.self, ...this.#sources.fetching(id, this.#o.takeoverMs, nowMs)];
  }

  anyFree(want: WantState, nowMs: number): boolean {
    const fits = (s: Source) => want.foreground || !s.near;
    return this.#originFree(want, nowMs) || this.#sources.anyFree(nowMs, fits);
  }

  /** Who can be asked for the unit now: a host, the origin, or nobody yet. */
  whom(want: WantState, unit: number, candidates: string[], nowMs: number): string | null {
    const { id, foreground } = want;
    const { self, takeoverMs } = this.#o;
    const elected = () => elect(candidates, want.units.chunks[want.units.first(unit)]?.hash ?? "");
    if (this.#sources.siteHas(id, unit, nowMs, foreground)) {
      // Who waits for it asks also those who would rather offer it.
      if (foreground) return this.#sources.pickHolder(id, unit, nowMs)?.host ?? null;
      const distant = this.#sources.pick(id, unit, nowMs, (s) => s.local && !s.near);
      return distant && elected() === self ? distant.host : null;
    }
    if (!foreground && !this.#settled(want, nowMs)) return null;
    const patienceMs = foreground ? FOREGROUND_CLAIM_MS : takeoverMs;
    if (this.#sources.claimed(id, unit, patienceMs, nowMs)) return null;
    if (!foreground && elected() !== self) return null;
    if (!foreground && this.#sources.urgent(URGENT_MS, nowMs)) return null;
    if (this.#originFree(want, nowMs)) return ORIGIN;
    return this.#sources.pick(id, unit, nowMs, (s) => !s.local)?.host ?? null;
  }

  #originFree(want: WantState, nowMs: number): boolean {
    const free = this.#flights.origin < this.#o.originFlightsMax;
    return want.hasOrigin && free && nowMs >= want.originBackoffUntilMs;
  }

  #settled(want: WantState, nowMs: number): boolean {
    if (this.neighbours === 0) return true;
    if (!this.#sources.anyLocal && nowMs - (this.bornMs ?? nowMs) < FIRST_CONTACT_MS) return false;
    return nowMs - want.startedMs >= this.#o.settleMs;
  }
}
