/**
 * Which threshold and lead suit a category: a contextual bandit over a few bounded arms. What an
 * arm gains over the starting arm is linear in the category's context (shared by all categories,
 * so that a new one starts with what others taught), corrected by what the category itself has
 * shown, the more it has shown the more (partial pooling). Arms are drawn from the posterior
 * (Thompson sampling) scaled by `exploration`, and played only when surely enough better than the
 * start (`caution`), so that well calibrated forecasts are left as they are.
 *
 * Rewards come as advantages over the starting arm on the same minutes: demand does not depend on
 * the arm, so each arm can be run on paper on what really arrived (full feedback). With it no
 * exploration is needed. Refused: learning from the played arm alone; it has to try what is worse,
 * and bursts of demand drown the difference (test/bench/bandit.ts plays both).
 *
 * Sources: Agrawal & Goyal, Thompson Sampling for Contextual Bandits with Linear Payoffs, ICML
 * 2013; caution: Wu et al., Conservative Bandits, ICML 2016; side observations: Mannor & Shamir, From Bandits to Experts, NIPS 2011.
 */
import type { Random } from "../../shared/runtime/random.ts";
import { solvePositive } from "./solve.ts";

export type Arm = { threshold: number; lead: number };

/** Arm `START_ARM` changes nothing. */
export const ARMS: readonly Arm[] = [1, 2].flatMap((lead) =>
  [0.5, 0.7, 1, 1.4, 2].map((threshold) => ({ threshold, lead })),
);
export const START_ARM = 2;

export type BanditOptions = {
  /** Weight of "arms are alike" in the shared model. Raised: slower to move. */
  ridge: number;
  /** Epochs of its own that weigh as much as the shared model. Raised: categories differ less. */
  pooling: number;
  /** Kept of a category's memory per epoch. Raised: steadier, later to follow a change. */
  memory: number;
  /** The same of the shared model, per epoch of one category. */
  sharedMemory: number;
  /** Scale of the posterior draw; 0: the best mean, right while every arm is seen on paper. */
  exploration: number;
  /** Posterior deviations by which an arm must gain before it is played. Raised: safer, slower. */
  caution: number;
};
export const DEFAULT_BANDIT: BanditOptions = {
  ridge: 50,
  pooling: 20,
  memory: 0.99,
  sharedMemory: 0.9999,
  exploration: 0,
  caution: 1,
};

/** Standard deviation of one epoch's advantage, in misses. */
const NOISE = 0.2;
/** An advantage is cut to this, so that no single epoch turns a category. */
const REWARD_MAX = 2;
/** Numbers in a context; the first is 1. See context.ts. */
export const CONTEXT_LENGTH = 5;
const SHAPES = 3;
const SIZE = SHAPES * CONTEXT_LENGTH;

type Tally = { weights: number[]; sums: number[] };

/** What `Bandit` is saved as: plain JSON. */
export type BanditState = {
  version: 1;
  gram: number[];
  moments: number[];
  categories: Record<string, Tally>;
};

export type Advantage = { arm: number; reward: number };

export class Bandit {
  readonly #options: BanditOptions;
  readonly #gram: Float64Array;
  readonly #moments: Float64Array;
  readonly #categories: Map<string, Tally>;
  #weights: Float64Array | null = null;

  constructor(options: BanditOptions = DEFAULT_BANDIT, state?: BanditState) {
    this.#options = options;
    const fits = state?.gram.length === SIZE * SIZE && state.moments.length === SIZE;
    this.#gram = Float64Array.from(fits ? state.gram : identity(options.ridge));
    this.#moments = Float64Array.from(fits ? state.moments : new Array<number>(SIZE).fill(0));
    this.#categories = new Map(fits ? Object.entries(structuredClone(state.categories)) : []);
  }

  /** Index into `ARMS`: the starting arm unless another is expected to gain. */
  choose(key: string, context: readonly number[], random: Random): number {
    let best = START_ARM;
    let bestValue = 0;
    for (let arm = 0; arm < ARMS.length; arm++) {
      if (arm === START_ARM) continue;
      const { mean, deviation } = this.#posterior(key, context, arm);
      const { exploration, caution } = this.#options;
      const draw = exploration > 0 ? exploration * random.normal() : 0;
      const value = mean + (draw - caution) * deviation;
      if (value > bestValue) {
        best = arm;
        bestValue = value;
      }
    }
    return best;
  }

