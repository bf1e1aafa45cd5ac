/**
 * What the hazard model is worth for keeping and loading environments, against fixed keep-alives.
 *
 *   node test/bench/hazard.ts [--trace FILE] [--samples 8] [--size 30] [--seed 1] [--play 60]
 *                             [--lead 0] [--settle 0]
 *
 * Policy: an environment is loaded in minute m iff hazard(m | idle so far) > price, decided with
 * what was known when m began (`--lead` minutes earlier when it has to be loaded first). `cold`
 * counts minutes with an arrival and no environment, `memory` minutes loaded or serving, `loads`
 * how often one was made. All as shares of what a fixed 10-minute keep-alive has on the same
 * minutes. `--play` is how many last minutes are scored; the whole trace = learning from zero.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { DemandHistory } from "../../coordinator/demand/history.ts";
import { readTrace } from "../../coordinator/demand/import.ts";
import { Forecaster } from "../../coordinator/forecast/forecaster.ts";
import { type Random, seededRandom } from "../../shared/runtime/random.ts";

const MINUTE_MS = 60_000;
const PRICES = [0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2];
const KEEP_ALIVES = [5, 10, 20, 60];
const CONSTANT_SHARE = 0.9;

type Demand = { name: string; counts: Uint32Array };
type Played = { demand: Demand; now: Float64Array; ahead: Float64Array };
type Score = { cold: number; memory: number; loads: number; arrivals: number };

const { values: options } = parseArgs({
  options: {
    trace: {
      type: "string",
      default: join(
        import.meta.dirname,
        "../../../shared/traces/functions-azure-2019/invocations.csv",
      ),
    },
    samples: { type: "string", default: "8" },
    size: { type: "string", default: "30" },
    seed: { type: "string", default: "1" },
    play: { type: "string", default: "60" },
    lead: { type: "string", default: "0" },
    settle: { type: "string", default: "0" },
  },
});
const playMinutes = Number(options.play);
const lead = Number(options.lead);

const { startMs, minutes, all } = await load(options.trace);
const from = Math.max(0, minutes - playMinutes);
const eligible = all.filter((demand) => worthPlaying(demand, minutes - 60));
print(
  `${all.length} categories, ${eligible.length} neither constant nor silent in the last hour; ` +
    `minutes ${from}–${minutes} of ${minutes} scored, lead ${lead} min`,
);
const random = seededRandom(options.seed);
const samples = Array.from({ length: Number(options.samples) }, () =>
  pick(eligible, Number(options.size), random),
);
report(`${samples.length} samples of ${options.size}`, samples.map(play));
report(`all ${eligible.length} together`, [play(eligible)]);

async function load(file: string) {
  const rows = new Map<string, { timestampMs: number; count: number }[]>();
  let firstMs = Number.POSITIVE_INFINITY;
  let lastMs = 0;
  for await (const row of readTrace(file)) {
    const name = `${row.workload}/${row.category}`;
    const list = rows.get(name);
    if (list) list.push(row);
    else rows.set(name, [row]);
    firstMs = Math.min(firstMs, row.timestampMs);
    lastMs = Math.max(lastMs, row.timestampMs);
  }
  const startMs = Math.floor(firstMs / MINUTE_MS) * MINUTE_MS;
  const minutes = Math.floor((lastMs - startMs) / MINUTE_MS) + 1;
  const all = [...rows].map(([name, list]) => {
    const counts = new Uint32Array(minutes);
    for (const { timestampMs, count } of list) {
      const at = Math.floor((timestampMs - startMs) / MINUTE_MS);
      counts[at] = (counts[at] ?? 0) + count;
    }
    return { name, counts };
  });
  return { startMs, minutes, all };
}

function worthPlaying({ counts }: Demand, lastHour: number): boolean {
  let active = 0;
  let late = 0;
  for (const [minute, count] of counts.entries()) {
    if (count === 0) continue;
    active++;
    if (minute >= lastHour) late++;
  }
  return active < CONSTANT_SHARE * counts.length && late > 0;
}

function pick(from: readonly Demand[], size: number, random: Random): Demand[] {
  const left = [...from];
  return Array.from({ length: Math.min(size, left.length) }, () =>
    left.splice(random.int(left.length), 1),
  ).flat();
}

/** The hazards as they were known, minute by minute: the history never holds a later minute. */
function play(demands: readonly Demand[]): Played[] {
  const history = new DemandHistory();
  const forecaster = new Forecaster({ settleMinutes: Number(options.settle), scoring: false });
  const played = demands.map((demand) => ({
    demand,
    now: new Float64Array(minutes),
    ahead: new Float64Array(minutes),
  }));
  for (let minute = 0; minute < minutes; minute++) {
    const nowMs = startMs + minute * MINUTE_MS;
    forecaster.update(history, nowMs);
    for (const { demand, now, ahead } of played) {
      const [workload = "", category = ""] = demand.name.split("/");
      if (minute + lead >= from && minute < minutes) {
        const { hazardPerMinute } = forecaster.arrival(workload, category, nowMs);
        now[minute] = hazardPerMinute[0] ?? 0;
        if (minute + lead < minutes) ahead[minute + lead] = hazardPerMinute[lead] ?? 0;
      }
      const count = demand.counts[minute] ?? 0;
      if (count > 0) history.add({ workload, category, host: "h", startMs: nowMs, count });
    }
  }
  return played;
}

