/**
 * What a GB·hour of idle memory should cost, found by running the prewarm policy on paper at a
 * scale of prices at once, minute by minute as demand comes: the price whose memory-time is the
 * wanted share of what a fixed keep-alive takes on the same minutes.
 *
 * Prices stand as worths: how many minutes of idle memory an average category's cold arrival is
 * worth. A scale in cost units would have to follow every change of what misses cost.
 */
import type { Economics } from "./decide.ts";
import { Prewarm, type Prewarmed, type View } from "./prewarm.ts";

/** From what is hardly worth keeping to a start that must not happen. */
export const WORTHS = [2.5, 5, 10, 20, 40, 63, 100, 160, 320, 640] as const;

/** Memory-time counts half after a day. */
const KEEP_PER_MINUTE = 0.5 ** (1 / 1440);

/** What a category's cold arrivals, memory and loads cost, without the price of memory. */
export type Stakes = {
  /** Cost units of a cold arrival, its load included. */
  missCost: number;
  memoryGb: number;
  /** Of a load made ahead, as a part of `missCost`. */
  loadShare: number;
  /** Whole minutes from start to ready, at least 1. */
  leadMinutes: number;
};

/**
 * Cost units per GB·hour at which one minute of all categories' memory costs what one cold arrival
 * of each does. Of the sums: a mean of the ratios would be that of the smallest environments.
 */
export function priceOfOneMinute(stakes: readonly Stakes[]): number {
  let missCost = 0;
  let memoryGb = 0;
  for (const one of stakes) {
    missCost += one.missCost;
    memoryGb += one.memoryGb;
  }
  return memoryGb > 0 ? (60 * missCost) / memoryGb : 0;
}

export function economicsAt(memoryGbHour: number, stakes: Stakes): Economics {
  const { missCost, memoryGb, loadShare, leadMinutes } = stakes;
  const holdCost = (memoryGbHour * memoryGb) / 60;
  return { missCost, holdCost, startCost: loadShare * missCost, leadMinutes };
}

/** An environment on paper: minutes until it is ready, or `ABSENT`. */
export const ABSENT = -1;

/** After the decision at the start of a minute; a load that is under way goes on. */
export function decided(untilReady: number, wanted: boolean, leadMinutes: number): number {
  if (untilReady > 0) return untilReady;
  if (untilReady === 0) return wanted ? 0 : ABSENT;
  return wanted ? leadMinutes : ABSENT;
}

/** After the minute; an arrival loads what is absent. */
export function passed(untilReady: number, arrived: boolean, leadMinutes: number): number {
  if (untilReady < 0) return arrived ? leadMinutes - 1 : ABSENT;
  return Math.max(0, untilReady - 1);
}

type Point = { worthMinutes: number; prewarm: Prewarm; gbMinutes: number };
type Category = {
  /** By point of the scale, as are the next three. */
  prewarmed: readonly Prewarmed[];
  untilReady: Int16Array;
  wanted: Uint8Array;
  view: View;
  economics: readonly Economics[];
  unit: number;
  stakes: Stakes;
};

export type PriceScaleOptions = {
  keepAliveMinutes: number;
  /** Raised: exacter, and slower by about 5 µs per category and minute. */
  categoriesMax: number;
};
export const DEFAULT_PRICE_SCALE: PriceScaleOptions = { keepAliveMinutes: 10, categoriesMax: 500 };

export class PriceScale {
  readonly #options: PriceScaleOptions;
  readonly #points: readonly Point[];
  readonly #categories = new Map<string, Category>();
  #fixedGbMinutes = 0;
  #minutes = 0;
  #oneMinute = 0;

