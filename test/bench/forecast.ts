/**
 * What the live forecaster costs: `node test/bench/forecast.ts [--categories 1000] [--days 16]
 * [--kinds timer,chance,busy]`. A third timers, a third chance arrivals of rates from one a day to
 * one a minute, a third busy ones with a daily curve; `weekly` are busy ones with less demand on
 * days off. Times are those of one core. Limits: full refit 30 s, a new minute of all with
 * forecasts of an hour 1 s, 600 MB.
 */
import { parseArgs } from "node:util";
import { DemandHistory } from "../../coordinator/demand/history.ts";
import { Forecaster } from "../../coordinator/forecast/forecaster.ts";
import { seededRandom } from "../../shared/runtime/random.ts";

const MINUTE_MS = 60_000;
const TICKS = 40;
const { values } = parseArgs({
  options: {
    categories: { type: "string", default: "1000" },
    days: { type: "string", default: "16" },
    kinds: { type: "string", default: "timer,chance,busy" },
  },
});
const random = seededRandom("forecast bench");
const kinds = values.kinds.split(",");
const categories = Array.from({ length: Number(values.categories) }, (_, i) => {
  const kind = kinds[i % kinds.length] ?? "busy";
  const gap = 1440 ** random.next();
  return { category: `c${i}`, kind, gap, next: random.next() * gap, rate: 100 ** random.next() };
});
const history = new DemandHistory();
const forecaster = new Forecaster();
const startMinute = Math.floor(Date.UTC(2024, 0, 1) / MINUTE_MS);
let minute = 0;

function play(until: number): void {
  for (const one of categories) {
    const add = (at: number, count: number) =>
      history.add({
        workload: "w",
        category: one.category,
        host: "h",
        startMs: (startMinute + Math.floor(at)) * MINUTE_MS,
        count,
      });
    const steady = one.kind === "busy" || one.kind === "weekly";
    if (steady) {
      for (let at = minute; at < until; at++) {
        // The first day is a Monday.
        const share = one.kind === "weekly" && Math.floor(at / 1440) % 7 >= 5 ? 0.4 : 1;
        const mean = share * one.rate * (1.2 + Math.sin((2 * Math.PI * at) / 1440));
        add(at, Math.max(0, Math.round(mean + Math.sqrt(mean) * random.normal())));
      }
    }
    while (!steady && one.next < until) {
      add(one.next, 1);
      one.next +=
        one.kind === "timer" ? Math.max(1, Math.round(one.gap)) : random.exponential(one.gap);
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
const each = (what: (category: string) => void) => () => {
  for (const { category } of categories) what(category);
};

play(Number(values.days) * 1440);
print(`${categories.length} categories, ${values.days} days of history`);
forecaster.read(history);
const fits = timed(each((category) => forecaster.prepare({ workload: "w", category }, nowMs())));
print(`full refit          ${(fits / 1000).toFixed(1)} s (limit 30)`);
print(`first update        ${timed(() => forecaster.update(history, nowMs())).toFixed(0)} ms`);
const updates: number[] = [];
const curves: number[] = [];
const forecasts: number[] = [];
for (let tick = 0; tick < TICKS; tick++) {
  play(minute + 1);
  updates.push(timed(() => forecaster.update(history, nowMs())));
  curves.push(timed(each((category) => forecaster.arrival("w", category, nowMs()))));
  const hour = (category: string) => forecaster.forecast("w", category, null, nowMs(), 60);
  forecasts.push(timed(each(hour)));
}
const summary = (times: number[]) => {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (share: number) => (sorted[Math.floor(share * (sorted.length - 1))] ?? 0).toFixed(1);
  return `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms`;
};
print(`update a minute     ${summary(updates)}`);
print(`all curves, 120 min ${summary(curves)}`);
print(`all forecasts, 60   ${summary(forecasts)}`);
const minutes = updates.map((ms, i) => ms + (curves[i] ?? 0) + (forecasts[i] ?? 0));
print(`a minute, altogether  ${summary(minutes)} (limit 1000)`);
print(`state               ${(JSON.stringify(forecaster.state()).length / 1e6).toFixed(1)} MB`);
print(`history             ${(history.bytes / 1e6).toFixed(1)} MB`);
print(`resident            ${(process.memoryUsage.rss() / 1e6).toFixed(0)} MB (limit 600)`);
