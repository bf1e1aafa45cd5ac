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
import { carried, type Economics, type Support } from "./decide.ts";
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
/** Who is that much better alone outweighs all others together, the program's start included. */
const OUTWEIGHED = Math.log(2 * EXPERTS) / LEARNING_RATE;
/** How much the average over all categories counts. Raised: own experience tells later. */
const PRIOR_MINUTES = 240;
/** A cost counts half after a day of minutes in which something was at stake. */
const KEEP_PER_MINUTE = 0.5 ** (1 / 1440);
/** The average over all categories is of about that many minutes. */
const POOL_KEEP = 1 - 1 / 1000;

/** Which simple policies want it there in a minute: a bit each, in the order of `EXPERT_NAMES`. */
export type Votes = number;
const ALL_VOTES: Votes = 2 ** EXPERTS - 2;

/** `idleMinutes` since the last arrival, at least 1. */
export function votesOf(idleMinutes: number, leadMinutes: number, idle: IdleTimes): Votes {
  let votes = wants(idle.window, idleMinutes, leadMinutes) ? 1 << HISTOGRAM : 0;
  for (let i = KEEP_ALIVES.length - 1; i >= 0 && idleMinutes <= (KEEP_ALIVES[i] ?? 0); i--)
    votes |= 2 << i;
  return votes;
}

/** Whether all simple policies want what the program wants. */
export function unanimous(programActs: boolean, votes: Votes): boolean {
  return votes === (programActs ? ALL_VOTES : 0);
}

/** One minute of one category that is over. */
export type MixedMinute = {
  arrived: boolean;
  /** As it began. */
  votes: Votes;
  economics: Economics;
  /** The program's decisions at the start of the minute, for what is ready and for what is absent. */
  program: { acts(ready: boolean): boolean };
};

/** One category in one mixture: who is mixed for it, and with what experience. */
export type MixedCategory = {
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
  #categories = new Map<string, MixedCategory>();
  readonly #pool = new Float64Array(EXPERTS);
  #poolMinutes = 0;
  /** What the average over all categories counts, by expert. */
  readonly #prior = new Float64Array(EXPERTS);
  readonly #pending = new Float64Array(EXPERTS);
  #pendingMinutes = 0;
  readonly #weights = new Float64Array(EXPERTS);

  /** Known from its first arrival on, which made its environment; until `retain` or `restore`. */
  category(key: string): MixedCategory {
    let category = this.#categories.get(key);
    if (!category) {
      category = newcomer();
      this.#categories.set(key, category);
    }
    return category;
  }

  /** To be read only: one that was never asked for as `category` is not kept. */
  known(key: string): Readonly<MixedCategory> {
    return this.#categories.get(key) ?? newcomer();
  }

  /** Who has a say now. */
  support(category: Readonly<MixedCategory>, votes: Votes): Support {
    const weights = this.weights(category);
    let wanted = 0;
    for (let e = 1; e < EXPERTS; e++) if ((votes >> e) & 1) wanted += weights[e] ?? 0;
    return { program: weights[PROGRAM] ?? 0, wanted };
  }

  /** `carried` by those who have a say now. */
  carries(category: MixedCategory, programActs: boolean, votes: Votes): boolean {
    const { costs } = category;
    const prior = this.#prior;
    const yes = votes | (programActs ? 1 << PROGRAM : 0);
    let leastYes = Number.POSITIVE_INFINITY;
    let leastNo = Number.POSITIVE_INFINITY;
    for (let e = 0; e < EXPERTS; e++) {
      const cost = (costs[e] ?? 0) + (prior[e] ?? 0);
      if ((yes >> e) & 1) leastYes = Math.min(leastYes, cost);
      else leastNo = Math.min(leastNo, cost);
    }
    if (Math.abs(leastYes - leastNo) > OUTWEIGHED) return leastYes < leastNo;
    return carried(programActs, this.support(category, votes));
  }

  /** By expert, in the order of `EXPERT_NAMES`; sums to 1. The array is reused by the next call. */
  weights({ costs }: Readonly<MixedCategory>): Float64Array {
    const weights = this.#weights;
    const prior = this.#prior;
    let least = Number.POSITIVE_INFINITY;
    for (let e = 0; e < EXPERTS; e++) {
      const cost = (costs[e] ?? 0) + (prior[e] ?? 0);
      weights[e] = cost;
      if (cost < least) least = cost;
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
  settle(category: MixedCategory, minute: MixedMinute): void {
    const { economics, arrived, votes } = minute;
    if (economics.missCost <= 0) return;
    this.#pendingMinutes++;
    if (nothingAtStake(category, minute)) return;
    const { costs, untilReady } = category;
    const pending = this.#pending;
    const lead = Math.max(1, Math.ceil(economics.leadMinutes));
    const holdShare = economics.holdCost / economics.missCost;
    const startShare = economics.startCost / economics.missCost;
    let all: number | null = null;
    for (let e = 0; e < EXPERTS; e++) {
      let until = untilReady[e] ?? -1;
      let share = 0;
      const want =
        e === PROGRAM ? until > 0 || minute.program.acts(until === 0) : ((votes >> e) & 1) === 1;
      if (until === 0 && !want) until = -1;
      else if (until < 0 && want) {
        until = lead;
        share += startShare;
      }
      if (arrived) {
        if (until !== 0) share++;
      } else if (until >= 0) share += holdShare;
      if (until > 0) until--;
      if (arrived) until = until < 0 ? lead - 1 : until;
      untilReady[e] = until;
      all = e === 0 || until === all ? until : null;
      costs[e] = (costs[e] ?? 0) * KEEP_PER_MINUTE + share;
      pending[e] = (pending[e] ?? 0) + share;
    }
    category.allUntilReady = all;
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
      this.category(key).costs.set(costs.slice(0, EXPERTS));
  }

  #setPrior(): void {
    const weight = this.#poolMinutes > 0 ? PRIOR_MINUTES / this.#poolMinutes : 0;
    for (let e = 0; e < EXPERTS; e++) this.#prior[e] = weight * (this.#pool[e] ?? 0);
  }
}

function newcomer(): MixedCategory {
  const untilReady = new Int16Array(EXPERTS);
  return { costs: new Float64Array(EXPERTS), untilReady, allUntilReady: 0 };
}

/** All have it ready, keep it and it is used; or none has it, none loads it, and nothing comes. */
function nothingAtStake(category: MixedCategory, minute: MixedMinute): boolean {
  const { arrived, votes, program } = minute;
  if (category.allUntilReady !== (arrived ? 0 : -1)) return false;
  return unanimous(arrived, votes) && program.acts(arrived) === arrived;
}
