/** What the choices cost, against the best fixed arm in hindsight: of each category, and of all. */
export type Regret = {
  /** One epoch: what each arm would have cost, and the arm that was played. */
  add(key: string, costs: readonly number[], played: number): void;
  retain(keys: ReadonlySet<string>): void;
  summary(): RegretSummary;
};

export type RegretSummary = {
  epochs: number;
  played: number;
  /** Total of each arm, had it been played everywhere. */
  arms: number[];
  /** The best arm of each category, known only afterwards. */
  bestPerCategory: number;
  /** `played` less that: what learning has paid. */
  regret: number;
};

export function regretOf(arms: number): Regret {
  const totals = new Map<string, number[]>();
  const all = new Array<number>(arms).fill(0);
  let played = 0;
  let epochs = 0;
  return {
    add(key, costs, arm) {
      const own = totals.get(key) ?? new Array<number>(arms).fill(0);
      totals.set(key, own);
      for (let a = 0; a < arms; a++) {
        own[a] = (own[a] ?? 0) + (costs[a] ?? 0);
        all[a] = (all[a] ?? 0) + (costs[a] ?? 0);
      }
      played += costs[arm] ?? 0;
      epochs++;
    },
    retain(keys) {
      for (const key of totals.keys()) if (!keys.has(key)) totals.delete(key);
    },
    summary() {
      const bestPerCategory = [...totals.values()].reduce((sum, own) => sum + Math.min(...own), 0);
      return { epochs, played, arms: [...all], bestPerCategory, regret: played - bestPerCategory };
    },
  };
}
