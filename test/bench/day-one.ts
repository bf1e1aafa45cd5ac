/**
 * What forecasts of a new category are worth an hour after its first request, against those of the
 * same forecaster that has known it for two weeks:
 *
 *   node test/bench/day-one.ts [SERIES.csv ...] [--births 4] [--folds 3] [--only FLEET,...]
 *     [--series] [--network]
 *
 * A fleet of series; a third at a time is held out and forgotten, the others stay known. Each is
 * born with its first request after that, if one comes within hours. From 60 to 120 minutes after
 * its birth forecasts of the next hour are compared by pinball loss, each series' relative to its
 * mean count. Limit: 1.1. `bound`: the same of whoever knows afterwards which other series' course
 * (or a flat one) the newcomer would follow from the level it had shown, over how many minutes that
 * level is best taken, and how sure to be; where that is over 1, the series does what neither its
 * first hour nor any other series tells. `--series` prints each series, `--network` lets the
 * recurrent network that comes with the product speak too.
 *
 * Without files: recorded series of ../shared/traces, and made ones. Bins wider than a minute are
 * spread over their minutes by chance. Files (timestamp,value) are one fleet, the part of the name
 * before the first `-` or `_` its workload.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { parseTimestamp } from "../../coordinator/demand/timestamp.ts";
import { normalQuantile, pinballLoss } from "../../coordinator/forecast/counts.ts";
import { Forecaster } from "../../coordinator/forecast/forecaster.ts";
import type { Past } from "../../coordinator/forecast/model.ts";
import { RecurrentExpert } from "../../coordinator/forecast/recurrent/expert.ts";
import { priorState } from "../../coordinator/forecast/recurrent/prior.ts";
import { parseSeries } from "../../coordinator/forecast/series-file.ts";
import type { DemandSource } from "../../coordinator/forecast/source.ts";
import { QUANTILE_LEVELS } from "../../shared/domain.ts";
import { type Random, seededRandom } from "../../shared/runtime/random.ts";

const MINUTE_MS = 60_000;
const DAY = 1440;
const KNOWN_DAYS = 14;
/** Minutes after it was forgotten within which a series has to be born. */
const WAIT = 240;
/** Minutes before that from which forecasts are scored, so that the mix has settled. */
const WARM = 300;
const AGES = [60, 75, 90, 105, 120];
const AHEAD = 60;
const TRACES = join(import.meta.dirname, "../../../shared/traces");

type Series = { workload: string; category: string; counts: Float64Array };
type Fleet = { name: string; startMs: number; series: Series[] };
type Loss = { young: number; old: number; bound: number };
/** When a series was forecast, and the series that were known then. */
type Asked = { known: readonly Series[]; nows: number[] };

const { values, positionals } = parseArgs({
  options: {
    births: { type: "string", default: "4" },
    folds: { type: "string", default: "3" },
    only: { type: "string" },
    series: { type: "boolean", default: false },
    network: { type: "boolean", default: false },
  },
  allowPositionals: true,
});
const print = (text: string) => process.stdout.write(`${text}\n`);

const network = new RecurrentExpert();
network.use(priorState());
const outlook = (_: string, past: Past) =>
  new Map(network.awake ? [["recurrent", network.fit(past).predict(AHEAD)]] : []);

