/**
 * What announced events do to demand, learned from how often they happened: per signal ("calendar:
 * match day") and category a factor for each offset around the event.
 *
 * Counts in an offset cell are taken as quasi-Poisson around `expected × factor`. The factor has a
 * gamma prior (conjugate, so that sums are all the state there is) and three levels that shrink
 * towards one another: cell → block of two hours → zone (lead, during, lag) → the same signal's
 * other categories → 1. Whether there is an effect at all is weighed apart from its size, by the
 * prequential Bayes factor against "no effect" (spike and slab): a useless signal's weight goes to
 * nothing, whatever its noise. One occurrence may move that weight only so far, so that a
 * coincidence is not taken for a law.
 *
 * Refused: one regression over all signals (an added calendar would change every other estimate),
 * and thresholds on a t-test (jumps, and no answer before the second occurrence).
 */
export type Zone = "lead" | "during" | "lag";
export const ZONES = ["lead", "during", "lag"] as const satisfies readonly Zone[];

/** Width of the narrowest offset cell; see `cellAt`. */
export const CELL_MS = 900_000;
/** Cells that share a factor before each gets its own. */
const BLOCK_CELLS = 8;

/** Requests seen and expected in one offset cell of one occurrence. */
export type SeenCell = { zone: Zone; index: number; actual: number; expected: number };

/** One occurrence of a signal as one category saw it. */
export type Occurrence = {
  signal: string;
  /** `workload/category`. */
  category: string;
  startMs: number;
  cells: readonly SeenCell[];
  /** The same comparison where no event was: how far off expectations are by themselves. */
  placebos: readonly { actual: number; expected: number }[];
};

/** Discounted sums of what was seen and expected, in units of independent requests. */
type Sums = { actual: number; expected: number };
type ZoneState = Sums & {
  /** Log Bayes factor of "there is an effect" so far. */
  evidence: number;
  /** Seen and expected by index. */
  cells: Record<string, [number, number]>;
};
export type PairState = {
  occurrences: number;
  /** Starts of occurrences that were learned, rising; the newest only. */
  learned: number[];
  zones: Partial<Record<Zone, ZoneState>>;
};
type Pairs = Readonly<Record<string, PairState>>;
export type EffectState = {
  version: 1;
  signals: Readonly<Record<string, Pairs>>;
  /** Relative variance of expectations over a window, beyond Poisson, per category. */
  noise: Readonly<Record<string, { variance: number; windows: number }>>;
};
export const NO_EFFECTS: EffectState = { version: 1, signals: {}, noise: {} };

/** Natural logarithm of the factor, and its standard deviation. */
export type Effect = { log: number; sd: number };
export const NO_EFFECT: Effect = { log: 0, sd: 0 };

/** What is kept of earlier occurrences at each new one: some ten of them count. */
const KEEP = 0.9;
const LEARNED_MAX = 256;
/** Half a kilobyte each. */
export const PAIRS_MAX = 10_000;
/** P(a signal says something about a category) before anything was seen, as if of so many. */
const USEFUL = 0.15;
const USEFUL_COUNT = 2;
/**
 * One occurrence's say on whether there is an effect, nats: a coincidence makes 0.37 of 0.15, three
 * occurrences 0.87.
 */
const EVIDENCE_FOR = 1.2;
const EVIDENCE_AGAINST = -2;
const EVIDENCE_MIN = -6;
const EVIDENCE_MAX = 12;
/** Strength of the priors, in independent requests: zone towards the pool, cell towards zone. */
const ZONE_STRENGTH = 1;
const ZONE_STRENGTH_MAX = 20;
const CELL_STRENGTH = 4;
/** Before placebos tell: expectations over a window are off by a fifth. */
const NOISE_VARIANCE = 0.04;
const NOISE_WINDOWS = 4;
const NOISE_WINDOWS_MAX = 200;
const NOISE_MIN = 0.0025;
/** A zone where less than that was expected says nothing about a factor. */
const EXPECTED_MIN = 0.05;
/** What is closer to no effect is none. */
const NEGLIGIBLE = 0.02;
const LOG_MAX = Math.log(1_000);

