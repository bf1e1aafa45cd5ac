/**
 * What a minute's tick of the forecaster costs: `node test/bench/forecast.ts [--categories 1000]
 * [--days 3]`. Half timers, half chance arrivals of rates from one a day to one a minute.
 */
import { parseArgs } from "node:util";
import { DemandHistory } from "../../coordinator/demand/history.ts";
import { Forecaster } from "../../coordinator/forecast/forecaster.ts";
import { seededRandom } from "../../shared/runtime/random.ts";

const MINUTE_MS = 60_000;
const TICKS = 60;
const { values } = parseArgs({
  options: {
    categories: { type: "string", default: "1000" },
    days: { type: "string", default: "3" },
  },
});
const random = seededRandom("forecast bench");
const categories = Array.from({ length: Number(values.categories) }, (_, i) => {
  const gap = 1440 ** random.next();
  return { category: `c${i}`, gap, timer: i % 2 === 0, next: random.next() * gap };
});
const history = new DemandHistory();
const forecaster = new Forecaster();
const startMinute = Math.floor(Date.UTC(2024, 0, 1) / MINUTE_MS);
let minute = 0;

function play(until: number): void {
  for (const one of categories) {
    while (one.next < until) {
      const startMs = (startMinute + Math.floor(one.next)) * MINUTE_MS;
      history.add({ workload: "w", category: one.category, host: "h", startMs, count: 1 });
      one.next += one.timer ? Math.max(1, Math.round(one.gap)) : random.exponential(one.gap);
    }
  }
  minute = until;
}
const timed = (what: () => void): number => {
  const before = process.cpuUsage();
  what();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
};
const print = (text: string) => process.stdout.write(`${text}\n`);
const nowMs = () => (startMinute + minute) * MINUTE_MS;

play(Number(values.days) * 1440);
print(`${categories.length} categories, ${values.days} days of history`);
print(`first update        ${timed(() => forecaster.update(history, nowMs())).toFixed(0)} ms`);
const updates: number[] = [];
const curves: number[] = [];
for (let tick = 0; tick < TICKS; tick++) {
  play(minute + 1);
  updates.push(timed(() => forecaster.update(history, nowMs())));
  const all = () => {
    for (const { category } of categories) forecaster.arrival("w", category, nowMs());
  };
  curves.push(timed(all));
}
const summary = (times: number[]) => {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (share: number) => (sorted[Math.floor(share * (sorted.length - 1))] ?? 0).toFixed(1);
  return `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms`;
};
print(`update a minute     ${summary(updates)}`);
print(`all curves, 120 min ${summary(curves)}`);
const forecasts = timed(() => {
  for (const { category } of categories.slice(0, 100)) {
    forecaster.forecast("w", category, null, nowMs(), 60);
  }
});
print(`one forecast, 60 bins  ${(forecasts / 100).toFixed(2)} ms`);
print(`state               ${(JSON.stringify(forecaster.state()).length / 1e6).toFixed(1)} MB`);
print(`history             ${(history.bytes / 1e6).toFixed(1)} MB`);