/** `forgotten`: minutes before which categories show nothing. */
function forecasterAt(fleet: Fleet, forgotten: ReadonlyMap<Series, number>, warmFrom: number) {
  let now = 0;
  const byName = new Map(fleet.series.map((one) => [`${one.workload}/${one.category}`, one]));
  const births = new Map<Series, number>();
  for (const one of fleet.series) births.set(one, birthOf(one, forgotten.get(one) ?? 0));
  const source: DemandSource = {
    binMs: MINUTE_MS,
    keys: () => fleet.series.filter((one) => (births.get(one) ?? 0) < now),
    series: (workload, category, _, { fromMs = fleet.startMs, toMs } = {}) => {
      const one = byName.get(`${workload}/${category}`);
      const from = Math.round((fromMs - fleet.startMs) / MINUTE_MS);
      const to = toMs === undefined ? now : Math.round((toMs - fleet.startMs) / MINUTE_MS);
      const counts = new Float64Array(Math.max(0, to - from));
      const first = Math.max(from, 0, one ? (births.get(one) ?? 0) : 0);
      for (let at = first; at < Math.min(to, now); at++) counts[at - from] = one?.counts[at] ?? 0;
      return { startMs: fleet.startMs + from * MINUTE_MS, binMs: MINUTE_MS, counts };
    },
    lastArrivalMs: (workload, category) => {
      const one = byName.get(`${workload}/${category}`);
      for (let at = now - 1; one && at >= (births.get(one) ?? 0); at--)
        if ((one.counts[at] ?? 0) > 0) return fleet.startMs + at * MINUTE_MS;
      return null;
    },
    hostShare: () => new Map([["h", 1]]),
  };
  const forecaster = new Forecaster(values.network ? { outlook } : {});
  const to = (until: number) => {
    for (now = Math.max(now, warmFrom); now <= until; now++)
      forecaster.update(source, fleet.startMs + now * MINUTE_MS);
    now = until;
  };
  const lossOf = (one: Series) => {
    const nowMs = fleet.startMs + now * MINUTE_MS;
    const { quantiles } = forecaster.forecast(one.workload, one.category, null, nowMs, AHEAD);
    const losses = quantiles.map((row, i) => pinballLoss(row, one.counts[now + i] ?? 0));
    return losses.reduce((sum, loss) => sum + loss, 0) / AHEAD;
  };
  return { to, lossOf };
}

/** Its first minute from `from` on that has a request. */
function birthOf({ counts }: Series, from: number): number {
  const first = counts.subarray(from).findIndex((count) => count > 0);
  return first < 0 ? Number.POSITIVE_INFINITY : from + first;
}

/** What is forecast when, in order, after all was forgotten at `from`. */
function askedOf(series: readonly Series[], from: number): [now: number, one: Series][] {
  return series
    .map((one) => ({ one, birth: birthOf(one, from) }))
    .filter(({ birth }) => birth < from + WAIT)
    .flatMap(({ one, birth }) => AGES.map((age): [number, Series] => [birth + age, one]))
    .sort(([a], [b]) => a - b);
}

function judge(fleet: Fleet): Map<Series, Loss> {
  const losses = new Map<Series, Loss>();
  const bins = Math.min(...fleet.series.map(({ counts }) => counts.length));
  const births = Number(values.births);
  const folds = Math.min(Number(values.folds), fleet.series.length);
  const asked = new Map<Series, Asked>();
  const add = (one: Series, what: keyof Loss, loss: number) => {
    const sums = losses.get(one) ?? { young: 0, old: 0, bound: 0 };
    sums[what] += loss;
    losses.set(one, sums);
  };
  for (let b = 0; b < births; b++) {
    // At different hours, in the last days.
    const last = bins - WAIT - Math.max(...AGES) - AHEAD - 1;
    const from = last - Math.floor((b * 2 * DAY) / births) - 137 * b;
    const old = forecasterAt(fleet, new Map(), from - WARM);
    for (const [now, one] of askedOf(fleet.series, from)) {
      old.to(now);
      add(one, "old", old.lossOf(one));
    }
    for (let fold = 0; fold < folds; fold++) {
      const held = fleet.series.filter((_, i) => i % folds === fold);
      const young = forecasterAt(fleet, new Map(held.map((one) => [one, from])), from - WARM);
      const known = fleet.series.filter((one) => !held.includes(one));
      for (const [now, one] of askedOf(held, from)) {
        young.to(now);
        add(one, "young", young.lossOf(one));
        const { nows } = asked.get(one) ?? { nows: [] };
        asked.set(one, { known, nows: [...nows, now] });
      }
    }
  }
  for (const [one, { known, nows }] of asked) add(one, "bound", boundOf(one, known, nows));
  return losses;
}

