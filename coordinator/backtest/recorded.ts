/** Recorded requests as one series per category, in minutes, all from the first to the last. */
import { PrestageError } from "../../shared/errors.ts";
import type { Random } from "../../shared/runtime/random.ts";
import type { Series } from "./play.ts";

export type Row = { timestampMs: number; workload: string; category: string; count: number };

/** What one category's environment costs. */
export type Costs = Omit<Series, "key" | "counts">;

export type Recorded = {
  series: Series[];
  startMs: number;
  minutes: number;
  requests: number;
  /** Categories in the recording; more than `series` when some were left out. */
  categories: number;
};

const MINUTE_MS = 60_000;
/** A year: a longer recording has a wrong time in it. */
const MINUTES_MAX = 366 * 1440;
/** Categories × minutes in memory. */
const CELLS_MAX = 100_000_000;

export async function record(
  rows: AsyncIterable<Row>,
  options: { sample: number; random: Random; costs(workload: string, category: string): Costs },
): Promise<Recorded> {
  const counts = new Map<string, { of: Row; minutes: Map<number, number> }>();
  let first = Number.POSITIVE_INFINITY;
  let last = Number.NEGATIVE_INFINITY;
  for await (const row of rows) {
    const key = `${row.workload}/${row.category}`;
    let one = counts.get(key);
    if (!one) {
      one = { of: row, minutes: new Map() };
      counts.set(key, one);
    }
    const minute = Math.floor(row.timestampMs / MINUTE_MS);
    one.minutes.set(minute, (one.minutes.get(minute) ?? 0) + row.count);
    first = Math.min(first, minute);
    last = Math.max(last, minute);
  }
  if (counts.size === 0) throw new PrestageError("CONFIG_INVALID", "the file has no requests");
  const minutes = last - first + 1;
  if (minutes > MINUTES_MAX)
    throw new PrestageError(
      "CONFIG_INVALID",
      `the file spans ${Math.round(minutes / 1440)} days: look for a wrong time in it`,
    );
  const taken = pick([...counts.keys()].sort(), options.sample, options.random);
  if (taken.length * minutes > CELLS_MAX)
    throw new PrestageError(
      "USAGE",
      `${taken.length} categories over ${minutes} minutes are too much at once: --sample ` +
        `${Math.floor(CELLS_MAX / minutes)} takes that many by chance`,
    );
  let requests = 0;
  const series = taken.flatMap((key) => {
    const one = counts.get(key);
    if (!one) return [];
    const dense = new Float64Array(minutes);
    for (const [minute, count] of one.minutes) {
      dense[minute - first] = count;
      requests += count;
    }
    return [{ key, counts: dense, ...options.costs(one.of.workload, one.of.category) }];
  });
  return { series, startMs: first * MINUTE_MS, minutes, requests, categories: counts.size };
}

function pick(keys: readonly string[], size: number, random: Random): string[] {
  if (keys.length <= size) return [...keys];
  return keys
    .map((key) => ({ key, at: random.next() }))
    .sort((a, b) => a.at - b.at)
    .slice(0, size)
    .map(({ key }) => key)
    .sort();
}