  constructor(options: Partial<PriceScaleOptions> = {}, worths: readonly number[] = WORTHS) {
    this.#options = { ...DEFAULT_PRICE_SCALE, ...options };
    this.#points = worths.map((worthMinutes) => {
      return { worthMinutes, prewarm: new Prewarm(), gbMinutes: 0 };
    });
  }

  /** Minutes that were seen, faded like the memory-time. */
  get minutes(): number {
    return this.#minutes;
  }

  /** `priceOfOneMinute` of the categories there are, for the minutes from now on. */
  setUnit(memoryGbHour: number): void {
    this.#oneMinute = memoryGbHour;
  }

  /**
   * A minute of a category begins. The answer is what each point of the scale wants there (1 = it
   * shall be there); null when there are too many categories. The array is reused.
   */
  decide(key: string, view: View, stakes: Stakes): Uint8Array | null {
    const category = this.#categoryOf(key, view, stakes);
    if (!category) return null;
    const { prewarmed, wanted, untilReady } = category;
    for (let p = 0; p < this.#points.length; p++) {
      const point = this.#points[p];
      const economics = category.economics[p];
      const own = prewarmed[p];
      if (!point || !economics || !own) continue;
      const until = untilReady[p] ?? ABSENT;
      const wants = until > 0 || point.prewarm.wants(own, view, economics, until === 0);
      wanted[p] = wants ? 1 : 0;
      untilReady[p] = decided(until, wants, stakes.leadMinutes);
    }
    return wanted;
  }

  /** The minute that `decide` was asked for is over. */
  settle(key: string, arrived: boolean): void {
    const category = this.#categories.get(key);
    if (!category) return;
    const { view, stakes, prewarmed, untilReady } = category;
    for (let p = 0; p < this.#points.length; p++) {
      const point = this.#points[p];
      const economics = category.economics[p];
      const own = prewarmed[p];
      if (!point || !economics || !own) continue;
      point.prewarm.settle(own, view, economics, arrived);
      const until = untilReady[p] ?? ABSENT;
      if (until >= 0 || arrived) point.gbMinutes += stakes.memoryGb;
      untilReady[p] = passed(until, arrived, stakes.leadMinutes);
    }
    if (arrived || view.idleMinutes <= this.#options.keepAliveMinutes)
      this.#fixedGbMinutes += stakes.memoryGb;
  }

  endMinute(): void {
    this.#minutes = this.#minutes * KEEP_PER_MINUTE + 1;
    this.#fixedGbMinutes *= KEEP_PER_MINUTE;
    for (const point of this.#points) {
      point.gbMinutes *= KEEP_PER_MINUTE;
      point.prewarm.endMinute();
    }
  }

  /**
   * The worth (`setUnit` ÷ worth is the price) at which the memory-time is `memoryRatio` of the keep-alive's, between points by
   * interpolation; null while nothing was held.
   */
  worthMinutes(memoryRatio: number): number | null {
    const wanted = memoryRatio * this.#fixedGbMinutes;
    if (this.#fixedGbMinutes === 0) return null;
    const [first] = this.#points;
    if (!first || first.gbMinutes >= wanted) return first?.worthMinutes ?? null;
    let below = first;
    for (const point of this.#points) {
      if (point.gbMinutes > wanted) return between(below, point, wanted);
      below = point;
    }
    return below.worthMinutes;
  }

  retain(keys: ReadonlySet<string>): void {
    for (const key of this.#categories.keys()) if (!keys.has(key)) this.#categories.delete(key);
    for (const { prewarm } of this.#points) prewarm.retain(keys);
  }

  #categoryOf(key: string, view: View, stakes: Stakes): Category | null {
    let category = this.#categories.get(key);
    if (!category) {
      if (this.#categories.size >= this.#options.categoriesMax) return null;
      // It is known from its first arrival on, which has loaded it.
      const untilReady = new Int16Array(this.#points.length).fill(stakes.leadMinutes - 1);
      const wanted = new Uint8Array(this.#points.length);
      const prewarmed = this.#points.map(({ prewarm }) => prewarm.category(key));
      category = { prewarmed, untilReady, wanted, view, stakes, unit: Number.NaN, economics: [] };
      this.#categories.set(key, category);
    }
    category.view = view;
    const unit = this.#oneMinute;
    if (category.stakes !== stakes || category.unit !== unit)
      category.economics = this.#points.map((p) => economicsAt(unit / p.worthMinutes, stakes));
    category.stakes = stakes;
    category.unit = unit;
    return category;
  }
}

function between(below: Point, above: Point, gbMinutes: number): number {
  const share = (gbMinutes - below.gbMinutes) / Math.max(1e-9, above.gbMinutes - below.gbMinutes);
  return below.worthMinutes * (above.worthMinutes / below.worthMinutes) ** share;
}