  /** What an arm is expected to gain over the starting arm in an epoch, in misses. */
  expected(key: string, context: readonly number[], arm: number): number {
    return arm === START_ARM ? 0 : this.#posterior(key, context, arm).mean;
  }

  /** One epoch of one category: what each known arm gained over the starting arm, in misses. */
  learn(key: string, context: readonly number[], advantages: readonly Advantage[]): void {
    const { memory, sharedMemory, ridge } = this.#options;
    const tally = this.#categories.get(key) ?? emptyTally();
    this.#categories.set(key, tally);
    for (let arm = 0; arm < ARMS.length; arm++) {
      tally.weights[arm] = (tally.weights[arm] ?? 0) * memory;
      tally.sums[arm] = (tally.sums[arm] ?? 0) * memory;
    }
    for (let i = 0; i < SIZE; i++) {
      this.#moments[i] = (this.#moments[i] ?? 0) * sharedMemory;
      for (let j = 0; j < SIZE; j++) {
        const at = i * SIZE + j;
        const floor = i === j ? (1 - sharedMemory) * ridge : 0;
        this.#gram[at] = (this.#gram[at] ?? 0) * sharedMemory + floor;
      }
    }
    for (const { arm, reward } of advantages) {
      if (arm === START_ARM || !Number.isFinite(reward)) continue;
      const bounded = Math.max(-REWARD_MAX, Math.min(REWARD_MAX, reward));
      tally.weights[arm] = (tally.weights[arm] ?? 0) + 1;
      tally.sums[arm] = (tally.sums[arm] ?? 0) + bounded;
      this.#learnShared(features(context, arm), bounded);
    }
    this.#weights = null;
  }

  /** Drops categories that are gone. */
  retain(keys: ReadonlySet<string>): void {
    for (const key of this.#categories.keys()) if (!keys.has(key)) this.#categories.delete(key);
  }

  state(): BanditState {
    return {
      version: 1,
      gram: [...this.#gram],
      moments: [...this.#moments],
      categories: structuredClone(Object.fromEntries(this.#categories)),
    };
  }

  #posterior(key: string, context: readonly number[], arm: number) {
    this.#weights ??= solvePositive(this.#gram, this.#moments);
    const x = features(context, arm);
    let shared = 0;
    for (let i = 0; i < SIZE; i++) shared += (x[i] ?? 0) * (this.#weights[i] ?? 0);
    const tally = this.#categories.get(key);
    const seen = tally?.weights[arm] ?? 0;
    const { pooling } = this.#options;
    return {
      mean: ((tally?.sums[arm] ?? 0) + pooling * shared) / (seen + pooling),
      deviation: NOISE / Math.sqrt(seen + pooling),
    };
  }

  #learnShared(x: Float64Array, reward: number): void {
    for (let i = 0; i < SIZE; i++) {
      const xi = x[i] ?? 0;
      this.#moments[i] = (this.#moments[i] ?? 0) + xi * reward;
      for (let j = 0; j < SIZE; j++) {
        const at = i * SIZE + j;
        this.#gram[at] = (this.#gram[at] ?? 0) + xi * (x[j] ?? 0);
      }
    }
  }
}

/** Level, curvature and lead of the arm, each times the context; zero for the starting arm. */
function features(context: readonly number[], arm: number): Float64Array {
  const { threshold, lead } = ARMS[arm] ?? { threshold: 1, lead: 1 };
  const level = Math.log2(threshold);
  const shapes = [level, level * level, lead - 1];
  const x = new Float64Array(SIZE);
  for (let s = 0; s < SHAPES; s++)
    for (let c = 0; c < CONTEXT_LENGTH; c++)
      x[s * CONTEXT_LENGTH + c] = (shapes[s] ?? 0) * (context[c] ?? 0);
  return x;
}

function emptyTally(): Tally {
  const zeros = new Array<number>(ARMS.length).fill(0);
  return { weights: zeros, sums: [...zeros] };
}

function identity(scale: number): Float64Array {
  const matrix = new Float64Array(SIZE * SIZE);
  for (let i = 0; i < SIZE; i++) matrix[i * SIZE + i] = scale;
  return matrix;
}
