/**
 * P(a category has a request in a minute | it was idle until then), for categories that are
 * neither constant nor predictable from a rate: timers, cron jobs, people, retries.
 *
 * The idea is that of context-mixing compressors (Mahoney 2005, "Adaptive weighing of context
 * models for lossless data compression"): a minute with or without a request is one bit, several
 * experts each give odds for it, and a logistic mixer, trained online on the log loss, adds up
 * what each says beyond the base rate. Its weights are sums: by how much was seen, by idle time and by
 * rate, all shared by the categories, so that a new one starts from what others have taught, and the
 * category's own, which learn fast at first. A histogram of idle times alone (Shahrad et al.,
 * ATC 2020) was refused: it cannot see a timer among other arrivals.
 */
import { assert } from "../../shared/runtime/assert.ts";
import { fastLog } from "./log.ts";
import { PooledTable } from "./pooled.ts";
import { CYCLES, OWN_WEIGHTS, RATE_MINUTES, type Recency, type Track } from "./track.ts";

/** A frequency of a category counts like that many minutes of its base rate. */
const PRIOR_MINUTES = 2;
/** The same for what is pooled. */
const PRIOR_POOLED = 4;
/** Evidence of one expert, log-odds. */
const EVIDENCE_MAX = 7;
/** Of the shared weights: by experience; by idle time and by rate. */
const LEARNING_RATE = 0.001;
const LEARNING_RATE_BY_CLASS = 0.0005;
/** Of a category's own weights: falls with the root of its age, and they fade. */
const OWN_RATE = 0.02;
const OWN_RATE_MIN = 0.003;
const OWN_RATE_MINUTES = 60;
const OWN_KEEP = 0.9995;
/** Before anything was learned, beyond what falls with the idle time: about one in a day. */
const NEWCOMER_HAZARD = 0.0005;
const HAZARD_MIN = 0.0005;
const HAZARD_MAX = 0.995;

/** Upper ends of the classes of idle time, minutes. */
const IDLE_CLASSES = [1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 60, 90, 120, 240];
const IDLES = IDLE_CLASSES.length + 1;
/** Classes of a category's general rate: 1/2, 1/4 … of minutes active. */
const RATES = 8;
/** Upper ends of the classes of how many arrivals were seen. */
const EXPERIENCES = [4, 16, Number.POSITIVE_INFINITY];

const RECENT_MINUTES = 8;
const TIMER_LAGS = [1, 5, 10, 15, 20, 30, 60, 120];
const DAY = 1440;
/** How far off yesterday's arrival may have been. */
const DAY_SLACK = 2;

const BASE = 0; // what is usual at that idle time and rate
const GAP = 1; // idle as long as its gaps were
const GAP_SMOOTH = 2; // the same, give or take a tenth
const CYCLE = 3; // minute of the clock, by cycle
const RATE = CYCLE + CYCLES.length; // rate, now and lately
const RHYTHM = RATE + 2; // how idle time compares with the last two gaps
const LAGS = RHYTHM + 1; // active whole timer periods ago
const RECENT = LAGS + 1; // pattern of the last minutes
const DAILY = RECENT + 1; // active at this minute of earlier days
const HOUR = DAILY + 1; // rate in this hour of earlier days
const BIAS = HOUR + 1;
const INPUTS = BIAS + 1;
assert(INPUTS <= OWN_WEIGHTS, "a category has a weight of its own for every input");

/** Where the mixer starts: the round values near which it ends on recorded functions. */
const WEIGHTS_START = Float64Array.from({ length: INPUTS }, (_, input) => {
  if (input === BASE) return 1;
  if (input === BIAS) return 0;
  if (input === GAP) return 0.3;
  if (input === DAILY) return 0.5;
  if (input === RATE || input === RATE + 1) return 0.05;
  return 0.15;
});

type Contexts = { base: number; rhythm: number; lags: number; recent: number; daily: number };

