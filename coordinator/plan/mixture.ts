/**
 * Who decides about a category: the program over the hazard, or one of the simple policies, mixed
 * online by what each would have cost so far, so that where the hazard misunderstands a category
 * it is never much worse than the best of them.
 *
 * Each expert runs on paper beside the real environment and pays for its cold minutes, its idle
 * minutes and its loads (full information: arrivals do not depend on what was decided). Its weight
 * is exp(−η · cost), the cost being its own on this category plus, as a prior, `PRIOR_MINUTES` of
 * what it costs on average over all categories. What more than half of the weight wants is done.
 *
 * Exponential weights: Freund & Schapire 1997; with the fixed share of Herbster & Warmuth 1998 in
 * its simplest form, old costs fade. Drawing one expert by its weight has the textbook regret, but
 * pays a load at every change of expert (a metrical task system); following the weighted majority
 * changes only when the weight does, and on recorded functions costs within 2 % of the best expert.
 */
import type { Economics, Support } from "./decide.ts";
import { type IdleTimes, KEEP_ALIVES, wants } from "./keep-alive.ts";

const PROGRAM = 0;
const HISTOGRAM = 1 + KEEP_ALIVES.length;
const EXPERTS = HISTOGRAM + 1;
export const EXPERT_NAMES: readonly string[] = [
  "program",
  ...KEEP_ALIVES.map((minutes) => `fixed:${minutes}`),
  "hybrid-histogram",
];

/** Per cold arrival of difference. Raised: faster, and less sure of it. */
const LEARNING_RATE = 2;
/** Cold arrivals of difference from which on a weight is nothing: e⁻²⁰. */
const HOPELESS = 10;
/** How much the average over all categories counts. Raised: own experience tells later. */
const PRIOR_MINUTES = 240;
/** A cost counts half after a day of minutes in which something was at stake. */
const KEEP_PER_MINUTE = 0.5 ** (1 / 1440);
/** The average over all categories is of about that many minutes. */
const POOL_KEEP = 1 - 1 / 1000;

/** One minute of one category that is over. */
export type MixedMinute = {
  arrived: boolean;
  /** Minutes since the last arrival before this minute; at least 1. */
  idleMinutes: number;
  economics: Economics;
  /** The program's decisions at the start of the minute, for what is ready and for what is absent. */
  program: { acts(ready: boolean): boolean };
};

type Category = {
  costs: Float64Array;
  /** Of each expert's environment on paper: minutes until it is ready; −1 = absent. */
  untilReady: Int16Array;
  /** What all of those are; null where they differ. */
  allUntilReady: number | null;
};

export type MixtureState = {
  pool: number[];
  poolMinutes: number;
  categories: Record<string, number[]>;
};

export class Mixture {
  #categories = new Map<string, Category>();
  readonly #pool = new Float64Array(EXPERTS);
  #poolMinutes = 0;
  /** What the average over all categories counts, by expert. */
  readonly #prior = new Float64Array(EXPERTS);
  readonly #pending = new Float64Array(EXPERTS);
  #pendingMinutes = 0;
  readonly #weights = new Float64Array(EXPERTS);

  /** Who has a say now, `idleMinutes` after the last arrival. */
  support(key: string, idleMinutes: number, leadMinutes: number, idle: IdleTimes): Support {
    const weights = this.weights(key);
    let wanted = 0;
    for (let e = 1; e < EXPERTS; e++)
      if (expertWants(e, idleMinutes, leadMinutes, idle)) wanted += weights[e] ?? 0;
    return { program: weights[PROGRAM] ?? 0, wanted };
  }

