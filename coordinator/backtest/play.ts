/**
 * Plays recorded minutes to policies, side by side, on a simulated clock. A policy decides at the
 * start of a minute from what it was told of the minutes before; it is never shown the minute.
 *
 * What is counted, per category and minute:
 * - *cold*: the minute has requests and nothing was ready as it began. The first request of a
 *   category is always cold for a policy that cannot know of it (compulsory);
 * - *idle* (loaded time without use, waste): something is loaded or loading and no request comes;
 * - *load*: something absent becomes loaded, ahead by the policy or by the request that was cold.
 */

export type Series = {
  key: string;
  /** Requests per minute, all series alike long. */
  counts: ArrayLike<number>;
  memoryGb: number;
  /** From load to ready. */
  startSeconds: number;
  artifactBytes: number;
  /** Usual time of one request once it is served; 0 = unknown. */
  runSeconds: number;
};

export type Policy = {
  readonly name: string;
  /** Shall it be there in this minute? If `ready`: held, else loaded from now on. */
  wants(series: number, minute: number, ready: boolean): boolean;
  /** The minute is over. Called for every series, in order. */
  observe(series: number, minute: number, requests: number): void;
  beginMinute?(minute: number): void;
  endMinute?(minute: number): void;
};

export type Tally = {
  arrivalMinutes: number;
  coldMinutes: number;
  requests: number;
  coldRequests: number;
  idleMinutes: number;
  idleGbMinutes: number;
  loadedGbMinutes: number;
  loads: number;
  /** Loads made ahead that were dropped again before any request. */
  wastedLoads: number;
  bytesMoved: number;
  waitSeconds: number;
};

export type Played = {
  name: string;
  total: Tally;
  /** In the order of the series. */
  categories: Tally[];
  /** Loaded memory as each minute ended, GB, and cold minutes among all categories. */
  gbByMinute: Float32Array;
  coldByMinute: Uint32Array;
};

export const ABSENT = -1;

export function leadMinutes(startSeconds: number): number {
  return Math.max(1, Math.ceil(startSeconds / 60));
}

/**
 * Requests of a cold minute that wait: the first, and those of the time the start takes, the
 * minute's requests being spread evenly. While a load is under way, all of them.
 */
export function coldRequests(requests: number, startSeconds: number, loading: boolean): number {
  if (loading) return requests;
  return 1 + (requests - 1) * Math.min(1, startSeconds / 60);
}

type Lane = {
  policy: Policy;
  untilReady: Int16Array;
  /** Loaded ahead and not used yet. */
  unproven: Uint8Array;
  played: Played;
};

export type PlayOptions = {
  /** Minutes that are played and not counted. */
  warmUpMinutes: number;
  /** Sees every decision: what stood after it, `ABSENT` or minutes until ready. */
  decided?(policy: string, series: number, minute: number, untilReady: number): void;
};

/** Yields after every minute; returns what was counted. */
export function* play(
  series: readonly Series[],
  policies: readonly Policy[],
  options: PlayOptions,
): Generator<number, Played[]> {
  const minutes = series[0]?.counts.length ?? 0;
  const lanes = policies.map((policy) => laneOf(policy, series.length, minutes));
  for (let minute = 0; minute < minutes; minute++) {
    const counted = minute >= options.warmUpMinutes;
    for (const lane of lanes) {
      lane.policy.beginMinute?.(minute);
      decide(lane, series, minute, counted, options);
    }
    // Only now is anybody told what came.
    for (const lane of lanes) {
      pass(lane, series, minute, counted);
      lane.policy.endMinute?.(minute);
    }
    yield minute + 1;
  }
  for (const { played } of lanes) played.total = played.categories.reduce(added, emptyTally());
  return lanes.map((lane) => lane.played);
}

