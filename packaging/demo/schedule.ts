/**
 * The requests of both runs, to the millisecond: counts of a minute are spread uniformly at random
 * over it, each request gets the host at which it enters, and what is over the rate this machine
 * should be asked for is left out. One seed gives one schedule.
 */
import type { Random } from "../../shared/runtime/random.ts";
import { MINUTE_MS, type Row, type Series, type Window } from "./selection.ts";

export type PlannedRequest = {
  /** Demand time. */
  atMs: number;
  workload: string;
  category: string;
  /** Index of the host at whose router it enters. */
  entry: number;
  /** False in the run-in. */
  measured: boolean;
};

export type Schedule = {
  requests: PlannedRequest[];
  /** Left out to stay under the rate. */
  thinned: number;
};

/** Share of a series' requests that enter at its home host when the trace does not say where. */
const HOME_SHARE = 0.8;

export type ScheduleOptions = {
  hosts: number;
  speed: number;
  /** Real requests per second that are not exceeded over a demand minute. */
  ratePerSecond: number;
};

export function schedule(
  series: readonly Series[],
  window: Window,
  options: ScheduleOptions,
  random: Random,
): Schedule {
  const minuteCap = Math.max(1, Math.floor((options.ratePerSecond * 60) / options.speed));
  const requests: PlannedRequest[] = [];
  let thinned = 0;
  const minutes = byMinute(series, window, random);
  for (const [minuteMs, arrivals] of minutes) {
    const level = waterLevel(
      arrivals.map((a) => a.times.length),
      minuteCap,
    );
    for (const { of, times } of arrivals) {
      const key = `${of.workload}/${of.category}/${minuteMs}`;
      const kept = sample(times, level, random.fork(`thin/${key}`));
      thinned += times.length - kept.length;
      const entries = random.fork(`entry/${key}`);
      for (const { atMs, origin } of kept)
        requests.push({
          atMs,
          workload: of.workload,
          category: of.category,
          entry: entryHost(of, origin, options.hosts, random, entries),
          measured: atMs >= window.playMs,
        });
    }
  }
  requests.sort((a, b) => a.atMs - b.atMs || compare(a.workload, b.workload));
  return { requests, thinned };
}

type Arrival = { atMs: number; origin: string };
type Arrivals = { of: Series; times: Arrival[] };

function byMinute(
  series: readonly Series[],
  window: Window,
  random: Random,
): Map<number, Arrivals[]> {
  const minutes = new Map<number, Arrivals[]>();
  for (const of of series) {
    const times = new Map<number, Arrival[]>();
    for (const row of of.rows) {
      if (row.timestampMs < window.runInMs) continue;
      const minuteMs = Math.floor(row.timestampMs / MINUTE_MS) * MINUTE_MS;
      const arrivals = times.get(minuteMs) ?? [];
      arrivals.push(...arrivalsOf(row, window.binned, random));
      times.set(minuteMs, arrivals);
    }
    for (const [minuteMs, arrivals] of times) {
      const all = minutes.get(minuteMs) ?? [];
      all.push({ of, times: arrivals });
      minutes.set(minuteMs, all);
    }
  }
  return minutes;
}

/** Several requests of one recorded moment come within its second. */
const MOMENT_MS = 1_000;

function arrivalsOf(row: Row, binned: boolean, random: Random): Arrival[] {
  const { timestampMs, workload, category, origin, count } = row;
  if (!binned && count === 1) return [{ atMs: timestampMs, origin }];
  const chance = random.fork(`at/${workload}/${category}/${origin}/${timestampMs}`);
  const spreadMs = binned ? MINUTE_MS : MOMENT_MS;
  return Array.from({ length: count }, () => ({
    atMs: Math.floor(timestampMs + chance.next() * spreadMs),
    origin,
  }));
}

/**
 * The most each series may keep so that all together stay within `cap`: the busy ones give, the
 * sparse ones stay whole. Every series may keep at least one.
 */
export function waterLevel(counts: readonly number[], cap: number): number {
  const sorted = counts.toSorted((a, b) => a - b);
  let left = cap;
  for (const [i, count] of sorted.entries()) {
    const share = left / (sorted.length - i);
    if (count > share) return Math.max(1, Math.floor(share));
    left -= count;
  }
  return Number.POSITIVE_INFINITY;
}

/** `keep` of the items, all equally likely, in their order. */
function sample<T>(items: readonly T[], keep: number, random: Random): readonly T[] {
  if (items.length <= keep) return items;
  let needed = keep;
  return items.filter((_, i) => {
    const take = random.next() < needed / (items.length - i);
    if (take) needed--;
    return take;
  });
}

function entryHost(
  of: Series,
  origin: string,
  hosts: number,
  random: Random,
  entries: Random,
): number {
  if (origin !== "") return random.fork(`origin/${origin}`).int(hosts);
  const home = homeHost(of, hosts, random);
  return entries.next() < HOME_SHARE ? home : entries.int(hosts);
}

/** The host at which most requests of a series enter. */
export function homeHost(
  of: { workload: string; category: string },
  hosts: number,
  random: Random,
): number {
  return random.fork(`home/${of.workload}/${of.category}`).int(hosts);
}

const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);