const COURSE_REACH = 7;
const BOUND_SHOWN = [3, 10, 30, 60];
const BOUND_SPREADS = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8];
/** How much wider it is an hour ahead. */
const BOUND_GROWTHS = [0, 1, 3];
const NORMAL = QUANTILE_LEVELS.map(normalQuantile);
/** Minutes that are not known yet when a forecast is made. */
const SETTLE = 2;

/** Least sum of the losses at `nows` of one choice for all of them. */
function boundOf({ counts }: Series, known: readonly Series[], nows: readonly number[]): number {
  let least = Number.POSITIVE_INFINITY;
  for (const other of [null, ...known]) {
    for (const shown of BOUND_SHOWN) {
      const courses = nows.map((now) => {
        const level = meanOf(counts.subarray(now - SETTLE - shown, now - SETTLE));
        return followed(other?.counts ?? null, level, now, shown);
      });
      for (const spread of BOUND_SPREADS) {
        for (const growth of BOUND_GROWTHS) {
          let loss = 0;
          for (const [n, now] of nows.entries()) {
            for (const [i, middle] of (courses[n] ?? []).entries()) {
              const width = middle * spread * (1 + (growth * i) / AHEAD);
              const row = NORMAL.map((z) => Math.max(0, middle + z * width));
              loss += pinballLoss(row, counts[now + i] ?? 0) / AHEAD;
            }
            if (loss > least) break;
          }
          least = Math.min(least, loss);
        }
      }
    }
  }
  return least;
}

/** The hour from `now` on of who goes on from `level` as the other did from what it had. */
function followed(other: Float64Array | null, level: number, now: number, shown: number) {
  if (!other) return Array<number>(AHEAD).fill(level);
  const base = meanOf(other.subarray(now - SETTLE - shown, now - SETTLE));
  return Array.from({ length: AHEAD }, (_, i) => {
    const rate = meanOf(other.subarray(now + i - COURSE_REACH, now + i + COURSE_REACH + 1));
    return (level * rate) / Math.max(base, 1e-9);
  });
}

const meanOf = (counts: Float64Array) =>
  counts.reduce((sum, count) => sum + count, 0) / Math.max(1, counts.length);

function report(fleet: Fleet): void {
  const losses = [...judge(fleet)].filter(([, { old }]) => old > 0);
  const sum = (what: keyof Loss) =>
    losses.reduce((total, [one, loss]) => total + loss[what] / meanOf(one.counts), 0);
  const logs = losses.map(([, { young, old }]) => Math.log(young / old)).sort((a, b) => a - b);
  const geometric = Math.exp(logs.reduce((total, log) => total + log, 0) / logs.length);
  const at = (share: number) => Math.exp(logs[Math.floor(share * (logs.length - 1))] ?? 0);
  const of = (loss: number, old: number) => (loss / old).toFixed(3);
  if (values.series)
    for (const [{ category }, { young, old, bound }] of losses)
      print(`  ${category.padEnd(30)} ratio ${of(young, old)}  bound ${of(bound, old)}`);
  print(
    `${fleet.name.padEnd(12)} ${String(losses.length).padStart(3)} series  ` +
      `ratio ${of(sum("young"), sum("old"))}  bound ${of(sum("bound"), sum("old"))}  ` +
      `geometric ${geometric.toFixed(3)}  ` +
      `p25 ${at(0.25).toFixed(2)} p50 ${at(0.5).toFixed(2)} p90 ${at(0.9).toFixed(2)}`,
  );
}

/** Counts of wider bins, each request in a minute of its bin by chance. */
function toMinutes(counts: readonly number[], width: number, random: Random): Float64Array {
  const minutes = new Float64Array(counts.length * width);
  for (const [bin, count] of counts.entries()) {
    let left = Math.round(count);
    for (let i = 0; i < width; i++) {
      const share = 1 / (width - i);
      const mean = left * share;
      const drawn =
        i === width - 1 ? left : Math.round(mean + Math.sqrt(mean * (1 - share)) * random.normal());
      const taken = Math.max(0, Math.min(left, drawn));
      minutes[bin * width + i] = taken;
      left -= taken;
    }
  }
  return minutes.subarray(Math.max(0, minutes.length - KNOWN_DAYS * DAY));
}