  /** By expert, in the order of `EXPERT_NAMES`; sums to 1. The array is reused by the next call. */
  weights(key: string): Float64Array {
    const costs = this.#categories.get(key)?.costs;
    const weights = this.#weights;
    let least = Number.POSITIVE_INFINITY;
    for (let e = 0; e < EXPERTS; e++) {
      const cost = (costs?.[e] ?? 0) + (this.#prior[e] ?? 0);
      weights[e] = cost;
      least = Math.min(least, cost);
    }
    let sum = 0;
    for (let e = 0; e < EXPERTS; e++) {
      // The program breaks ties: before anything was seen it decides alone.
      const start = e === PROGRAM ? EXPERTS : 1;
      const behind = (weights[e] ?? 0) - least;
      const weight = behind > HOPELESS ? 0 : start * Math.exp(-LEARNING_RATE * behind);
      weights[e] = weight;
      sum += weight;
    }
    for (let e = 0; e < EXPERTS; e++) weights[e] = (weights[e] ?? 0) / sum;
    return weights;
  }

  /** Runs every expert through the minute on paper. Once per category and minute, in order. */
  settle(key: string, minute: MixedMinute, idle: IdleTimes): void {
    const { economics, arrived, idleMinutes } = minute;
    if (economics.missCost <= 0) return;
    const category = this.#categoryOf(key);
    this.#pendingMinutes++;
    if (nothingAtStake(category, minute, idle)) return;
    const lead = Math.max(1, Math.ceil(economics.leadMinutes));
    for (let e = 0; e < EXPERTS; e++) {
      let until = category.untilReady[e] ?? -1;
      let cost = 0;
      const want =
        e === PROGRAM
          ? until > 0 || minute.program.acts(until === 0)
          : expertWants(e, idleMinutes, lead, idle);
      if (until === 0 && !want) until = -1;
      else if (until < 0 && want) {
        until = lead;
        cost += economics.startCost;
      }
      if (arrived) {
        if (until !== 0) cost += economics.missCost;
      } else if (until >= 0) cost += economics.holdCost;
      if (until > 0) until--;
      if (arrived) until = until < 0 ? lead - 1 : until;
      category.untilReady[e] = until;
      const share = cost / economics.missCost;
      category.costs[e] = (category.costs[e] ?? 0) * KEEP_PER_MINUTE + share;
      this.#pending[e] = (this.#pending[e] ?? 0) + share;
    }
    const [first = 0] = category.untilReady;
    category.allUntilReady = category.untilReady.every((until) => until === first) ? first : null;
  }

  /** All categories have settled the minute: what it cost on average becomes the prior. */
  endMinute(): void {
    if (this.#pendingMinutes === 0) return;
    for (let e = 0; e < EXPERTS; e++)
      this.#pool[e] = (this.#pool[e] ?? 0) * POOL_KEEP + (this.#pending[e] ?? 0);
    this.#poolMinutes = this.#poolMinutes * POOL_KEEP + this.#pendingMinutes;
    this.#pending.fill(0);
    this.#pendingMinutes = 0;
    this.#setPrior();
  }

  retain(keys: ReadonlySet<string>): void {
    for (const key of this.#categories.keys()) if (!keys.has(key)) this.#categories.delete(key);
  }

  state(): MixtureState {
    const categories: Record<string, number[]> = {};
    for (const [key, { costs }] of this.#categories)
      categories[key] = Array.from(costs, (cost) => Math.round(cost * 1e4) / 1e4);
    return { pool: [...this.#pool], poolMinutes: this.#poolMinutes, categories };
  }

  /** The environments on paper begin anew, which costs the experts alike. */
  restore(state: MixtureState): void {
    this.#pool.set(state.pool.slice(0, EXPERTS));
    this.#poolMinutes = state.poolMinutes;
    this.#setPrior();
    this.#categories = new Map();
    for (const [key, costs] of Object.entries(state.categories))
      this.#categoryOf(key).costs.set(costs.slice(0, EXPERTS));
  }

  #setPrior(): void {
    const weight = this.#poolMinutes > 0 ? PRIOR_MINUTES / this.#poolMinutes : 0;
    for (let e = 0; e < EXPERTS; e++) this.#prior[e] = weight * (this.#pool[e] ?? 0);
  }

  #categoryOf(key: string): Category {
    let category = this.#categories.get(key);
    if (!category) {
      // A category is known from its first arrival on, which made its environment.
      const untilReady = new Int16Array(EXPERTS);
      category = { costs: new Float64Array(EXPERTS), untilReady, allUntilReady: 0 };
      this.#categories.set(key, category);
    }
    return category;
  }
}

/** All have it ready, keep it and it is used; or none has it, none loads it, and nothing comes. */
function nothingAtStake(category: Category, minute: MixedMinute, idle: IdleTimes): boolean {
  const { arrived, idleMinutes, economics, program } = minute;
  if (category.allUntilReady !== (arrived ? 0 : -1)) return false;
  return (
    unanimous(arrived, idleMinutes, economics.leadMinutes, idle) &&
    program.acts(arrived) === arrived
  );
}

/** Whether all simple policies want what the program wants. */
export function unanimous(
  programActs: boolean,
  idleMinutes: number,
  leadMinutes: number,
  idle: IdleTimes,
): boolean {
  for (let e = 1; e < EXPERTS; e++)
    if (expertWants(e, idleMinutes, leadMinutes, idle) !== programActs) return false;
  return true;
}

function expertWants(
  expert: number,
  idleMinutes: number,
  leadMinutes: number,
  idle: IdleTimes,
): boolean {
  if (expert === HISTOGRAM) return wants(idle.window, idleMinutes, leadMinutes);
  return idleMinutes <= (KEEP_ALIVES[expert - 1] ?? 0);
}
