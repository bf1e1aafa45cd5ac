/**
 * The effects of known events on categories: asked for by forecasts, learned from history. Holds
 * the timeline and the learned state; the deciding parts are pure and next door.
 */
import { categoryKey } from "../../shared/domain.ts";
import { counterfactual } from "./counterfactual.ts";
import {
  CELL_MS,
  type Effect,
  type EffectState,
  effectOf,
  forget,
  hasLearned,
  learn,
  NO_EFFECT,
  NO_EFFECTS,
  type Occurrence,
  summary,
  type Zone,
} from "./effects.ts";
import { activeInOrder, type PlacedEvent, Timeline } from "./timeline.ts";
import { cellAt, windowFromMs, windowToMs } from "./window.ts";

/** Per bin: natural log of the factor on demand, and its standard deviation. */
export type EventEffect = { logEffect: Float64Array; sd: Float64Array };

/** The demand history as effects are learned from it. */
export type EventDemand = {
  keys(): { workload: string; category: string }[];
  /** Requests per minute of all hosts, gap-free, in `[fromMs, toMs)`. */
  series(
    workload: string,
    category: string,
    host: null,
    range: { fromMs: number; toMs: number },
  ): { startMs: number; binMs: number; counts: Float64Array };
};

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
/** Late reports have come in by then. */
const SETTLE_MS = 5 * MINUTE_MS;
/** History before an event that its counterfactual may use. */
const PAST_MS = 29 * DAY_MS;
/** Occurrences are looked for so far back. */
const REMEMBER_MS = 28 * DAY_MS;
const WAITING_MAX = 100_000;
const FORGET_MS = 400 * DAY_MS;

export type Learned = {
  signal: string;
  workload: string;
  category: string;
  occurrences: number;
  zones: ReturnType<typeof summary>;
};
export type Announced = { signal: string; startMs: number; endMs: number; factor: number };
type Of = { workload: string; category: string };
type Due = Of & { event: PlacedEvent };

export class EventEffects {
  readonly #timeline = new Timeline();
  #state: EffectState = NO_EFFECTS;
  /** Occurrences without enough history before them; they wait for an import. */
  readonly #waiting = new Set<string>();
  /** To be learned, in order; looked for anew when it is empty and something may have ended. */
  #backlog: Due[] = [];
  #idleUntilMs = 0;

  get state(): EffectState {
    return this.#state;
  }

  restore(state: EffectState): void {
    this.#state = state;
  }

  /** Replaces a source's events. */
  setEvents(source: string, events: readonly PlacedEvent[]): void {
    this.#timeline.set(source, events);
    this.#lookAnew();
  }

  /** History was imported: what could not be learned for want of it may be now. */
  retry(): void {
    this.#waiting.clear();
    this.#lookAnew();
  }

