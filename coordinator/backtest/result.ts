/** What a backtest found, as it is printed with `--json`. */
import { area, dominated, type Frontier, hull, type Point } from "./frontier.ts";
import type { Played, Series, Tally } from "./play.ts";
import type { Recorded } from "./recorded.ts";

export const DEFINITIONS = {
  cold: "a minute with requests in which nothing was ready as it began, first requests included",
  coldRequests:
    "of a cold minute the first request and those of the time the start takes, spread evenly; " +
    "all of them while a load is under way",
  idle: "minutes loaded or loading in which no request came (loaded time without use, waste)",
  loads: "how often something absent was loaded: ahead, or by the request that was cold",
  bytesMoved: "loads × artifact size: nothing is assumed to stay on the disk",
  wait: "what requests wait for a start, estimated from the start time",
  relative: "shares of what fixed:10 has on the same minutes",
  quantiles:
    "cold share of arrival-minutes by category: half (p50), three quarters (p75) are under",
  area:
    "mean cold minutes over the range of idle time from fixed:5 to fixed:60, along the lower hull " +
    "of a family's settings and of keeping nothing; relative to fixed:10",
} as const;

export type PolicyResult = {
  name: string;
  coldShareMinutes: number;
  coldShareRequests: number;
  coldShareP50: number;
  coldShareP75: number;
  idleMinutes: number;
  idleGbHours: number;
  loadedGbHours: number;
  loads: number;
  wastedLoads: number;
  bytesMoved: number;
  waitMsMean: number;
  waitMsP99: number;
  /** Usual time of a request and its wait; null where durations are not known. */
  latencyMsMean: number | null;
  relative: { cold: number; idle: number; idleMemory: number; loads: number; memory: number };
  gbByMinute: number[];
  coldByMinute: number[];
};

export type BacktestResult = {
  file: string;
  format: string | null;
  badLines: number;
  startMs: number;
  minutes: number;
  warmUpMinutes: number;
  categories: number;
  categoriesInFile: number;
  requests: number;
  arrivalMinutes: number;
  /** Share of arrival-minutes that are cold for whoever cannot know of a category before. */
  compulsoryColdShare: number;
  policies: PolicyResult[];
  frontiers: Frontier[];
  area: {
    from: number;
    to: number;
    byFamily: Record<string, number>;
    ratioToBestOther: number;
    /** The same of what lies over the compulsory cold minutes. */
    ratioBeyondCompulsory: number;
  };
  /** Settings of Prestage that a standard policy beats in cold, idle and loads at once. */
  dominated: { point: Point; by: Point }[];
  speed: { seconds: number; timesRealTime: number };
  settings: Record<string, string | number | null>;
  definitions: typeof DEFINITIONS;
};

/** At most that many values of a series in the result. */
const CHART_POINTS_MAX = 240;

/** Cost of a policy on all categories. */
export function policyResult(
  played: Played,
  reference: Tally,
  series: readonly Series[],
): PolicyResult {
  const { total, categories } = played;
  const shares = categories
    .filter(({ arrivalMinutes }) => arrivalMinutes > 0)
    .map(({ coldMinutes, arrivalMinutes }) => coldMinutes / arrivalMinutes)
    .sort((a, b) => a - b);
  const waitMsMean = (total.waitSeconds / Math.max(1, total.requests)) * 1000;
  return {
    name: played.name,
    coldShareMinutes: ratio(total.coldMinutes, total.arrivalMinutes),
    coldShareRequests: ratio(total.coldRequests, total.requests),
    coldShareP50: quantile(shares, 0.5),
    coldShareP75: quantile(shares, 0.75),
    idleMinutes: total.idleMinutes,
    idleGbHours: total.idleGbMinutes / 60,
    loadedGbHours: total.loadedGbMinutes / 60,
    loads: total.loads,
    wastedLoads: total.wastedLoads,
    bytesMoved: total.bytesMoved,
    waitMsMean,
    waitMsP99: waitMsAt(0.99, categories, series),
    latencyMsMean: latencyMs(categories, series, waitMsMean),
    relative: relativeTo(reference, total),
    gbByMinute: thinned(played.gbByMinute, mean),
    coldByMinute: thinned(played.coldByMinute, mean),
  };
}