/** Takes in one occurrence; one that was learned before changes nothing. */
export function learn(state: EffectState, seen: Occurrence): EffectState {
  const pairs = state.signals[seen.signal] ?? {};
  const pair = pairs[seen.category] ?? { occurrences: 0, learned: [], zones: {} };
  if (hasLearned(pair, seen.startMs)) return state;
  const noise = learnNoise(state.noise[seen.category], seen.placebos);
  const zones = { ...pair.zones };
  for (const zone of ZONES) {
    const cells = seen.cells.filter((cell) => cell.zone === zone);
    const learned = learnZone(
      zones[zone],
      cells,
      noise.variance,
      prior(pairs, seen.category, zone),
    );
    if (learned) zones[zone] = learned;
  }
  const learned = [...pair.learned, seen.startMs].toSorted((a, b) => a - b).slice(-LEARNED_MAX);
  const changed = { occurrences: pair.occurrences + 1, learned, zones };
  return {
    ...state,
    signals: { ...state.signals, [seen.signal]: { ...pairs, [seen.category]: changed } },
    noise: { ...state.noise, [seen.category]: noise },
  };
}

/** Whether an occurrence was learned, or is older than all that are remembered. */
export function hasLearned(pair: PairState | undefined, startMs: number): boolean {
  if (!pair) return false;
  const [oldest] = pair.learned;
  if (pair.learned.length === LEARNED_MAX && oldest !== undefined && startMs < oldest) return true;
  return pair.learned.includes(startMs);
}

/** The factor that a signal has on a category in one offset cell. */
export function effectOf(
  state: EffectState,
  signal: string,
  category: string,
  cell: { zone: Zone; index: number },
): Effect {
  const pairs = state.signals[signal];
  if (!pairs) return NO_EFFECT;
  const { mean, strength, useful, known } = prior(pairs, category, cell.zone);
  const zone = pairs[category]?.zones[cell.zone];
  if (!zone && !known) return NO_EFFECT;
  const whole = towards(zone, mean, strength);
  const block = towards(blockSums(zone, cell.index), whole.factor, CELL_STRENGTH);
  const [actual, expected] = zone?.cells[cell.index] ?? [0, 0];
  const own = towards({ actual, expected }, block.factor, CELL_STRENGTH);
  const weight = sigmoid(logit(useful) + (zone?.evidence ?? 0));
  const log = Math.log(1 + weight * (own.factor - 1));
  if (Math.abs(log) < NEGLIGIBLE) return NO_EFFECT;
  const slab = Math.log(own.factor);
  const variance = weight / own.requests + weight * (1 - weight) * slab * slab;
  return { log: Math.max(-LOG_MAX, Math.min(LOG_MAX, log)), sd: Math.sqrt(variance) };
}

/** Forgets pairs that nothing was learned of since `beforeMs`, and the oldest over the limit. */
export function forget(state: EffectState, beforeMs: number): EffectState {
  const all = Object.entries(state.signals).flatMap(([signal, pairs]) =>
    Object.entries(pairs).map(([category, pair]) => ({
      signal,
      category,
      pair,
      lastMs: pair.learned.at(-1) ?? 0,
    })),
  );
  const kept = all
    .filter(({ lastMs }) => lastMs >= beforeMs)
    .toSorted((a, b) => b.lastMs - a.lastMs)
    .slice(0, PAIRS_MAX);
  if (kept.length === all.length) return state;
  const signals: Record<string, Record<string, PairState>> = {};
  for (const { signal, category, pair } of kept) {
    const pairs = signals[signal] ?? {};
    pairs[category] = pair;
    signals[signal] = pairs;
  }
  const categories = new Set(kept.map(({ category }) => category));
  const noise = Object.fromEntries(
    Object.entries(state.noise).filter(([category]) => categories.has(category)),
  );
  return { ...state, signals, noise };
}

