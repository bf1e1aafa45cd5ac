/**
 * What a category's demand would have been without an event, from its past before the event alone:
 * days or weeks before, or the last hours, each with several ways to follow the level. Which of
 * them fits the category is seen on placebos: the same window on earlier days without events.
 */
const MINUTE_MS = 60_000;
const DAY = 1440;
const WEEK = 7 * DAY;
/** References at most, and how far they reach back. */
const DAYS = 14;
const WEEKS = 4;
const SHORT_LEVEL = 120;
const PLACEBO_DAYS = 14;
/** History before a window that is needed to say anything. */
const HISTORY_MINUTES_MIN = 60;
const LEVEL_COUNT = 5;
const CALM_DAYS_MIN = 3;

/** Requests per minute from `startMs` on, no gaps, events taken out. */
export type CleanDemand = { startMs: number; counts: Float64Array };

export type Comparison = {
  /** Expected requests of each interval. */
  expected: number[];
  placebos: { actual: number; expected: number }[];
};

/** How the expected count of an interval is made from what was before `from` (a minute). */
type Method = {
  expect(past: Past, from: number, interval: Interval): number | null;
};
type Interval = { from: number; to: number };

/** Prefix sums over minutes; `first` is the first minute with a request. */
class Past {
  readonly #startMinute: number;
  readonly #sums: Float64Array;
  readonly first: number;

  constructor({ startMs, counts }: CleanDemand) {
    this.#startMinute = Math.floor(startMs / MINUTE_MS);
    this.#sums = new Float64Array(counts.length + 1);
    for (let i = 0; i < counts.length; i++)
      this.#sums[i + 1] = (this.#sums[i] ?? 0) + (counts[i] ?? 0);
    const found = counts.findIndex((count) => count > 0);
    this.first = found < 0 ? Number.POSITIVE_INFINITY : this.#startMinute + found;
  }

  sum(from: number, to: number): number {
    const last = this.#sums.length - 1;
    const at = (minute: number) => this.#sums[clamp(minute - this.#startMinute, 0, last)] ?? 0;
    return at(to) - at(from);
  }
}

/**
 * Expected counts of the intervals (all within `[fromMs, toMs)`), and how the same method did on
 * earlier windows; null when there is not enough past. `free(fromMs, toMs)` says whether a time is
 * without events. Nothing after `fromMs` is looked at.
 */
export function counterfactual(
  demand: CleanDemand,
  window: { fromMs: number; toMs: number },
  intervals: readonly { fromMs: number; toMs: number }[],
  free: (fromMs: number, toMs: number) => boolean,
): Comparison | null {
  const past = new Past(demand);
  const from = Math.floor(window.fromMs / MINUTE_MS);
  const to = Math.ceil(window.toMs / MINUTE_MS);
  if (from - past.first < HISTORY_MINUTES_MIN) return null;
  const days = placeboDays(past, { from, to }, free);
  const tried = METHODS.map((method) => {
    const placebos = days.flatMap((back) => {
      const shifted = { from: from - back, to: to - back };
      const expected = method.expect(past, shifted.from, shifted);
      return expected === null ? [] : [{ actual: past.sum(shifted.from, shifted.to), expected }];
    });
    return { method, placebos, error: logError(placebos) };
  });
  const most = Math.max(...tried.map(({ placebos }) => placebos.length));
  for (const { method, placebos } of tried.toSorted((a, b) => rank(a, most) - rank(b, most))) {
    const expected = intervals.map((interval) =>
      method.expect(past, from, {
        from: Math.floor(interval.fromMs / MINUTE_MS),
        to: Math.ceil(interval.toMs / MINUTE_MS),
      }),
    );
    if (expected.every((value) => value !== null)) return { expected, placebos };
  }
  return null;
}

/** How far back, in minutes. Where events are never far, their days have to do. */
function placeboDays(
  past: Past,
  { from, to }: Interval,
  free: (fromMs: number, toMs: number) => boolean,
): number[] {
  const days = Array.from({ length: PLACEBO_DAYS }, (_, i) => (i + 1) * DAY).filter(
    (back) => to - back <= from && from - back - past.first >= HISTORY_MINUTES_MIN,
  );
  const calm = days.filter((back) => free((from - back) * MINUTE_MS, (to - back) * MINUTE_MS));
  return calm.length >= CALM_DAYS_MIN ? calm : days;
}

/** Methods that could be tried on few placebos only come after those tried on most. */
function rank({ placebos, error }: { placebos: unknown[]; error: number }, most: number): number {
  return placebos.length * 2 >= most ? error : 1e6 + error;
}

/** Mean squared log ratio; half a request on both sides so that zeros can be compared. */
function logError(placebos: Comparison["placebos"]): number {
  if (placebos.length === 0) return 0;
  const errors = placebos.map(
    ({ actual, expected }) => Math.log((actual + 0.5) / (expected + 0.5)) ** 2,
  );
  return errors.reduce((sum, e) => sum + e, 0) / errors.length;
}

type Level = {
  name: string;
  /** How the level of now relates to that of the references, each so many minutes back. */
  ratio(past: Past, from: number, backs: readonly number[]): number;
};

const LEVELS: readonly Level[] = [
  { name: "as it was", ratio: () => 1 },
  { name: "by the last day", ratio: levelOver(DAY) },
  { name: "by the last hours", ratio: levelOver(SHORT_LEVEL) },
  {
    name: "by both",
    ratio: (past, from, backs) =>
      Math.sqrt(levelOver(DAY)(past, from, backs) * levelOver(SHORT_LEVEL)(past, from, backs)),
  },
];

function levelOver(minutes: number): Level["ratio"] {
  return (past, from, backs) => {
    const known = backs.filter((back) => from - back - minutes >= past.first);
    if (known.length === 0) return 1;
    const now = past.sum(from - minutes, from);
    const then = mean(known, (back) => past.sum(from - back - minutes, from - back));
    // A few requests more or less are no change of level.
    return clamp((now + LEVEL_COUNT) / (then + LEVEL_COUNT), 0.1, 10);
  };
}

function seasonal(period: number, count: number, level: Level): Method {
  const steps = Array.from({ length: count }, (_, i) => (i + 1) * period);
  return {
    expect: (past, from, interval) => {
      const backs = steps.filter((back) => interval.to - back <= from && from - back >= past.first);
      if (backs.length === 0) return null;
      const shape = mean(backs, (back) => past.sum(interval.from - back, interval.to - back));
      return shape * level.ratio(past, from, backs);
    },
  };
}

/** As many as in the last hours. */
function steady(minutes: number): Method {
  return {
    expect: (past, from, interval) => {
      const known = Math.min(minutes, from - past.first);
      if (known < HISTORY_MINUTES_MIN) return null;
      return (past.sum(from - known, from) / known) * (interval.to - interval.from);
    },
  };
}

const METHODS: readonly Method[] = [
  ...LEVELS.map((level) => seasonal(WEEK, WEEKS, level)),
  ...LEVELS.map((level) => seasonal(DAY, DAYS, level)),
  steady(SHORT_LEVEL),
  steady(DAY),
];

function mean(backs: readonly number[], of: (back: number) => number): number {
  return backs.reduce((sum, back) => sum + of(back), 0) / backs.length;
}

function clamp(value: number, low: number, high: number): number {
  return Math.max(low, Math.min(high, value));
}
