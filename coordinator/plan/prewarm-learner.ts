/**
 * What the live planner knows of each category beside the hazard: who has a say about it, and what
 * its memory should cost. Learns from minutes that are over, each with the hazard that was seen as
 * it began.
 */
import { PROGRAM_ALONE, type Support } from "./decide.ts";
import { IdleTimes } from "./keep-alive.ts";
import { type MixtureState, votesOf } from "./mixture.ts";
import { Prewarm, viewOf } from "./prewarm.ts";
import {
  economicsAt,
  PriceScale,
  type PriceScaleOptions,
  priceOfOneMinute,
  type Stakes,
} from "./price-scale.ts";

export type OverMinute = {
  minute: number;
  /** As seen when it began; of a category without a past nothing has to be known. */
  hazardPerMinute: ArrayLike<number>;
  arrived: boolean;
  stakes: Stakes;
  /** Cost units per GB·hour at which the policy ran. */
  memoryGbHour: number;
};

type Lane = { last: number; idle: IdleTimes };

export class PrewarmLearner {
  readonly #prewarm = new Prewarm();
  readonly #scale: PriceScale;
  readonly #lanes = new Map<string, Lane>();
  /** Stakes of the last minute that was settled, for the unit of the scale. */
  #stakes = new Map<string, Stakes>();
  #oneMinute = 0;

  constructor(options: Partial<PriceScaleOptions> = {}) {
    this.#scale = new PriceScale(options);
  }

  /** Minutes the price rests on. */
  get minutes(): number {
    return this.#scale.minutes;
  }

  /** Arrivals from before it was there: minutes with requests, in order. */
  remember(key: string, minutes: Iterable<number>): void {
    for (const minute of minutes) this.#arrived(key, minute);
  }

  knows(key: string): boolean {
    return this.#lanes.has(key);
  }

  settle(key: string, over: OverMinute): void {
    const { minute, hazardPerMinute, arrived, stakes } = over;
    this.#stakes.set(key, stakes);
    const lane = this.#lanes.get(key);
    if (lane && minute > lane.last) {
      const view = viewOf(hazardPerMinute, minute - lane.last, lane.idle, stakes.leadMinutes);
      if (this.#oneMinute === 0) this.#setUnit();
      if (this.#scale.decide(key, view, stakes)) this.#scale.settle(key, arrived);
      const economics = economicsAt(over.memoryGbHour, stakes);
      this.#prewarm.settle(this.#prewarm.category(key), view, economics, arrived);
    }
    if (arrived) this.#arrived(key, minute);
  }

  /** All categories have settled a minute. */
  endMinute(): void {
    this.#prewarm.endMinute();
    this.#scale.endMinute();
    this.#setUnit();
  }

  /** Who has a say about a category whose last request was in minute `last`, in minute `now`. */
  support(key: string, last: number, now: number, leadMinutes: number): Support {
    const lane = this.#lanes.get(key);
    if (!lane) return PROGRAM_ALONE;
    const idleMinutes = Math.max(1, now - Math.max(last, lane.last));
    return this.#prewarm.support(key, votesOf(idleMinutes, leadMinutes, lane.idle));
  }

  /** Cost units per GB·hour that bring the memory-time to this share of the keep-alive's. */
  memoryGbHour(memoryRatio: number): number | null {
    const worth = this.#scale.worthMinutes(memoryRatio);
    return worth === null || this.#oneMinute === 0 ? null : this.#oneMinute / worth;
  }

  retain(keys: ReadonlySet<string>): void {
    for (const key of this.#lanes.keys()) if (!keys.has(key)) this.#lanes.delete(key);
    for (const key of this.#stakes.keys()) if (!keys.has(key)) this.#stakes.delete(key);
    this.#prewarm.retain(keys);
    this.#scale.retain(keys);
  }

  /** Of the mixture alone: the rest is learned from the history again. */
  state(): MixtureState {
    return this.#prewarm.state();
  }

  restore(state: MixtureState): void {
    this.#prewarm.restore(state);
  }

  #setUnit(): void {
    this.#oneMinute = priceOfOneMinute([...this.#stakes.values()]);
    this.#scale.setUnit(this.#oneMinute);
  }

  #arrived(key: string, minute: number): void {
    const lane = this.#lanes.get(key);
    if (!lane) this.#lanes.set(key, { last: minute, idle: new IdleTimes() });
    else if (minute > lane.last) {
      lane.idle.learn(minute - lane.last);
      lane.last = minute;
    }
  }
}
