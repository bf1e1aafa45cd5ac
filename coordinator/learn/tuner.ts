/**
 * Sets each category's arm epoch by epoch: all arms are run on paper on what really arrived, the
 * bandit learns what each would have gained over the starting arm, and picks the next one.
 */
import type { Random } from "../../shared/runtime/random.ts";
import { ARMS, type Arm, type Bandit, START_ARM } from "./bandit.ts";
import { type Regret, regretOf } from "./regret.ts";

/** Runs every arm on paper; the planner's own decisions, which the conductor hands in. */
export type Paper<Run, Minute> = {
  /** From the state that `arm` left `run` in, or from nothing; costs at 0. */
  begin(run: Run | null, arm: number): Run;
  minute(run: Run, minute: Minute): Run;
  /** Cost units since `begin`, per arm. */
  costs(run: Run): readonly number[];
};

export type TunerOptions = {
  /** Raised: steadier rewards, slower learning. */
  epochMinutes: number;
  categoriesMax: number;
};
export const DEFAULT_TUNER: TunerOptions = { epochMinutes: 10, categoriesMax: 10_000 };

type Category<Run> = { run: Run; minutes: number; arm: number; context: readonly number[] };

export class Tuner<Run, Minute> {
  readonly #deps: { bandit: Bandit; paper: Paper<Run, Minute>; random: Random };
  readonly #options: TunerOptions;
  readonly #categories = new Map<string, Category<Run>>();
  /** What the choices have cost against always starting arm and best arms, in misses. */
  readonly regret: Regret = regretOf(ARMS.length);
  /** Categories not tuned because there were too many. */
  dropped = 0;

  constructor(
    deps: { bandit: Bandit; paper: Paper<Run, Minute>; random: Random },
    options: TunerOptions = DEFAULT_TUNER,
  ) {
    this.#deps = deps;
    this.#options = options;
  }

  /** The arm now: the starting one for what is not known. */
  arm(key: string): Arm {
    return ARMS[this.current(key).arm] ?? { threshold: 1, lead: 1 };
  }

  /** Arm index and the context it was chosen in, for the ledger. */
  current(key: string): { arm: number; context: readonly number[] } {
    const { arm, context } = this.#categories.get(key) ?? { arm: START_ARM, context: [] };
    return { arm, context };
  }

  /**
   * A minute of a category is over. `missCost` makes rewards comparable between categories;
   * `context` is asked only where an epoch begins.
   */
  minute(key: string, minute: Minute, missCost: number, context: () => number[]): void {
    const { bandit, paper, random } = this.#deps;
    let category = this.#categories.get(key);
    if (!category) {
      if (this.#categories.size >= this.#options.categoriesMax) {
        this.dropped++;
        return;
      }
      const first = context();
      const arm = bandit.choose(key, first, random);
      category = { run: paper.begin(null, arm), minutes: 0, arm, context: first };
      this.#categories.set(key, category);
    }
    category.run = paper.minute(category.run, minute);
    category.minutes++;
    if (category.minutes < this.#options.epochMinutes) return;
    const costs = paper.costs(category.run).map((cost) => cost / Math.max(missCost, 1e-9));
    const start = costs[START_ARM] ?? 0;
    bandit.learn(
      key,
      category.context,
      costs.map((cost, arm) => ({ arm, reward: start - cost })),
    );
    this.regret.add(key, costs, category.arm);
    category.context = context();
    const next = bandit.choose(key, category.context, random);
    category.run = paper.begin(category.run, category.arm);
    category.arm = next;
    category.minutes = 0;
  }

  /** Forgets categories that are gone. */
  retain(keys: ReadonlySet<string>): void {
    for (const key of this.#categories.keys()) if (!keys.has(key)) this.#categories.delete(key);
    this.#deps.bandit.retain(keys);
    this.regret.retain(keys);
  }
}