function decide(
  { policy, untilReady, unproven, played }: Lane,
  series: readonly Series[],
  minute: number,
  counted: boolean,
  options: PlayOptions,
): void {
  for (let i = 0; i < series.length; i++) {
    const before = untilReady[i] ?? ABSENT;
    let after = before;
    if (before <= 0) {
      const wanted = policy.wants(i, minute, before === 0);
      if (before === 0 && !wanted) {
        after = ABSENT;
        const tally = played.categories[i];
        if (counted && tally && unproven[i] === 1) tally.wastedLoads++;
        unproven[i] = 0;
      } else if (before < 0 && wanted) {
        const [one, tally] = [series[i], played.categories[i]];
        after = leadMinutes(one?.startSeconds ?? 0);
        unproven[i] = 1;
        if (counted && one && tally) loaded(tally, one);
      }
      untilReady[i] = after;
    }
    options.decided?.(policy.name, i, minute, after);
  }
}

function pass(
  { policy, untilReady, unproven, played }: Lane,
  series: readonly Series[],
  minute: number,
  counted: boolean,
): void {
  let gb = 0;
  let cold = 0;
  for (let i = 0; i < series.length; i++) {
    const one = series[i];
    const until = untilReady[i] ?? ABSENT;
    const requests = one?.counts[minute] ?? 0;
    const tally = played.categories[i];
    if (one && tally && (requests > 0 || until >= 0)) {
      if (counted) count(tally, one, requests, until);
      gb += one.memoryGb;
      if (requests > 0) {
        unproven[i] = 0;
        if (until !== 0) cold++;
        if (until < 0) untilReady[i] = leadMinutes(one.startSeconds) - 1;
      }
      if (until > 0) untilReady[i] = until - 1;
    }
    policy.observe(i, minute, requests);
  }
  played.gbByMinute[minute] = gb;
  played.coldByMinute[minute] = cold;
}

function count(tally: Tally, one: Series, requests: number, until: number): void {
  if (requests === 0) {
    if (until < 0) return;
    tally.idleMinutes++;
    tally.idleGbMinutes += one.memoryGb;
    tally.loadedGbMinutes += one.memoryGb;
    return;
  }
  tally.arrivalMinutes++;
  tally.requests += requests;
  tally.loadedGbMinutes += one.memoryGb;
  if (until === 0) return;
  if (until < 0) loaded(tally, one);
  const cold = coldRequests(requests, one.startSeconds, until > 0);
  tally.coldMinutes++;
  tally.coldRequests += cold;
  // The first waits for all of the start, the others for what is left of it.
  tally.waitSeconds += one.startSeconds * (1 + (cold - 1) / 2);
}

function loaded(tally: Tally, one: Series): void {
  tally.loads++;
  tally.bytesMoved += one.artifactBytes;
}

function laneOf(policy: Policy, size: number, minutes: number): Lane {
  return {
    policy,
    untilReady: new Int16Array(size).fill(ABSENT),
    unproven: new Uint8Array(size),
    played: {
      name: policy.name,
      total: emptyTally(),
      categories: Array.from({ length: size }, emptyTally),
      gbByMinute: new Float32Array(minutes),
      coldByMinute: new Uint32Array(minutes),
    },
  };
}

export function emptyTally(): Tally {
  return {
    arrivalMinutes: 0,
    coldMinutes: 0,
    requests: 0,
    coldRequests: 0,
    idleMinutes: 0,
    idleGbMinutes: 0,
    loadedGbMinutes: 0,
    loads: 0,
    wastedLoads: 0,
    bytesMoved: 0,
    waitSeconds: 0,
  };
}

function added(sum: Tally, part: Tally): Tally {
  for (const field of Object.keys(sum) as (keyof Tally)[]) sum[field] += part[field];
  return sum;
}

/** Plays to the end at once. */
export function playAll(
  series: readonly Series[],
  policies: readonly Policy[],
  options: PlayOptions,
): Played[] {
  const steps = play(series, policies, options);
  let step = steps.next();
  while (!step.done) step = steps.next();
  return step.value;
}
