/**
 * What an announced event is worth to forecasts: seeded demand with daily and weekly shape, an
 * event of two hours every two or three days that multiplies it, and three forecasters of the same
 * kind, without a calendar, with the one that announces the events, and with one of unrelated
 * times. Prints the error (mean pinball loss) in the event minutes from the fourth occurrence on,
 * forecast an hour before the event begins, and over all minutes, forecast at every hour.
 */
import { countQuantiles, pinballLoss } from "../../coordinator/forecast/counts.ts";
import { Forecaster } from "../../coordinator/forecast/forecaster.ts";
import type { DemandSource } from "../../coordinator/forecast/source.ts";
import { adjustForecast, withoutEffect } from "../../coordinator/signals/adjust.ts";
import { readCalendar } from "../../coordinator/signals/calendar.ts";
import { EventEffects } from "../../coordinator/signals/event-effects.ts";
import { placeEvent } from "../../coordinator/signals/rules.ts";
import { SignalSettings } from "../../coordinator/signals/settings.ts";
import type { PlacedEvent } from "../../coordinator/signals/timeline.ts";
import { type Random, seededRandom } from "../../shared/runtime/random.ts";

const MINUTE_MS = 60_000;
const START_MS = Date.UTC(2026, 2, 2);
const LEAD_MINUTES = 60;
const EVENT_MINUTES = 120;
/** Occurrences that are learned from before any is scored. */
const LEARNED = 3;

export type Scenario = {
  seed: number;
  days: number;
  /** Mean requests per minute. */
  rate: number;
  /** What the event multiplies demand by. */
  factor: number;
  /** Standard deviation of the level from hour to hour, relative. */
  wobble: number;
};
/** Mean pinball loss: in events, the hour after, where the unrelated calendar is, everywhere. */
type Errors = { event: number; after: number; elsewhere: number; all: number };
export type SignalsBench = {
  none: Errors;
  related: Errors;
  unrelated: Errors;
  /** As if the true factor had been known from the start: what is left is the demand's own noise. */
  known: Errors;
  events: number;
};

type Demand = { counts: Float64Array; events: number[]; others: number[] };

export function benchSignals(scenario: Scenario): SignalsBench {
  const demand = simulate(scenario);
  const run = (starts: readonly number[], known?: number) => forecastAll(demand, starts, known);
  const { events } = demand;
  return {
    none: run([]),
    related: run(events),
    unrelated: run(demand.others),
    known: run(events, scenario.factor),
    events: events.length,
  };
}

function simulate({ seed, days, rate, factor, wobble }: Scenario): Demand {
  const random = seededRandom(`signals ${seed}`);
  const times = random.fork("times");
  const events = eventStarts(times.fork("events"), days);
  const others = eventStarts(times.fork("others"), days);
  const on = new Set(events.flatMap((start) => range(start, start + EVENT_MINUTES)));
  const counts = new Float64Array(days * 1440);
  let level = 1;
  for (let minute = 0; minute < counts.length; minute++) {
    if (minute % 60 === 0) level = Math.exp(wobble * random.normal());
    const hour = (minute / 60) % 24;
    const weekend = Math.floor(minute / 1440) % 7 >= 5;
    const shape = (1 + 0.6 * Math.sin(((hour - 9) / 24) * 2 * Math.PI)) * (weekend ? 0.7 : 1.1);
    counts[minute] = poisson(random, rate * shape * level * (on.has(minute) ? factor : 1));
  }
  return { counts, events, others };
}

/** Minutes, two or three days apart, at any hour of the waking day. */
function eventStarts(random: Random, days: number): number[] {
  const starts: number[] = [];
  for (let day = 3; day < days - 1; day += 2 + random.int(2))
    starts.push(day * 1440 + (7 + random.int(14)) * 60 + 15 * random.int(4));
  return starts;
}

function forecastAll(demand: Demand, starts: readonly number[], known?: number): Errors {
  const effects = new EventEffects();
  effects.setEvents("bench", announced(starts));
  const effectOf: EventEffects["eventEffect"] = (w, c, startMs, binMs, bins) =>
    known === undefined
      ? effects.eventEffect(w, c, startMs, binMs, bins)
      : trueEffect(demand.events, Math.log(known), startMs, bins);
  let now = 0;
  const source = sourceOf(demand.counts, () => now);
  const clean: DemandSource = {
    ...source,
    series: (w, c, host, range_) => {
      const series = source.series(w, c, host, range_);
      const bins = series.counts.length;
      const effect = effectOf(w, c, series.startMs, series.binMs, bins);
      return { ...series, counts: withoutEffect(series, effect, `${w}/${c}`) };
    },
  };
  const forecaster = new Forecaster();
  const ask = (bins: number) => {
    const base = forecaster.forecast("w", "c", null, START_MS + now * MINUTE_MS, bins);
    const { startMs, binMs } = base;
    return adjustForecast(base, effectOf("w", "c", startMs, binMs, bins), countQuantiles);
  };
  const scored = demand.events.slice(LEARNED);
  const sums = { event: 0, after: 0, elsewhere: 0, all: 0 };
  const n = { event: 0, after: 0, elsewhere: 0, all: 0 };
  const score = (name: keyof Errors, quantiles: readonly number[], minute: number) => {
    sums[name] += pinballLoss(quantiles, demand.counts[minute] ?? 0);
    n[name]++;
  };
  const from = (demand.events[LEARNED] ?? 0) - LEAD_MINUTES;
  for (now = 1; now < demand.counts.length; now++) {
    forecaster.update(clean, START_MS + now * MINUTE_MS);
    effects.learnDue(source, START_MS + now * MINUTE_MS, 10);
    if (now < from) continue;
    for (const [name, of] of [
      ["event", scored],
      ["elsewhere", demand.others],
    ] as const) {
      if (!of.includes(now + LEAD_MINUTES)) continue;
      for (const [i, q] of ask(LEAD_MINUTES + EVENT_MINUTES).quantiles.entries())
        if (i >= LEAD_MINUTES) score(name, q, now + i);
    }
    const ended = scored.find((start) => start + EVENT_MINUTES === now);
    if (ended !== undefined)
      for (const [i, q] of ask(60).quantiles.entries()) score("after", q, now + i);
    if (now % 60 === 0) for (const [i, q] of ask(60).quantiles.entries()) score("all", q, now + i);
  }
  return {
    event: sums.event / n.event,
    after: sums.after / n.after,
    elsewhere: sums.elsewhere / n.elsewhere,
    all: sums.all / n.all,
  };
}