export type HazardState = { weights: number[]; tables: Record<keyof Contexts, number[]> };

export class HazardModel {
  /** By experience, then by idle class, then by rate class; `INPUTS` each. */
  readonly #weights = new Float64Array((EXPERIENCES.length + IDLES + RATES) * INPUTS);
  readonly #tables: Record<keyof Contexts, PooledTable> = {
    base: new PooledTable(RATES * IDLES, 2000),
    rhythm: new PooledTable(RATES * 7 * 7 * 3, 1000),
    lags: new PooledTable(RATES * 2 ** TIMER_LAGS.length, 1000),
    recent: new PooledTable(RATES * 2 ** RECENT_MINUTES, 1000),
    daily: new PooledTable(RATES * 2 ** 5, 1000),
  };
  /** Of the last `hazard()`: what `learn()` corrects. */
  readonly #inputs = new Float64Array(INPUTS);
  readonly #contexts: Contexts = { base: 0, rhythm: 0, lags: 0, recent: 0, daily: 0 };
  #experienceAt = 0;
  #idleAt = 0;
  #rateAt = 0;

  constructor() {
    for (let i = 0; i < EXPERIENCES.length; i++) this.#weights.set(WEIGHTS_START, i * INPUTS);
  }

  /** P(request in `minute` | none between `track.current.minute` and it); a later minute. */
  hazard(track: Track, minute: number): number {
    const recency = track.current;
    const idle = minute - recency.last;
    const idleClass = classOf(IDLE_CLASSES, idle);
    const rateClass = this.#rateClass(recency, minute);
    const base = this.#base(rateClass, idleClass, idle);
    const inputs = this.#inputs;
    inputs[BASE] = fastLog(base / (1 - base));
    inputs[BIAS] = 1;
    this.#gapEvidence(track, idle, base);
    this.#clockEvidence(track, minute, base);
    this.#rateEvidence(recency, minute, base);
    this.#pooledEvidence(track, minute, rateClass, base);
    this.#experienceAt = classOf(EXPERIENCES, recency.arrivals) * INPUTS;
    this.#idleAt = (EXPERIENCES.length + idleClass) * INPUTS;
    this.#rateAt = (EXPERIENCES.length + IDLES + rateClass) * INPUTS;
    const sum = this.#mixed(track.own);
    return Math.min(HAZARD_MAX, Math.max(HAZARD_MIN, 1 / (1 + Math.exp(-sum))));
  }

  #mixed(own: Float32Array): number {
    const weights = this.#weights;
    const inputs = this.#inputs;
    const experienceAt = this.#experienceAt;
    const idleAt = this.#idleAt;
    const rateAt = this.#rateAt;
    let sum = 0;
    for (let i = 0; i < INPUTS; i++) {
      const shared =
        (weights[experienceAt + i] ?? 0) + (weights[idleAt + i] ?? 0) + (weights[rateAt + i] ?? 0);
      sum += (shared + (own[i] ?? 0)) * (inputs[i] ?? 0);
    }
    return sum;
  }

  /** Of a category that was never seen: that of the rarest ones, long idle. */
  newcomerHazard(): number {
    return this.#base(RATES - 1, IDLES - 1, DAY);
  }

  /** Learns the minute after the last settled one, then settles it in the track. */
  learn(track: Track, active: boolean): void {
    track.preview([]);
    const probability = this.hazard(track, track.settled.minute + 1);
    this.#correct(track, (active ? 1 : 0) - probability);
    for (const name of TABLES) this.#tables[name].learn(this.#contexts[name], active);
    track.settle(active);
  }

  /** A step down the log loss of the last `hazard()`. */
  #correct(track: Track, error: number): void {
    const weights = this.#weights;
    const { own, settled, born } = track;
    const age = settled.minute - born;
    const ownRate = Math.max(OWN_RATE_MIN, OWN_RATE / Math.sqrt(1 + age / OWN_RATE_MINUTES));
    for (let i = 0; i < INPUTS; i++) {
      const slope = error * (this.#inputs[i] ?? 0);
      const byClass = LEARNING_RATE_BY_CLASS * slope;
      const [e, d, r] = [this.#experienceAt + i, this.#idleAt + i, this.#rateAt + i];
      weights[e] = (weights[e] ?? 0) + LEARNING_RATE * slope;
      weights[d] = (weights[d] ?? 0) + byClass;
      weights[r] = (weights[r] ?? 0) + byClass;
      own[i] = (own[i] ?? 0) * OWN_KEEP + ownRate * slope;
    }
  }

  /** What is pooled counts like no more than so many minutes of each context. */
  fade(trialsMax: number): void {
    for (const name of TABLES) this.#tables[name].fade(trialsMax);
  }

  state(): HazardState {
    const table = (name: keyof Contexts) => this.#tables[name].state();
    return {
      weights: [...this.#weights],
      tables: {
        base: table("base"),
        rhythm: table("rhythm"),
        lags: table("lags"),
        recent: table("recent"),
        daily: table("daily"),
      },
    };
  }

  restore(state: HazardState): void {
    // Weights of an earlier version mean something else.
    if (state.weights.length === this.#weights.length) this.#weights.set(state.weights);
    for (const name of TABLES) this.#tables[name].restore(state.tables[name]);
  }

  #rateClass(recency: Recency, minute: number): number {
    const slowest = RATE_MINUTES.length - 1;
    const keep = keepOf(slowest, minute - 1 - recency.minute);
    const hits = (recency.hits[slowest] ?? 0) * keep + 1;
    const span = RATE_MINUTES[slowest] ?? 1;
    const trials = span - (span - (recency.trials[slowest] ?? 0)) * keep + 5;
    // The whole part of the binary logarithm of minutes per arrival.
    return Math.min(RATES - 1, 31 - Math.clz32(Math.max(1, trials / hits)));
  }

  #base(rateClass: number, idleClass: number, idle: number): number {
    const context = rateClass * IDLES + idleClass;
    this.#contexts.base = context;
    const table = this.#tables.base;
    const prior = 0.35 / (idle + 1) + NEWCOMER_HAZARD;
    return (table.hits(context) + PRIOR_POOLED * prior) / (table.trials(context) + PRIOR_POOLED);
  }

  #gapEvidence(track: Track, idle: number, base: number): void {
    const due = track.gapsAtLeast(idle);
    this.#frequency(GAP, track.gapsBetween(idle, idle), due, base, PRIOR_MINUTES);
    const slack = 1 + Math.floor(idle / 10);
    const near = track.gapsBetween(Math.max(1, idle - slack), idle + slack) / (2 * slack + 1);
    const nearDue = track.gapsAtLeast(idle - slack);
    this.#frequency(GAP_SMOOTH, near, nearDue, base, PRIOR_MINUTES);
  }

  #clockEvidence(track: Track, minute: number, base: number): void {
    for (let i = 0; i < CYCLES.length; i++) {
      const slot = track.cycleSlot(i, minute);
      const trials = track.cycleTrials(slot);
      this.#frequency(CYCLE + i, track.cycleHits(slot), trials, base, PRIOR_MINUTES);
    }
    const hour = Math.floor(minute / 60) % 24;
    this.#frequency(HOUR, track.hourHits(hour), track.hourTrials(hour), base, 30);
  }

  #rateEvidence(recency: Recency, minute: number, base: number): void {
    for (let i = 0; i < 2; i++) {
      const keep = keepOf(i, minute - 1 - recency.minute);
      const span = RATE_MINUTES[i] ?? 1;
      const trials = span - (span - (recency.trials[i] ?? 0)) * keep;
      this.#frequency(RATE + i, (recency.hits[i] ?? 0) * keep, trials, base, PRIOR_MINUTES);
    }
  }

  #pooledEvidence(track: Track, minute: number, rateClass: number, base: number): void {
    const { gap1, gap2 } = track.current;
    const idle = minute - track.current.last;
    const steady = gap1 === gap2 ? 1 : Math.abs(gap1 - gap2) <= 1 ? 2 : 0;
    this.#pooled(
      "rhythm",
      RHYTHM,
      ((compare(idle, gap1) * 7 + compare(idle, gap2)) * 3 + steady) * RATES + rateClass,
      base,
    );
    this.#pooled("lags", LAGS, timers(track, minute) * RATES + rateClass, base);
    const recent =
      idle > RECENT_MINUTES ? 0 : track.activity(minute - RECENT_MINUTES, RECENT_MINUTES);
    this.#pooled("recent", RECENT, recent * RATES + rateClass, base);
    if (minute - track.born < DAY) {
      this.#inputs[DAILY] = 0;
      this.#contexts.daily = 31 * RATES + rateClass;
    } else {
      this.#pooled("daily", DAILY, days(track, minute) * RATES + rateClass, base);
    }
  }

  #pooled(name: keyof Contexts, input: number, context: number, base: number): void {
    this.#contexts[name] = context;
    const table = this.#tables[name];
    this.#frequency(input, table.hits(context), table.trials(context), base, PRIOR_POOLED);
  }

  /** What a frequency says beyond the base rate, as log-odds; nothing when nothing was seen. */
  #frequency(input: number, hits: number, trials: number, base: number, prior: number): void {
    if (trials <= 0) {
      this.#inputs[input] = 0;
      return;
    }
    const yes = Math.min(hits, trials) + prior * base;
    const no = trials + prior - yes;
    const evidence = fastLog((yes * (1 - base)) / (no * base));
    this.#inputs[input] = Math.min(EVIDENCE_MAX, Math.max(-EVIDENCE_MAX, evidence));
  }
}