export function pointOf(played: Played, reference: Tally): Point {
  const { cold, idle, loads } = relativeTo(reference, played.total);
  return { name: played.name, cold, waste: idle, loads };
}

/** Of families whose names begin so, against all others but those that know the future. */
export function compared(
  frontiers: readonly Frontier[],
  own: string,
  range: { from: number; to: number },
  /** Cold minutes nobody can avoid who cannot know of a category before. */
  unavoidable: number,
): Pick<BacktestResult, "area" | "dominated"> {
  const byFamily: Record<string, number> = {};
  for (const { family, points } of frontiers) byFamily[family] = area(points, range.from, range.to);
  const others = frontiers.filter(({ family }) => family !== own && family !== "oracle");
  const best = Math.min(...others.map(({ family }) => byFamily[family] ?? Infinity));
  const mine = frontiers.find(({ family }) => family === own)?.points ?? [];
  const mean = byFamily[own] ?? 0;
  return {
    area: {
      ...range,
      byFamily,
      ratioToBestOther: ratio(mean, best),
      ratioBeyondCompulsory: ratio(mean - unavoidable, best - unavoidable),
    },
    dominated: dominated(
      hull(mine),
      others.flatMap(({ points }) => points),
    ),
  };
}

export function compulsory({ series }: Recorded, warmUpMinutes: number): number {
  let first = 0;
  let arrivals = 0;
  for (const { counts } of series) {
    let seen = false;
    for (let minute = 0; minute < counts.length; minute++) {
      if ((counts[minute] ?? 0) === 0) continue;
      if (minute >= warmUpMinutes) {
        arrivals++;
        if (!seen) first++;
      }
      seen = true;
    }
  }
  return ratio(first, arrivals);
}

function relativeTo(reference: Tally, total: Tally): PolicyResult["relative"] {
  return {
    cold: ratio(total.coldMinutes, reference.coldMinutes),
    idle: ratio(total.idleMinutes, reference.idleMinutes),
    idleMemory: ratio(total.idleGbMinutes, reference.idleGbMinutes),
    loads: ratio(total.loads, reference.loads),
    memory: ratio(total.loadedGbMinutes, reference.loadedGbMinutes),
  };
}

/** The wait that this share of all requests does not pass: those that wait at all come last. */
function waitMsAt(share: number, categories: readonly Tally[], series: readonly Series[]): number {
  const requests = categories.reduce((sum, tally) => sum + tally.requests, 0);
  let left = (1 - share) * requests;
  const waiting = categories
    .flatMap(({ coldRequests }, i) =>
      coldRequests > 0 ? [{ seconds: series[i]?.startSeconds ?? 0, coldRequests }] : [],
    )
    .sort((a, b) => b.seconds - a.seconds);
  for (const { seconds, coldRequests } of waiting) {
    left -= coldRequests;
    if (left < 0) return seconds * 1000;
  }
  return 0;
}

function latencyMs(
  categories: readonly Tally[],
  series: readonly Series[],
  waitMs: number,
): number | null {
  let seconds = 0;
  let requests = 0;
  for (const [i, tally] of categories.entries()) {
    const run = series[i]?.runSeconds ?? 0;
    if (run <= 0) continue;
    seconds += run * tally.requests;
    requests += tally.requests;
  }
  return requests > 0 ? (seconds / requests) * 1000 + waitMs : null;
}

function ratio(part: number, whole: number): number {
  return whole > 0 ? part / whole : 0;
}

/** Of sorted values; 0 of none. */
function quantile(sorted: readonly number[], share: number): number {
  const at = Math.min(sorted.length - 1, Math.max(0, Math.ceil(share * sorted.length) - 1));
  return sorted[at] ?? 0;
}

function mean(values: ArrayLike<number>, from: number, to: number): number {
  let sum = 0;
  for (let i = from; i < to; i++) sum += values[i] ?? 0;
  return sum / Math.max(1, to - from);
}

function thinned(
  values: ArrayLike<number>,
  of: (values: ArrayLike<number>, from: number, to: number) => number,
): number[] {
  const size = Math.min(values.length, CHART_POINTS_MAX);
  const at = (i: number) => Math.floor((i * values.length) / size);
  return Array.from({ length: size }, (_, i) => {
    return Math.round(of(values, at(i), at(i + 1)) * 1000) / 1000;
  });
}
