import { expect, test } from "vitest";
import { type Clock, systemClock } from "../shared/runtime/clock.ts";
import { Metrics } from "../shared/runtime/metrics.ts";
import { seededRandom } from "../shared/runtime/random.ts";
import { DemandHistory } from "./demand/history.ts";
import { UTC_CALENDAR } from "./forecast/calendar.ts";
import { Foresight } from "./foresight.ts";

const MINUTE = 60_000;
const START = Date.UTC(2026, 10, 20);
const never = new AbortController().signal;

/** A daily curve, a timer and a category that is born in the second day. */
function historyUntil(minutes: number): DemandHistory {
  const history = new DemandHistory();
  const random = seededRandom("foresight");
  for (let minute = 0; minute < minutes; minute++) {
    const mean = 30 * (1.2 + Math.sin((2 * Math.PI * minute) / 1440));
    const add = (category: string, count: number) =>
      history.add({ workload: "w", category, host: "h", startMs: START + minute * MINUTE, count });
    add("daily", Math.max(0, Math.round(mean + Math.sqrt(mean) * random.normal())));
    if (minute % 25 === 0) add("timer", 1);
    if (minute > 1500) add("young", 3 + random.int(5));
  }
  return history;
}

function foresight(
  history: DemandHistory,
  clock: { minute: number },
  saved: unknown,
  metrics = new Metrics(),
) {
  const demandClock: Clock = { ...systemClock, now: () => START + clock.minute * MINUTE };
  return new Foresight({
    clock: systemClock,
    demandClock,
    metrics,
    history,
    eventEffect: () => null,
    calendar: UTC_CALENDAR,
    outlook: () => new Map(),
    forecastState: saved,
  });
}

const answers = (of: Foresight, nowMs: number) =>
  ["daily", "timer", "young", "never"].map((category) => [
    of.forecast("w", category, null, 60),
    of.forecast("w", category, "h", 5),
    of.curve("w", category, nowMs).hazardPerMinute,
  ]);

test("foresight: a restart changes no forecast, bit by bit (40 minutes after it was saved)", async () => {
  const clock = { minute: 1400 };
  const history = historyUntil(1800);
  const stays = foresight(history, clock, null);
  let saved: unknown = null;
  for (; clock.minute < 1700; clock.minute++) {
    stays.update(START + clock.minute * MINUTE);
    if (clock.minute === 1659) saved = JSON.parse(JSON.stringify(stays.state()));
  }
  clock.minute = 1699;
  const restarted = foresight(historyUntil(1800), clock, saved);
  await restarted.prepare(never);
  restarted.update(START + clock.minute * MINUTE);
  const nowMs = START + clock.minute * MINUTE + 20_000;
  expect(answers(restarted, nowMs)).toEqual(answers(stays, nowMs));
  expect(restarted.state()).toEqual(stays.state());
  expect(restarted.forecast("w", "daily", null, 60).mix.ensemble).toBeGreaterThan(0.1);
}, 60_000);

test("foresight: learns an imported past anew, and scores its end", async () => {
  const clock = { minute: 1600 };
  const metrics = new Metrics();
  const of = foresight(historyUntil(1600), clock, null, metrics);
  await of.relearn(never);
  of.update(START + clock.minute * MINUTE);
  expect(of.calibration().samples).toBeGreaterThan(50);
  const { watch, recent } = of.watched("w", "young", 120);
  expect(recent).toHaveLength(120);
  expect(recent.slice(0, 19)).toEqual(new Array(19).fill(0));
  expect(recent.at(-1)).toBeGreaterThan(0);
  expect(watch.scores?.coverage90).toBeGreaterThan(0.5);
  const text = await metrics.text();
  expect(text).toMatch(/prestage_forecast_scored_categories 3/);
  expect(text).toMatch(/prestage_forecast_coverage_ratio\{quantile="0.5"\} [\d.]+/);
  expect(text).toMatch(/prestage_forecast_fits_total [1-9]/);
}, 60_000);

test("foresight: while the history is replaced what was learned serves on, until it is learned anew", async () => {
  const clock = { minute: 300 };
  const of = foresight(historyUntil(2000), clock, null);
  const tick = () => of.update(START + clock.minute * MINUTE);
  expect(tick()).toBe(true);
  const before = of.state();
  of.freeze();
  for (; clock.minute < 310; clock.minute++) expect(tick()).toBe(false);
  expect(of.state()).toEqual(before);
  const learned = of.relearn(never);
  of.freeze(); // another one begins meanwhile
  await learned;
  clock.minute++;
  expect(tick()).toBe(false);
  await of.relearn(never);
  clock.minute++;
  expect(tick()).toBe(true);
});

test("foresight: a state from the future is not taken (a replay that starts again)", () => {
  const clock = { minute: 300 };
  const of = foresight(historyUntil(300), clock, null);
  of.update(START + 300 * MINUTE);
  const again = foresight(historyUntil(300), { minute: 10 }, of.state());
  expect(again.state()).toBeNull();
});