/** Of a pair: P(there is an effect), per zone that was seen, and the zone's factor. */
export function summary(
  state: EffectState,
  signal: string,
  category: string,
): { zone: Zone; factor: number; certainty: number }[] {
  const pairs = state.signals[signal] ?? {};
  return ZONES.flatMap((zone) => {
    const seen = pairs[category]?.zones[zone];
    if (!seen) return [];
    const { mean, strength, useful } = prior(pairs, category, zone);
    const certainty = sigmoid(logit(useful) + seen.evidence);
    return [{ zone, factor: towards(seen, mean, strength).factor, certainty }];
  });
}

// ── one zone ─────────────────────────────────────────────────────────────────────────────────

function learnZone(
  before: ZoneState | undefined,
  cells: readonly SeenCell[],
  variance: number,
  { mean, strength }: Prior,
): ZoneState | undefined {
  const whole = { actual: 0, expected: 0 };
  for (const { actual, expected } of cells) {
    whole.actual += actual;
    whole.expected += expected;
  }
  if (whole.expected < EXPECTED_MIN) return before;
  // Var = expected + variance × expected²: so many requests are as telling as independent ones.
  const scale = 1 / (1 + variance * whole.expected);
  const shape = strength + (before?.actual ?? 0);
  const rate = strength / mean + (before?.expected ?? 0);
  const step = logBayesFactor(shape, rate, whole.actual * scale, whole.expected * scale);
  const bounded = Math.max(EVIDENCE_AGAINST, Math.min(EVIDENCE_FOR, step));
  const evidence = (before?.evidence ?? 0) + bounded;
  const sums: ZoneState["cells"] = {};
  for (const [index, [actual, expected]] of Object.entries(before?.cells ?? {}))
    sums[index] = [rounded(actual * KEEP), rounded(expected * KEEP)];
  for (const { index, actual, expected } of cells) {
    const [actualBefore, expectedBefore] = sums[index] ?? [0, 0];
    sums[index] = [
      rounded(actualBefore + actual * scale),
      rounded(expectedBefore + expected * scale),
    ];
  }
  return {
    actual: rounded((before?.actual ?? 0) * KEEP + whole.actual * scale),
    expected: rounded((before?.expected ?? 0) * KEEP + whole.expected * scale),
    evidence: rounded(Math.max(EVIDENCE_MIN, Math.min(EVIDENCE_MAX, evidence))),
    cells: sums,
  };
}

/** Enough digits for what is kept by the thousand. */
function rounded(value: number): number {
  return Math.round(value * 1_000) / 1_000;
}

/** Of `actual` under a factor ~ Gamma(shape, rate), against a factor of 1. */
function logBayesFactor(shape: number, rate: number, actual: number, expected: number): number {
  return (
    logGamma(shape + actual) -
    logGamma(shape) +
    shape * Math.log(rate) -
    (shape + actual) * Math.log(rate + expected) +
    expected
  );
}

/** Posterior mean of a factor whose prior has that mean, and the requests it rests on. */
function towards(sums: Sums | undefined, mean: number, strength: number) {
  const actual = strength + (sums?.actual ?? 0);
  return { factor: actual / (strength / mean + (sums?.expected ?? 0)), requests: actual };
}

function blockSums(zone: ZoneState | undefined, index: number): Sums {
  const sums = { actual: 0, expected: 0 };
  const first = Math.floor(index / BLOCK_CELLS) * BLOCK_CELLS;
  for (let i = first; i < first + BLOCK_CELLS; i++) {
    const [actual, expected] = zone?.cells[i] ?? [0, 0];
    sums.actual += actual;
    sums.expected += expected;
  }
  return sums;
}