function score(played: readonly Played[], loadedIn: (p: Played) => (m: number) => boolean): Score {
  const total = { cold: 0, memory: 0, loads: 0, arrivals: 0 };
  for (const one of played) {
    const wanted = loadedIn(one);
    let before = from > 0 && wanted(from - 1);
    for (let minute = from; minute < minutes; minute++) {
      const active = (one.demand.counts[minute] ?? 0) > 0;
      const loaded = wanted(minute);
      if (active) total.arrivals++;
      if (active && !loaded) total.cold++;
      if (active || loaded) total.memory++;
      if ((active || loaded) && !before) total.loads++;
      before = active || loaded;
    }
  }
  return total;
}

function keepAlive(idleMinutes: number) {
  return ({ demand }: Played) =>
    (minute: number) =>
      demand.counts.subarray(Math.max(0, minute - idleMinutes), minute).some((count) => count > 0);
}

function hazardOver(price: number) {
  return ({ demand, now, ahead }: Played) => {
    let held = false;
    return (minute: number) => {
      const there = held || (demand.counts[minute - 1] ?? 0) > 0;
      held = ((there ? now[minute] : ahead[minute]) ?? 0) > price;
      return held;
    };
  };
}

function report(title: string, runs: readonly (readonly Played[])[]): void {
  const sum = (policy: (p: Played) => (m: number) => boolean) =>
    runs.map((run) => score(run, policy));
  const reference = sum(keepAlive(10));
  print(`\n${title}`);
  print("policy          cold   memory  loads   worst sample: cold  memory");
  for (const idle of KEEP_ALIVES) print(line(`fixed-${idle}`, sum(keepAlive(idle)), reference));
  for (const price of PRICES) print(line(`price ${price}`, sum(hazardOver(price)), reference));
}

function line(name: string, scores: readonly Score[], reference: readonly Score[]): string {
  const ratio = (of: keyof Score) =>
    scores.reduce((sum, score) => sum + score[of], 0) /
    reference.reduce((sum, score) => sum + score[of], 0);
  const worst = (of: keyof Score) =>
    Math.max(...scores.map((score, i) => score[of] / Math.max(1, reference[i]?.[of] ?? 1)));
  const columns = [ratio("cold"), ratio("memory"), ratio("loads"), worst("cold"), worst("memory")];
  const [cold, memory, loads, worstCold, worstMemory] = columns.map((c) => c.toFixed(3));
  return `${name.padEnd(14)}  ${cold}  ${memory}   ${loads}   ${" ".repeat(14)}${worstCold}  ${worstMemory}`;
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
