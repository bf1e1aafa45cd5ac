/**
 * Announced events: gets them from their sources, remembers them, learns what they do to demand,
 * and tells forecasts. One task per source; a source that fails keeps what was last good.
 */
import type {
  EventList,
  EventsPosted,
  EventsQuery,
  EventsRemoval,
  EventsRemoved,
  EventsRequest,
  SignalsView,
} from "../shared/api-signals.ts";
import { PrestageError } from "../shared/errors.ts";
import { type Clock, every } from "../shared/runtime/clock.ts";
import type { Log } from "../shared/runtime/log.ts";
import type { Counter, Gauge, Histogram, Metrics } from "../shared/runtime/metrics.ts";
import type { Random } from "../shared/runtime/random.ts";
import { TaskGroup } from "../shared/runtime/tasks.ts";
import type { DemandHistory } from "./demand/history.ts";
import { EventDemandReader } from "./event-demand.ts";
import { SignalEvent } from "./signals/event.ts";
import { type Announced, type EventEffect, EventEffects } from "./signals/event-effects.ts";
import { fromPosted } from "./signals/posted.ts";
import { placeEvent } from "./signals/rules.ts";
import { POSTED, type SignalSettings, type SignalSource } from "./signals/settings.ts";
import { PAST_MS, PolledSignals } from "./signals/source.ts";
import { readState } from "./signals/state.ts";
import type { Store } from "./store/store.ts";

export type SignallingDeps = {
  clock: Clock;
  demandClock: Clock;
  random: Random;
  log: Log;
  metrics: Metrics;
  store: Store;
  history: DemandHistory;
  env: Readonly<Record<string, string | undefined>>;
  settings: SignalSettings;
  /** Effects of events long past were learned: what was learned of that past has them in it. */
  pastLearned(): void;
};

const DAY_MS = 86_400_000;
const AHEAD_MS = 400 * DAY_MS;
const POSTED_MAX = 20_000;
const STATE = "signals";
const LEARN_MS = 1_000;
/** Occurrences learned in one go, so that a long list does not hold up plans. */
const LEARN_MAX = 5;
/** An event that is told of that long after it ended was not known while it was on. */
const LATE_MS = DAY_MS;
const SAVE_MS = 300_000;
const PRUNE_MS = 3_600_000;
const EFFECTS_SHOWN = 500;

type Lane = {
  source: Pick<SignalSource, "name" | "type" | "rules">;
  polled: PolledSignals | null;
  events: readonly SignalEvent[];
  unmatched: number;
};

export class Signalling {
  readonly #deps: SignallingDeps;
  readonly #effects = new EventEffects();
  readonly #lanes = new Map<string, Lane>();
  readonly #demand: EventDemandReader;
  readonly #looks: Counter<"source" | "result">;
  readonly #lookSeconds: Histogram<"source">;
  readonly #known: Gauge<"source">;
  readonly #learned: Counter;
  #dirty = false;
  /** Events or history came that are of the past; then whether that taught anything. */
  #past: "none" | "came" | "learned" = "none";