// ── what a signal's other categories say ─────────────────────────────────────────────────────

type Prior = {
  mean: number;
  strength: number;
  useful: number;
  /** Whether another category has seen the signal. */
  known: boolean;
};
type Pool = { count: number; weight: number; log: number; square: number } & Sums;

/** Pools never change while their pairs do not. */
const pools = new WeakMap<Pairs, Partial<Record<Zone, Pool>>>();

function poolOf(pairs: Pairs, zone: Zone): Pool {
  const known = pools.get(pairs) ?? {};
  pools.set(pairs, known);
  const before = known[zone];
  if (before) return before;
  const pool = { count: 0, weight: 0, log: 0, square: 0, actual: 0, expected: 0 };
  for (const pair of Object.values(pairs)) addShare(pool, pair.zones[zone], 1);
  known[zone] = pool;
  return pool;
}

function addShare(pool: Pool, zone: ZoneState | undefined, sign: 1 | -1): void {
  if (!zone) return;
  const weight = sigmoid(logit(USEFUL) + zone.evidence);
  const log = Math.log(towards(zone, 1, ZONE_STRENGTH).factor);
  pool.count += sign;
  pool.weight += sign * weight;
  pool.log += sign * weight * log;
  pool.square += sign * weight * log * log;
  pool.actual += sign * weight * zone.actual;
  pool.expected += sign * weight * zone.expected;
}

/** The factor's prior for a category, from the other categories alone. */
function prior(pairs: Pairs, category: string, zone: Zone): Prior {
  const pool = { ...poolOf(pairs, zone) };
  addShare(pool, pairs[category]?.zones[zone], -1);
  const weight = Math.max(pool.weight, 0);
  const mean =
    (ZONE_STRENGTH + Math.max(0, pool.actual)) / (ZONE_STRENGTH + Math.max(0, pool.expected));
  const useful = (USEFUL * USEFUL_COUNT + weight) / (USEFUL_COUNT + pool.count);
  return { mean, strength: strengthOf(pool), useful, known: pool.count > 0 };
}

/** The more alike the categories' factors are, the more a further one is expected to be. */
function strengthOf({ weight, log, square }: Pool): number {
  if (weight < 2) return ZONE_STRENGTH;
  const variance = Math.max(0, square / weight - (log / weight) ** 2);
  return Math.min(ZONE_STRENGTH_MAX, Math.max(ZONE_STRENGTH, 1 / Math.max(variance, 1e-3)));
}

// ── noise ────────────────────────────────────────────────────────────────────────────────────

/** Method of moments for Var = expected + variance × expected². */
function learnNoise(
  before: { variance: number; windows: number } | undefined,
  placebos: Occurrence["placebos"],
): { variance: number; windows: number } {
  let { variance, windows } = before ?? { variance: NOISE_VARIANCE, windows: NOISE_WINDOWS };
  for (const { actual, expected } of placebos) {
    if (expected < EXPECTED_MIN) continue;
    const excess = ((actual - expected) ** 2 - expected) / (expected * expected);
    windows = Math.min(windows + 1, NOISE_WINDOWS_MAX);
    variance += (excess - variance) / windows;
  }
  return { variance: Math.max(NOISE_MIN, variance), windows };
}

function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}

function logit(p: number): number {
  return Math.log(p / (1 - p));
}

/** Lanczos' approximation (g = 5, Numerical Recipes), to 2e-10 for x > 0. */
function logGamma(x: number): number {
  const series = [
    76.18009172947146, -86.50532032941678, 24.01409824083091, -1.231739572450155,
    0.001208650973866179, -0.000005395239384953,
  ];
  const base = x + 5.5;
  const sum = series.reduce((total, c, i) => total + c / (x + 1 + i), 1.000000000190015);
  return (x + 0.5) * Math.log(base) - base + Math.log((Math.sqrt(2 * Math.PI) * sum) / x);
}