const TABLES = ["base", "rhythm", "lags", "recent", "daily"] as const;

/** What is left of a rate's memory after so many more minutes, by time constant. */
const KEEPS = RATE_MINUTES.map((minutes) =>
  Float64Array.from({ length: 256 }, (_, i) => (1 - 1 / minutes) ** i),
);

function keepOf(rate: number, minutes: number): number {
  return KEEPS[rate]?.[minutes] ?? (1 - 1 / (RATE_MINUTES[rate] ?? 1)) ** minutes;
}

function classOf(upperEnds: readonly number[], value: number): number {
  let i = 0;
  while (i < upperEnds.length && value > (upperEnds[i] ?? 0)) i++;
  return i;
}

/** Seven ways an idle time can stand to a gap (0 = there was none). */
function compare(idle: number, gap: number): number {
  if (gap === 0) return 0;
  if (idle === gap) return 1;
  if (idle === gap + 1) return 2;
  if (idle === gap - 1) return 3;
  if (idle < gap) return 4;
  return idle > 2 * gap + 2 ? 6 : 5;
}

/** One bit per lag, rising, so that those within the idle time are skipped. */
function timers(track: Track, minute: number): number {
  const idle = minute - track.current.last;
  let bits = 0;
  for (let i = TIMER_LAGS.length - 1; i >= 0; i--) {
    const lag = TIMER_LAGS[i] ?? 0;
    if (lag < idle) break;
    bits |= track.activity(minute - lag, 1) << i;
  }
  return bits;
}

/** Active at that minute yesterday, about then, the day before about then, a week ago. */
function days(track: Track, minute: number): number {
  const about = (day: number) => track.activity(minute - day * DAY - DAY_SLACK, 2 * DAY_SLACK + 1);
  const yesterday = about(1);
  return (
    ((yesterday >> DAY_SLACK) & 1) |
    (yesterday === 0 ? 0 : 2) |
    (about(2) === 0 ? 0 : 4) |
    (about(7) === 0 ? 0 : 8)
  );
}
