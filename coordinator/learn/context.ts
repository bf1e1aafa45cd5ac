/** What a category looks like to the bandit: five numbers of about −1..1, the first always 1. */
export type CategoryFacts = {
  /** Requests per minute of the last two hours or less, oldest first. */
  counts: ArrayLike<number>;
  /** Cost units of one miss, and of a minute of the environment's memory at today's price. */
  missCost: number;
  holdCost: number;
};

const SPREAD_MAX = 3;
const RATIO_MAX = 1e6;

/** 1, log rate of busy minutes, spread of the gaps (CV), how regular they are, miss ÷ memory. */
export function contextOf({ counts, missCost, holdCost }: CategoryFacts): number[] {
  const gaps = new Map<number, number>();
  let busy = 0;
  let last = -1;
  let sum = 0;
  let squares = 0;
  let total = 0;
  for (let minute = 0; minute < counts.length; minute++) {
    if ((counts[minute] ?? 0) === 0) continue;
    busy++;
    if (last >= 0) {
      const gap = minute - last;
      gaps.set(gap, (gaps.get(gap) ?? 0) + 1);
      sum += gap;
      squares += gap * gap;
      total++;
    }
    last = minute;
  }
  const mean = total > 0 ? sum / total : Math.max(1, counts.length);
  const variance = total > 0 ? Math.max(0, squares / total - mean * mean) : 0;
  const regular = total > 0 ? Math.max(...gaps.values()) / total : 0;
  const ratio = holdCost > 0 ? missCost / holdCost : RATIO_MAX;
  return [
    1,
    Math.log((busy + 0.5) / Math.max(1, counts.length)) / 3 + 0.7,
    Math.min(SPREAD_MAX, Math.sqrt(variance) / mean) - 0.7,
    regular - 0.4,
    Math.log(Math.min(RATIO_MAX, Math.max(1 / RATIO_MAX, ratio))) / 3 - 1,
  ];
}