function trueEffect(events: readonly number[], log: number, startMs: number, bins: number) {
  const first = Math.round((startMs - START_MS) / MINUTE_MS);
  const on = (minute: number) => events.some((e) => minute >= e && minute < e + EVENT_MINUTES);
  const logEffect = Float64Array.from({ length: bins }, (_, i) => (on(first + i) ? log : 0));
  return { logEffect, sd: new Float64Array(bins) };
}

/** By way of a calendar's text and a rule, as the coordinator gets them. */
function announced(minutes: readonly number[]): PlacedEvent[] {
  const stamp = (ms: number) => new Date(ms).toISOString().replace(/[-:]|\.\d+/g, "");
  const text = [
    "BEGIN:VCALENDAR",
    ...minutes.flatMap((minute) => [
      ...["BEGIN:VEVENT", `UID:${minute}`, "SUMMARY:The event"],
      `DTSTART:${stamp(START_MS + minute * MINUTE_MS)}`,
      ...[`DURATION:PT${EVENT_MINUTES}M`, "END:VEVENT"],
    ]),
    "END:VCALENDAR",
  ].join("\r\n");
  const rules = [{ to: [{ workload: "w" }] }];
  const [source] = SignalSettings.parse({
    sources: [{ name: "calendar", type: "calendar", file: "bench.ics", rules }],
  }).sources;
  if (!source) throw new Error("no source");
  const span = { fromMs: START_MS, toMs: START_MS + 1000 * 1440 * MINUTE_MS, timeZone: undefined };
  return readCalendar(text, span).events.flatMap((event) => placeEvent(source, event));
}

/** The counts up to (not with) the minute under way. */
function sourceOf(counts: Float64Array, now: () => number): DemandSource {
  const minuteOf = (ms: number) => Math.round((ms - START_MS) / MINUTE_MS);
  return {
    binMs: MINUTE_MS,
    keys: () => [{ workload: "w", category: "c" }],
    series: (_w, _c, _host, { fromMs, toMs } = {}) => {
      const first = fromMs === undefined ? 0 : minuteOf(fromMs);
      const last = toMs === undefined ? now() : minuteOf(toMs);
      const part = new Float64Array(Math.max(0, last - first));
      for (let i = Math.max(first, 0); i < Math.min(last, now()); i++)
        part[i - first] = counts[i] ?? 0;
      return { startMs: START_MS + first * MINUTE_MS, binMs: MINUTE_MS, counts: part };
    },
    lastArrivalMs: () => {
      let last = Math.min(now(), counts.length) - 1;
      while (last >= 0 && !counts[last]) last--;
      return last < 0 ? null : START_MS + last * MINUTE_MS;
    },
    hostShare: () => new Map([["h", 1]]),
  };
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i);
}

function poisson(random: Random, mean: number): number {
  if (mean > 60) return Math.max(0, Math.round(mean + Math.sqrt(mean) * random.normal()));
  const limit = Math.exp(-mean);
  let count = 0;
  for (let product = random.next(); product > limit; product *= random.next()) count++;
  return count;
}

if (import.meta.main) {
  const print = (text: string) => process.stdout.write(`${text}\n`);
  const days = Number(process.argv[2] ?? 28);
  print(`${days} days, events of 2 h every 2 or 3 days; errors relative to no calendar`);
  for (const [rate, factor, wobble] of [
    [0.2, 3, 0.1],
    [2, 3, 0.1],
    [10, 3, 0.1],
    [50, 3, 0.1],
    [50, 3, 0.3],
    [10, 0.3, 0.1],
  ] as const) {
    const scenario = { seed: 1, days, rate, factor, wobble };
    const { none, related, unrelated, known, events } = benchSignals(scenario);
    const ratio = (a: number, b: number) => (a / b).toFixed(3);
    print(
      `${rate}/min ×${factor}, level ±${wobble * 100} %, ${events} events: ` +
        `in the event ${ratio(related.event, none.event)} (factor known: ` +
        `${ratio(known.event, none.event)}), hour after ${ratio(related.after, none.after)}, ` +
        `all minutes ${ratio(related.all, none.all)}; unrelated calendar: ` +
        `in its events ${ratio(unrelated.elsewhere, none.elsewhere)}, ` +
        `all minutes ${ratio(unrelated.all, none.all)}`,
    );
  }
}
