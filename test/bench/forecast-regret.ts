/**
 * How much worse than its best single expert the combined forecast is, per category, after 200
 * bins: `node test/bench/forecast-regret.ts [SERIES.csv...]`; without files, generated categories.
 * Pinball loss over all levels of the next 1, 3 and 12 bins. Limit: 1.05.
 */
import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { parseArgs } from "node:util";
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

function regret(past: Past): { ratio: number; best: string } {
  const counts = past.counts.subarray(0, BINS_MAX);
  const begins = Math.max(AFTER, Math.floor(counts.length / 4));
  const fitted = Ensemble.fit({ ...past, counts: counts.subarray(0, begins) }, HORIZON);
  let mixed = 0;
  const alone = fitted.names.map(() => 0);
  for (let t = begins; t + HORIZON <= counts.length; t++) {
    const rows = fitted.predict(HORIZON);
    const experts = fitted.expertRows(HORIZON);
    for (const ahead of DISTANCES) {
      const actual = counts[t + ahead - 1] ?? Number.NaN;
      if (Number.isNaN(actual)) continue;
      mixed += loss(rows, ahead, actual);
      for (const [e, one] of experts.entries())
        alone[e] = (alone[e] ?? 0) + loss(one, ahead, actual);
    }
    fitted.update(counts[t] ?? Number.NaN);
  }
  // An expert that slept at times is no single expert.
  const best = Math.min(...alone.filter((sum) => !Number.isNaN(sum)));
  // A thousandth of the mean, for categories that are foretold exactly.
  const mean = counts.reduce((sum, count) => sum + (Number.isNaN(count) ? 0 : count), 0);
  const floor = (mean / counts.length) * 1e-3 * DISTANCES.length * (counts.length - begins) + 1e-12;
  return {
    ratio: (mixed + floor) / (best + floor),
    best: fitted.names[alone.indexOf(best)] ?? "",
  };
}

const { positionals } = parseArgs({ allowPositionals: true });
const kinds = ["steady", "daily", "walk", "step", "trend", "sparse", "timer", "late timer"];
const all: [string, Past][] = positionals.length
  ? await Promise.all(
      positionals.map(async (file): Promise<[string, Past]> => {
        return [
          basename(file, ".csv"),
          parseSeries(await readFile(file, "utf8"), file, parseTimestamp),
        ];
      }),
    )
  : kinds.map((kind) => [kind, generated(kind)]);
let worst = 0;
let over = 0;
for (const [name, past] of all) {
  const { ratio, best } = regret(past);
  worst = Math.max(worst, ratio);
  if (ratio > LIMIT) over++;
  process.stdout.write(`${name.padEnd(32)} ${ratio.toFixed(3)} × ${best}\n`);
}
process.stdout.write(
  `worst of ${all.length}: ${worst.toFixed(3)} (limit ${LIMIT}), ${over} over the limit\n`,
);
