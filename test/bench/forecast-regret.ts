/**
 * How much worse than its best single expert the combined forecast is, per category, after 200
 * bins. Pinball loss over all levels of the next 1, 3 and 12 bins. Limit: 1.05.
 *
 *   node test/bench/forecast-regret.ts [SERIES.csv...] [--trace FILE]
 *
 * `--trace` takes what `prestage import` does, by the minute; without either, categories are
 * generated. Who was best is seen afterwards, so that the more alike experts are and the fewer bins
 * there were, the more of what is over 1 is luck: the standard error, by blocks of bins, tells.
 */
import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { parseArgs } from "node:util";
import { readTrace } from "../../coordinator/demand/import.ts";
import { parseTimestamp } from "../../coordinator/demand/timestamp.ts";
import { Ensemble } from "../../coordinator/forecast/ensemble.ts";
import { LEVELS } from "../../coordinator/forecast/levels.ts";
import type { Past } from "../../coordinator/forecast/model.ts";
import { parseSeries } from "../../coordinator/forecast/series-file.ts";
import { seededRandom } from "../../shared/runtime/random.ts";

const AFTER = 200;
const BINS_MAX = 3000;
const HORIZON = 12;
const DISTANCES = [1, 3, 12];
const LIMIT = 1.05;
const L = LEVELS.length;
const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;
const ACTIVE_MIN = 4;
const BLOCKS = 16;

function generated(kind: string): Past {
  const random = seededRandom(`regret ${kind}`);
  let level = 50;
  const counts = Float64Array.from({ length: 1500 }, (_, t) => {
    if (kind === "walk") level = Math.max(5, level + 6 * (random.next() - 0.5));
    if (kind === "step" && t === 800) level = 150;
    if (kind === "trend") level *= 1.001;
    if (kind === "late timer") return random.next() < 0.02 ? 0 : t % 15 === 0 ? 2 : 0;
    const day = kind === "daily" || kind === "step" ? 1 + 0.7 * Math.sin((t * Math.PI) / 12) : 1;
    if (kind === "sparse") return random.next() < 0.05 ? 1 + Math.floor(4 * random.next()) : 0;
    if (kind === "timer") return t % 7 === 0 ? 3 : 0;
    return Math.max(0, Math.round(level * day * (0.8 + 0.4 * random.next())));
  });
  return { startMs: 0, binMs: HOUR_MS, counts };
}

function loss(rows: Float64Array, ahead: number, actual: number): number {
  let sum = 0;
  for (let l = 0; l < L; l++) {
    const error = actual - (rows[(ahead - 1) * L + l] ?? 0);
    sum += error >= 0 ? (LEVELS[l] ?? 0) * error : ((LEVELS[l] ?? 0) - 1) * error;
  }
  return sum / L;
}

type Regret = { ratio: number; error: number; best: string };

/** Null of a category without demand in what is scored: its best expert says nothing, for nothing. */
function regret(past: Past): Regret | null {
  const counts = past.counts.subarray(0, BINS_MAX);
  const begins = Math.max(AFTER, Math.floor(counts.length / 4));
  if (!counts.subarray(begins).some((count) => count > 0)) return null;
  const fitted = Ensemble.fit({ ...past, counts: counts.subarray(0, begins) }, HORIZON);
  const mixed: number[] = [];
  const alone: number[][] = fitted.names.map(() => []);
  for (let t = begins; t + HORIZON <= counts.length; t++) {
    const scored = DISTANCES.filter((ahead) => !Number.isNaN(counts[t + ahead - 1] ?? Number.NaN));
    const lossOf = (rows: Float64Array) =>
      sum(scored.map((ahead) => loss(rows, ahead, counts[t + ahead - 1] ?? 0)));
    mixed.push(lossOf(fitted.predict(HORIZON)));
    for (const [e, rows] of fitted.expertRows(HORIZON).entries()) alone[e]?.push(lossOf(rows));
    fitted.update(counts[t] ?? Number.NaN);
  }
  // An expert that slept at times is no single expert.
  const sums = alone.map((losses) => sum(losses)).map((x) => (Number.isNaN(x) ? Infinity : x));
  const e = sums.indexOf(Math.min(...sums));
  // A thousandth of the mean, for categories that are foretold exactly.
  const mean = sum([...counts].filter((count) => !Number.isNaN(count))) / counts.length;
  const floor = mean * 1e-3 * DISTANCES.length * mixed.length + 1e-12;
  const best = (sums[e] ?? 0) + floor;
  const apart = mixed.map((x, i) => x - (alone[e]?.[i] ?? 0));
  return {
    ratio: (sum(mixed) + floor) / best,
    error: errorOfSum(apart) / best,
    best: fitted.names[e] ?? "",
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/** Standard error of the sum of what depends on its neighbours. */
function errorOfSum(values: readonly number[]): number {
  const size = values.length / BLOCKS;
  const blocks = Array.from({ length: BLOCKS }, (_, b) =>
    sum(values.slice(Math.floor(b * size), Math.floor((b + 1) * size))),
  );
  const mean = sum(blocks) / BLOCKS;
  const variance = sum(blocks.map((block) => (block - mean) ** 2)) / (BLOCKS - 1);
  return Math.sqrt(variance * BLOCKS);
}

async function recorded(file: string): Promise<[string, Past]> {
  const text = await readFile(file, "utf8");
  return [basename(file, ".csv"), parseSeries(text, file, parseTimestamp)];
}

/** Requests by the minute of each category that was active in so many. */
async function traced(file: string): Promise<[string, Past][]> {
  const minutes = new Map<string, Map<number, number>>();
  let first = Number.POSITIVE_INFINITY;
  let last = 0;
  for await (const { workload, category, timestampMs, count } of readTrace(file)) {
    const name = `${workload}/${category}`;
    const own = minutes.get(name) ?? new Map<number, number>();
    minutes.set(name, own);
    const minute = Math.floor(timestampMs / MINUTE_MS);
    own.set(minute, (own.get(minute) ?? 0) + count);
    first = Math.min(first, minute);
    last = Math.max(last, minute);
  }
  return [...minutes]
    .filter(([, own]) => own.size >= ACTIVE_MIN)
    .map(([name, own]) => {
      const counts = new Float64Array(last - first + 1);
      for (const [minute, count] of own) counts[minute - first] = count;
      return [name, { startMs: first * MINUTE_MS, binMs: MINUTE_MS, counts }];
    });
}

const { positionals, values: options } = parseArgs({
  allowPositionals: true,
  options: { trace: { type: "string" } },
});
const kinds = ["steady", "daily", "walk", "step", "trend", "sparse", "timer", "late timer"];
const all = await Promise.all(positionals.map(recorded));
if (options.trace) all.push(...(await traced(options.trace)));
if (all.length === 0) all.push(...kinds.map((kind): [string, Past] => [kind, generated(kind)]));
let [worst, over, surely, silent] = [0, 0, 0, 0];
for (const [name, past] of all) {
  const found = regret(past);
  if (!found) {
    silent++;
    continue;
  }
  const { ratio, error, best } = found;
  worst = Math.max(worst, ratio);
  if (ratio > LIMIT) over++;
  if (ratio - 2 * error > LIMIT) surely++;
  process.stdout.write(`${name.padEnd(32)} ${ratio.toFixed(3)} ± ${error.toFixed(3)} × ${best}\n`);
}
process.stdout.write(
  `worst of ${all.length - silent}: ${worst.toFixed(3)} (limit ${LIMIT}), ${over} over the limit, ` +
    `${surely} by more than two standard errors; ${silent} without demand left out\n`,
);