function columns(file: string): { names: string[]; rows: string[][] } {
  const lines = readFileSync(file, "utf8").trim().split(/\r?\n/);
  const [head = "", ...rest] = lines;
  return { names: head.split(","), rows: rest.map((line) => line.split(",")) };
}

function made(random: Random): Fleet {
  const series: Series[] = [];
  for (let w = 0; w < 4; w++) {
    const peak = random.next() * DAY;
    const depth = 0.3 + 0.6 * random.next();
    for (let c = 0; c < 6; c++) {
      const rate = 0.5 * 1000 ** random.next();
      let level = 0;
      const counts = Float64Array.from({ length: KNOWN_DAYS * DAY }, (_, t) => {
        level = level * 0.99 + 0.02 * random.normal();
        const mean =
          rate * (1 + depth * Math.cos((2 * Math.PI * (t - peak)) / DAY)) * Math.exp(level);
        const count = mean + Math.sqrt(1.3 * mean) * random.normal();
        return Math.max(0, mean < 5 ? poisson(mean, random) : Math.round(count));
      });
      series.push({ workload: `w${w}`, category: `w${w}c${c}`, counts });
    }
  }
  return { name: "made", startMs: Date.UTC(2026, 0, 5), series };
}

function poisson(mean: number, random: Random): number {
  let product = random.next();
  let count = 0;
  for (; product > Math.exp(-mean); count++) product *= random.next();
  return count;
}

function recorded(random: Random): Fleet[] {
  const crane = join(TRACES, "metrics-crane");
  const tweets = join(TRACES, "metrics-nab/realTweets");
  const chats = columns(join(TRACES, "llm-servegen-2025/m-small.csv"));
  const fleetOf = (name: string, series: Series[]) => ({
    name,
    startMs: Date.UTC(2026, 0, 5),
    series,
  });
  const inFolder = (folder: string, width: number, workload: string) =>
    readdirSync(folder).map((file) => {
      const { rows } = columns(join(folder, file));
      const counts = rows.map((row) => Number(row[1]));
      const mean = counts.reduce((sum, count) => sum + count, 0) / counts.length;
      const scale = mean < 10 ? 100 / mean : 1;
      const scaled = counts.map((count) => count * scale);
      return {
        workload,
        category: basename(file, ".csv"),
        counts: toMinutes(scaled.slice((-KNOWN_DAYS * DAY) / width), width, random),
      };
    });
  const clients = chats.names.slice(1).map((category, i) => {
    const counts = chats.rows.map((row) => Number(row[i + 1]));
    return { workload: "chat", category, counts: toMinutes(counts, 10, random) };
  });
  return [
    fleetOf("crane", inFolder(crane, 1, "metrics")),
    fleetOf("tweets", inFolder(tweets, 5, "tweets")),
    fleetOf(
      "servegen",
      clients.filter((one) => meanOf(one.counts) > 0.05),
    ),
  ];
}

function ofFiles(files: readonly string[], random: Random): Fleet {
  const series = files.map((file) => {
    const past = parseSeries(readFileSync(file, "utf8"), file, parseTimestamp);
    const counts = [...past.counts].map((count) => (Number.isNaN(count) ? 0 : count));
    const width = Math.max(1, Math.round(past.binMs / MINUTE_MS));
    const category = basename(file, ".csv");
    const workload = category.split(/[-_]/)[0] ?? category;
    return { workload, category, counts: toMinutes(counts, width, random) };
  });
  return { name: "files", startMs: Date.UTC(2026, 0, 5), series };
}

const random = seededRandom("day one");
const fleets =
  positionals.length > 0
    ? [ofFiles(positionals, random)]
    : [made(random.fork("made")), ...(existsSync(TRACES) ? recorded(random) : [])];
for (const fleet of fleets)
  if (!values.only || values.only.split(",").includes(fleet.name)) report(fleet);
