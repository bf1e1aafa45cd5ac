/**
 * Prestage's own policies for a backtest: the live decision code on what the forecaster would have
 * known. All prices of the scale run together, on the same forecasts.
 */
import { leadMinutes, type Policy, type Series } from "./backtest/play.ts";
import { START_SHARE } from "./plan/decide.ts";
import { Prewarm, type Prewarmed } from "./plan/prewarm.ts";
import { economicsAt, PriceScale, priceOfOneMinute, type Stakes } from "./plan/price-scale.ts";
import { PrequentialViews } from "./prequential.ts";

export type PrestageOptions = {
  /** The first is what the calibrated policy follows; each worth of each is one policy. */
  sweeps: readonly Sweep[];
  /** Memory-time of the calibrated policy, as a share of the keep-alive's. */
  memoryRatio: number;
  keepAliveMinutes: number;
  /** Since 1970, of the first minute played. */
  startMinute: number;
};

export type Sweep = {
  /** Rising. */
  worths: readonly number[];
  /** Of a load made ahead, as a part of a cold arrival's cost, besides its bytes. */
  loadShare: number;
};

export const DEFAULT_LOAD_SHARE = START_SHARE;
/** Until demand has shown what memory the wanted share is. */
const FIRST_WORTH = 63;
const FIRST_MINUTES = 60;
/** Cost units per GB moved, as the planner starts with. */
const MOVED_GB = 0.5;
const GB = 2 ** 30;

/**
 * The calibrated one, named `prestage`; those of the first sweep, `prestage:WORTH`; those of the
 * others, `prestage:WORTH/LOADSHARE`.
 */
export function prestagePolicies(series: readonly Series[], options: PrestageOptions): Policy[] {
  const views = viewsOf(series);
  const worlds = options.sweeps.map((sweep) => new World(series, views, sweep, options));
  const points = worlds.flatMap((world, s) =>
    world.sweep.worths.map((worth, p): Policy => {
      return {
        name: s === 0 ? `prestage:${worth}` : `prestage:${worth}/${world.sweep.loadShare}`,
        wants: (i, minute) => world.wanted(i, minute)?.[p] === 1,
        observe: () => {},
      };
    }),
  );
  const [first] = worlds;
  return first ? [...points, new Calibrated(first, worlds, views, options)] : [];
}

function viewsOf(series: readonly Series[]): PrequentialViews {
  return new PrequentialViews(
    series.map(({ key, startSeconds }) => {
      const slash = key.indexOf("/");
      const [workload, category] = [key.slice(0, slash), key.slice(slash + 1)];
      return { workload, category, leadMinutes: leadMinutes(startSeconds) };
    }),
  );
}

/** What the policies of one sweep share: stakes, and the scale of prices on the forecasts. */
class World {
  readonly sweep: Sweep;
  readonly stakes: readonly Stakes[];
  readonly oneMinute: number;
  readonly scale: PriceScale;
  readonly #views: PrequentialViews;
  readonly #keys: readonly string[];
  readonly #startMinute: number;
  readonly #wanted: (Uint8Array | null)[];
  readonly #decidedFor: Int32Array;

  constructor(
    series: readonly Series[],
    views: PrequentialViews,
    sweep: Sweep,
    { keepAliveMinutes, startMinute }: PrestageOptions,
  ) {
    this.sweep = sweep;
    this.#startMinute = startMinute;
    this.#keys = series.map(({ key }) => key);
    this.#views = views;
    this.stakes = series.map((one) => stakesOf(one, sweep.loadShare));
    this.oneMinute = priceOfOneMinute(this.stakes);
    this.scale = new PriceScale({ keepAliveMinutes, categoriesMax: series.length }, sweep.worths);
    this.scale.setUnit(this.oneMinute);
    this.#wanted = series.map(() => null);
    this.#decidedFor = new Int32Array(series.length).fill(-1);
  }

  key(i: number): string {
    return this.#keys[i] ?? "";
  }

  view(i: number, minute: number) {
    return this.#views.view(i, this.#startMinute + minute);
  }

  /** What each point of the scale wants; null before the first arrival. */
  wanted(i: number, minute: number): Uint8Array | null {
    if (this.#decidedFor[i] === minute) return this.#wanted[i] ?? null;
    this.#decidedFor[i] = minute;
    const view = this.view(i, minute);
    const stakes = this.stakes[i];
    this.#wanted[i] = view && stakes ? this.scale.decide(this.key(i), view, stakes) : null;
    return this.#wanted[i] ?? null;
  }

  settle(i: number, minute: number, requests: number): void {
    if (this.wanted(i, minute)) this.scale.settle(this.key(i), requests > 0);
  }
}

function stakesOf(one: Series, loadShare: number): Stakes {
  const missCost = one.startSeconds;
  const moved = (one.artifactBytes / GB) * MOVED_GB;
  return {
    missCost,
    memoryGb: one.memoryGb,
    loadShare: loadShare + (missCost > 0 ? moved / missCost : 0),
    leadMinutes: leadMinutes(one.startSeconds),
  };
}

/**
 * As live: the price of memory follows the wanted memory-time. It is the one that is told what
 * came, for all that share its forecasts.
 */
class Calibrated implements Policy {
  readonly name = "prestage";
  readonly #world: World;
  readonly #worlds: readonly World[];
  readonly #views: PrequentialViews;
  readonly #options: PrestageOptions;
  readonly #prewarm = new Prewarm();
  readonly #categories: Prewarmed[] = [];
  #worth = FIRST_WORTH;

  constructor(
    world: World,
    worlds: readonly World[],
    views: PrequentialViews,
    options: PrestageOptions,
  ) {
    this.#world = world;
    this.#worlds = worlds;
    this.#views = views;
    this.#options = options;
  }

  wants(i: number, minute: number, ready: boolean): boolean {
    const view = this.#world.view(i, minute);
    const economics = this.#economics(i);
    if (!view || !economics) return false;
    return this.#prewarm.wants(this.#category(i), view, economics, ready);
  }

  observe(i: number, minute: number, requests: number): void {
    const view = this.#world.view(i, minute);
    const economics = this.#economics(i);
    if (view && economics) this.#prewarm.settle(this.#category(i), view, economics, requests > 0);
    for (const world of this.#worlds) world.settle(i, minute, requests);
    this.#views.observe(i, this.#options.startMinute + minute, requests);
  }

  endMinute(): void {
    this.#prewarm.endMinute();
    for (const { scale } of this.#worlds) scale.endMinute();
    const { scale } = this.#world;
    if (scale.minutes < FIRST_MINUTES) return;
    this.#worth = scale.worthMinutes(this.#options.memoryRatio) ?? this.#worth;
  }

  #category(i: number): Prewarmed {
    this.#categories[i] ??= this.#prewarm.category(this.#world.key(i));
    return this.#categories[i];
  }

  #economics(i: number) {
    const stakes = this.#world.stakes[i];
    return stakes ? economicsAt(this.#world.oneMinute / this.#worth, stakes) : null;
  }
}