  constructor(deps: SignallingDeps) {
    this.#deps = deps;
    const { metrics, settings } = deps;
    this.#demand = new EventDemandReader(deps);
    this.#looks = metrics.counter({
      name: "prestage_signals_looks_total",
      help: "Looks at a source of announced events, by what they gave",
      labelNames: ["source", "result"],
    });
    this.#lookSeconds = metrics.histogram({
      name: "prestage_signals_look_seconds",
      help: "Time a look at a source took, reading included",
      labelNames: ["source"],
      buckets: [0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30],
    });
    this.#known = metrics.gauge({
      name: "prestage_signals_events",
      help: "Announced events known, past ones for four weeks",
      labelNames: ["source"],
    });
    this.#learned = metrics.counter({
      name: "prestage_signals_learned_total",
      help: "Occurrences that effects were learned from, one per category",
    });
    const posted: SignalSource = { name: POSTED, type: "webhook", rules: [] };
    const declared = settings.sources.some(({ name }) => name === POSTED);
    for (const source of declared ? settings.sources : [...settings.sources, posted])
      this.#lanes.set(source.name, {
        source,
        polled: source.type === "webhook" ? null : this.#polled(source),
        events: [],
        unmatched: 0,
      });
  }

  /** What events do to a category's demand, bin by bin; null where none is near. */
  eventEffect(
    workload: string,
    category: string,
    startMs: number,
    binMs: number,
    bins: number,
  ): EventEffect | null {
    return this.#effects.eventEffect(workload, category, startMs, binMs, bins);
  }

  /** Events of the next day that may concern a category, and what each is expected to do. */
  announced(workload: string, category: string): Announced[] {
    const nowMs = this.#deps.demandClock.now();
    return this.#effects.announced(workload, category, nowMs, nowMs + DAY_MS);
  }

  /** History was imported: events it covers can be learned now. */
  historyChanged(): void {
    this.#effects.retry();
    this.#past = "came";
  }

  /** Before the first plan: what was learned, and events as they were last known. */
  restore(): void {
    const state = readState(this.#deps.store.models.state(STATE));
    if (state) this.#effects.restore(state);
    for (const lane of this.#lanes.values()) this.#set(lane, this.#remembered(lane));
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps;
    const tasks = new TaskGroup(signal);
    for (const { source, polled } of this.#lanes.values())
      if (polled) tasks.start(`signals ${source.name}`, (s) => polled.run(s));
    tasks.start("signals learn", (s) => every(clock, LEARN_MS, s, () => this.#learn()));
    tasks.start("signals save", (s) => every(clock, SAVE_MS, s, () => this.#save()));
    tasks.start("signals prune", (s) => every(clock, PRUNE_MS, s, () => this.#prune()));
    await tasks.done();
    await this.#save();
  }

  // ── what people and programs ask ───────────────────────────────────────────────────────────

  async post({ source, events }: EventsRequest): Promise<EventsPosted> {
    const lane = this.#webhook(source);
    const nowMs = this.#deps.demandClock.now();
    const list = events.map(fromPosted);
    for (const { id, startMs } of list)
      if (startMs < nowMs - AHEAD_MS || startMs > nowMs + AHEAD_MS)
        throw new PrestageError("USAGE", `event ${id} is over 400 days away`);
    const ids = new Set(list.map(({ id }) => id));
    if (ids.size < list.length) throw new PrestageError("USAGE", "an id is there twice");
    const rows = list.map((event) => ({ ...event, body: event }));
    const counts = await this.#deps.store.signals.post(source, rows, POSTED_MAX);
    if (!counts)
      throw new PrestageError("TOO_LARGE", `${source} has ${POSTED_MAX} events: remove some`);
    if (list.some(({ endMs }) => endMs < nowMs - LATE_MS)) this.#past = "came";
    this.#set(lane, this.#remembered(lane));
    const unmatched = list.filter((event) => placeEvent(lane.source, event).length === 0);
    return { source, ...counts, unmatched: unmatched.map(({ id }) => id) };
  }

  async remove({ source, ids }: EventsRemoval): Promise<EventsRemoved> {
    const lane = this.#webhook(source);
    const removed = await this.#deps.store.signals.remove(source, ids);
    this.#set(lane, this.#remembered(lane));
    return { source, removed };
  }

  events({ source, fromMs, toMs, limit }: EventsQuery): EventList {
    if (source !== undefined && !this.#lanes.has(source)) throw unknownSource(source);
    const from = fromMs ?? this.#deps.demandClock.now();
    const to = toMs ?? Number.POSITIVE_INFINITY;
    const events = [...this.#lanes.values()]
      .filter((lane) => source === undefined || lane.source.name === source)
      .flatMap((lane) =>
        lane.events
          .filter(({ startMs, endMs }) => endMs >= from && startMs < to)
          .map((event) => ({ lane, event })),
      )
      .toSorted((a, b) => a.event.startMs - b.event.startMs)
      .slice(0, limit);
    return {
      events: events.map(({ lane, event }) => {
        const placed = placeEvent(lane.source, event);
        const { id, summary, startMs, endMs } = event;
        return {
          ...{ source: lane.source.name, id, summary, startMs, endMs },
          signals: placed.map(({ signal }) => signal),
          targets: placed.flatMap(({ targets }) => targets),
        };
      }),
    };
  }

  view(): SignalsView {
    const nowMs = this.#deps.demandClock.now();
    return {
      sources: [...this.#lanes.values()].map((lane) => sourceView(lane, nowMs)),
      effects: this.#effects.learned(EFFECTS_SHOWN),
    };
  }

  /** Sources that fail now, each with what is wrong. */
  failing(): { name: string; message: string; okMs: number | null }[] {
    return [...this.#lanes.values()].flatMap(({ source, polled }) =>
      polled?.state.error
        ? [{ name: source.name, message: polled.state.error.message, okMs: polled.state.okMs }]
        : [],
    );
  }

  counts(): { sources: number; failing: number; events: number } {
    const lanes = [...this.#lanes.values()];
    return {
      sources: lanes.filter(({ polled, events }) => polled !== null || events.length > 0).length,
      failing: this.failing().length,
      events: lanes.reduce((sum, { events }) => sum + events.length, 0),
    };
  }

  // ── sources ────────────────────────────────────────────────────────────────────────────────

  #polled(source: Exclude<SignalSource, { type: "webhook" }>): PolledSignals {
    const { store, settings } = this.#deps;
    const { name } = source;
    return new PolledSignals(source, {
      ...this.#deps,
      limits: settings,
      kept: () => store.signals.copy(name),
      keep: (copy) => store.signals.keepCopy(name, copy),
      events: (events) => this.#take(name, events),
      looked: (result, seconds) => {
        this.#looks.inc({ source: name, result });
        this.#lookSeconds.observe({ source: name }, seconds);
      },
    });
  }

  /** What has begun is kept: calendars and feeds forget what is over, effects are of then. */
  async #take(name: string, events: SignalEvent[]): Promise<void> {
    const lane = this.#lanes.get(name);
    if (!lane) return;
    const nowMs = this.#deps.demandClock.now();
    const begun = events.filter(({ startMs }) => startMs <= nowMs);
    const nameOf = ({ id, startMs }: { id: string; startMs: number }) => `${startMs} ${id}`;
    const stored = this.#remembered(lane).filter(({ startMs }) => startMs <= nowMs);
    const storedNames = new Set(stored.map(nameOf));
    const fresh = begun.filter((event) => !storedNames.has(nameOf(event)));
    if (fresh.some(({ endMs }) => endMs < nowMs - LATE_MS)) this.#past = "came";
    await this.#deps.store.signals.remember(
      name,
      fresh.map((event) => ({ ...event, body: event })),
    );
    const names = new Set(events.map(nameOf));
    this.#set(lane, [...stored.filter((event) => !names.has(nameOf(event))), ...events]);
  }

  #remembered({ source }: Lane): SignalEvent[] {
    const nowMs = this.#deps.demandClock.now();
    const span = { fromMs: nowMs - PAST_MS, toMs: nowMs + AHEAD_MS, limit: POSTED_MAX };
    return this.#deps.store.signals
      .events(source.name, span)
      .flatMap(({ body }) => SignalEvent.safeParse(body).data ?? []);
  }

  #set(lane: Lane, events: readonly SignalEvent[]): void {
    const { name } = lane.source;
    const placed = events.map((event) => placeEvent(lane.source, event));
    lane.events = events;
    lane.unmatched = placed.filter((list) => list.length === 0).length;
    this.#effects.setEvents(name, placed.flat());
    this.#known.set({ source: name }, events.length);
  }

  #webhook(name: string): Lane {
    const lane = this.#lanes.get(name);
    if (!lane || lane.polled) throw unknownSource(name);
    return lane;
  }

  // ── learning ───────────────────────────────────────────────────────────────────────────────

  #learn(): void {
    const nowMs = this.#deps.demandClock.now();
    const learned = this.#effects.learnDue(this.#demand.at(nowMs), nowMs, LEARN_MAX);
    if (learned === 0) {
      if (this.#past === "learned") this.#deps.pastLearned();
      this.#past = "none";
      return;
    }
    this.#learned.inc(learned);
    this.#dirty = true;
    if (this.#past === "came") this.#past = "learned";
  }

  async #save(): Promise<void> {
    if (!this.#dirty) return;
    this.#dirty = false;
    await this.#deps.store.models.setState(STATE, this.#effects.state);
  }

  async #prune(): Promise<void> {
    const nowMs = this.#deps.demandClock.now();
    await this.#deps.store.signals.prune(nowMs - PAST_MS, new Set(this.#lanes.keys()));
  }
}

function sourceView(lane: Lane, nowMs: number): SignalsView["sources"][number] {
  const { source, polled, events, unmatched } = lane;
  const error = polled?.state.error ?? null;
  const okMs = polled?.state.okMs ?? null;
  return {
    name: source.name,
    type: source.type,
    address: polled?.address ?? null,
    state: error ? "failing" : polled && okMs === null ? "pending" : "ok",
    okMs,
    triedMs: polled?.state.triedMs ?? null,
    nextMs: polled?.nextMs ?? null,
    error,
    problems: [...(polled?.problems ?? [])],
    events: {
      known: events.length,
      coming: events.filter(({ startMs }) => startMs > nowMs).length,
      unmatched,
    },
  };
}

function unknownSource(name: string): PrestageError {
  return new PrestageError("NOT_FOUND", `no source of posted events is called ${name}`);
}