  /** The joint effect of all events on a category, bin by bin; null where no event is near. */
  eventEffect(
    workload: string,
    category: string,
    startMs: number,
    binMs: number,
    bins: number,
  ): EventEffect | null {
    const events = this.#timeline.around(workload, category, startMs, startMs + bins * binMs);
    if (events.length === 0) return null;
    const effects = new Cells(this.#state, categoryKey(workload, category));
    const logEffect = new Float64Array(bins);
    const sd = new Float64Array(bins);
    const steps = Math.ceil(binMs / CELL_MS);
    const active = activeInOrder(events);
    for (const bin of coveredBins(events, startMs, binMs, bins)) {
      let factor = 0;
      let variance = 0;
      for (let i = 0; i < steps; i++) {
        const atMs = startMs + (bin + (i + 0.5) / steps) * binMs;
        const joint = effects.joint(active(atMs), atMs);
        factor += Math.exp(joint.log) / steps;
        variance += joint.sd ** 2 / steps;
      }
      logEffect[bin] = Math.log(factor);
      sd[bin] = Math.sqrt(variance);
    }
    return { logEffect, sd };
  }

  /**
   * Learns from events whose window has ended, oldest first, at most `limit` of (event, category);
   * gives how many. Nothing after an event's window is looked at.
   */
  learnDue(demand: EventDemand, nowMs: number, limit: number): number {
    const endMs = nowMs - SETTLE_MS;
    if (this.#backlog.length === 0 && endMs >= this.#idleUntilMs) {
      this.#backlog = this.#due(demand, endMs);
      if (this.#backlog.length === 0) this.#idleUntilMs = this.#nextEnd(endMs);
    }
    const due = this.#backlog.splice(0, limit);
    for (const one of due) {
      const seen = this.#observe(demand, one);
      if (seen) this.#state = learn(this.#state, seen);
      else if (this.#waiting.size < WAITING_MAX) this.#waiting.add(nameOf(one));
    }
    if (due.length > 0) this.#state = forget(this.#state, nowMs - FORGET_MS);
    return due.length;
  }

  /** Events of a category that reach into `[fromMs, toMs)`, with the strongest factor of each. */
  announced(workload: string, category: string, fromMs: number, toMs: number): Announced[] {
    const effects = new Cells(this.#state, categoryKey(workload, category));
    return this.#timeline.around(workload, category, fromMs, toMs).map((event) => {
      let log = 0;
      for (let atMs = windowFromMs(event); atMs < windowToMs(event); atMs += CELL_MS) {
        const effect = effects.of(event, atMs);
        if (Math.abs(effect.log) > Math.abs(log)) log = effect.log;
      }
      const { signal, startMs, endMs } = event;
      return { signal, startMs, endMs, factor: Math.exp(log) };
    });
  }

  /** What was learned, strongest first. */
  learned(limit: number): Learned[] {
    const strength = ({ zones }: Learned) =>
      Math.max(0, ...zones.map((z) => z.certainty * Math.abs(Math.log(z.factor))));
    return Object.entries(this.#state.signals)
      .flatMap(([signal, pairs]) =>
        Object.entries(pairs).map(([key, { occurrences }]) => {
          const [workload = "", ...rest] = key.split("/");
          const zones = summary(this.#state, signal, key);
          return { signal, workload, category: rest.join("/"), occurrences, zones };
        }),
      )
      .toSorted((a, b) => strength(b) - strength(a))
      .slice(0, limit);
  }

  #lookAnew(): void {
    this.#backlog = [];
    this.#idleUntilMs = 0;
  }

  #nextEnd(afterMs: number): number {
    let next = Number.POSITIVE_INFINITY;
    for (const event of this.#timeline.all()) {
      const end = windowToMs(event);
      if (end > afterMs) next = Math.min(next, end);
    }
    return next;
  }

  #due(demand: EventDemand, endMs: number): Due[] {
    const due: Due[] = [];
    for (const { workload, category } of demand.keys()) {
      const key = categoryKey(workload, category);
      for (const event of this.#timeline.around(workload, category, endMs - REMEMBER_MS, endMs)) {
        if (windowToMs(event) > endMs) continue;
        if (hasLearned(this.#state.signals[event.signal]?.[key], event.startMs)) continue;
        const one = { workload, category, event };
        if (!this.#waiting.has(nameOf(one))) due.push(one);
      }
    }
    return due.toSorted((a, b) => windowToMs(a.event) - windowToMs(b.event));
  }

  /** Null when there is not enough history before the event. */
  #observe(demand: EventDemand, { workload, category, event }: Due): Occurrence | null {
    const window = { fromMs: minuteOf(windowFromMs(event)), toMs: minuteOf(windowToMs(event)) };
    const range = { fromMs: window.fromMs - PAST_MS, toMs: window.toMs };
    const { startMs, counts } = demand.series(workload, category, null, range);
    const before = Math.max(0, (window.fromMs - startMs) / MINUTE_MS);
    const clean = counts.slice(0, before);
    const past = this.eventEffect(workload, category, startMs, MINUTE_MS, clean.length);
    if (past) divide(clean, past.logEffect);

    const events = this.#timeline.around(workload, category, window.fromMs, window.toMs);
    const effects = new Cells(this.#state, categoryKey(workload, category));
    const seen = seenIntervals(event, events, window, effects, (minute) => {
      const index = minute - startMs / MINUTE_MS;
      return counts[index] ?? 0;
    });
    const free = (fromMs: number, toMs: number) =>
      this.#timeline.around(workload, category, fromMs, toMs).length === 0;
    const compared = counterfactual({ startMs, counts: clean }, window, seen, free);
    if (!compared) return null;
    return {
      signal: event.signal,
      category: categoryKey(workload, category),
      startMs: event.startMs,
      cells: seen.map(({ zone, index, actual, others }, i) => ({
        zone,
        index,
        actual,
        expected: (compared.expected[i] ?? 0) * others,
      })),
      placebos: compared.placebos,
    };
  }
}

/** Effects by offset cell, each worked out once. */
class Cells {
  readonly #state: EffectState;
  readonly #category: string;
  readonly #known = new Map<string, Effect>();

  constructor(state: EffectState, category: string) {
    this.#state = state;
    this.#category = category;
  }

  of(event: PlacedEvent, atMs: number): Effect {
    const cell = cellAt(event, atMs);
    if (!cell) return NO_EFFECT;
    const name = `${cell.zone} ${cell.index} ${event.signal}`;
    const known = this.#known.get(name);
    if (known) return known;
    const effect = effectOf(this.#state, event.signal, this.#category, cell);
    this.#known.set(name, effect);
    return effect;
  }

  joint(active: readonly PlacedEvent[], atMs: number): Effect {
    let log = 0;
    let variance = 0;
    for (const event of active) {
      const effect = this.of(event, atMs);
      log += effect.log;
      variance += effect.sd ** 2;
    }
    return { log, sd: Math.sqrt(variance) };
  }
}

type SeenInterval = { zone: Zone; index: number; fromMs: number; toMs: number } & {
  actual: number;
  /** Mean factor of the other events that were on. */
  others: number;
};

/** The minutes of a window that are the event's own, joined to one interval per offset cell. */
function seenIntervals(
  event: PlacedEvent,
  events: readonly PlacedEvent[],
  window: { fromMs: number; toMs: number },
  effects: Cells,
  countOf: (minute: number) => number,
): SeenInterval[] {
  const intervals: SeenInterval[] = [];
  const activeOf = activeInOrder(events);
  for (let fromMs = window.fromMs; fromMs < window.toMs; fromMs += MINUTE_MS) {
    const middleMs = fromMs + MINUTE_MS / 2;
    const cell = cellAt(event, middleMs);
    const active = activeOf(middleMs);
    if (!cell || !active.includes(event)) continue;
    const others = Math.exp(
      effects.joint(
        active.filter((e) => e !== event),
        middleMs,
      ).log,
    );
    const actual = countOf(fromMs / MINUTE_MS);
    const last = intervals.at(-1);
    if (last && last.toMs === fromMs && last.zone === cell.zone && last.index === cell.index) {
      const minutes = (fromMs - last.fromMs) / MINUTE_MS;
      last.others = (last.others * minutes + others) / (minutes + 1);
      last.actual += actual;
      last.toMs = fromMs + MINUTE_MS;
    } else intervals.push({ ...cell, fromMs, toMs: fromMs + MINUTE_MS, actual, others });
  }
  return intervals;
}

function* coveredBins(
  events: readonly PlacedEvent[],
  startMs: number,
  binMs: number,
  bins: number,
): Generator<number> {
  let next = 0;
  for (const event of events.toSorted((a, b) => windowFromMs(a) - windowFromMs(b))) {
    const first = Math.max(next, Math.floor((windowFromMs(event) - startMs) / binMs));
    const last = Math.min(bins - 1, Math.ceil((windowToMs(event) - startMs) / binMs) - 1);
    for (let bin = first; bin <= last; bin++) yield bin;
    next = Math.max(next, last + 1);
  }
}

/** In place: what the counts would have been without that effect. */
export function divide(counts: Float64Array, logEffect: Float64Array): void {
  for (let i = 0; i < counts.length; i++) {
    const log = logEffect[i] ?? 0;
    if (log !== 0) counts[i] = (counts[i] ?? 0) * Math.exp(-log);
  }
}

function minuteOf(ms: number): number {
  return Math.floor(ms / MINUTE_MS) * MINUTE_MS;
}

function nameOf({ workload, category, event }: Due): string {
  return `${event.startMs} ${workload}/${category} ${event.signal}`;
}
