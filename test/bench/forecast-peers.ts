/**
 * Our forecasts beside others' answers: `node test/bench/forecast-peers.ts SERIES_DIR NAIVE.csv
 * [ANSWER.csv...] [--horizon 12] [--origins 12]`. Answers have the columns `series,origin,step` and
 * `q0.01` … `q0.99`. Prints the pinball loss as a ratio to the naive answer (geometric mean over
 * series, each with 2 % of its size added), the coverage of the 90 % interval, and ours over the
 * best other.
 */
import { readdir, readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { csvText } from "../../coordinator/cli/series-forecast.ts";
import { parseTimestamp } from "../../coordinator/demand/timestamp.ts";
import { LEVELS } from "../../coordinator/forecast/levels.ts";
import { parseSeries } from "../../coordinator/forecast/series-file.ts";
import { forecastFiles } from "../../coordinator/forecasting.ts";

type Score = { loss: Map<string, number>; size: Map<string, number>; inside: number; n: number };

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    horizon: { type: "string", default: "12" },
    origins: { type: "string", default: "12" },
  },
});
const [folder, naiveFile, ...answerFiles] = positionals;
if (!folder || !naiveFile) throw new Error("give SERIES_DIR and NAIVE.csv");
const names = (await readdir(folder)).filter((name) => name.endsWith(".csv"));
const files = names.map((name) => join(folder, name));
const actual = new Map<string, Float64Array>();
for (const file of files) {
  actual.set(
    basename(file, ".csv"),
    parseSeries(await readFile(file, "utf8"), file, parseTimestamp).counts,
  );
}

function scored(csv: string): Score {
  const score: Score = { loss: new Map(), size: new Map(), inside: 0, n: 0 };
  const [head = "", ...lines] = csv.trim().split(/\r?\n/);
  const columns = head.replaceAll('"', "").split(",");
  const at = (name: string) => columns.indexOf(name);
  for (const line of lines) {
    const fields = line.replaceAll('"', "").split(",");
    const field = (name: string) => Number(fields[at(name)]);
    const series = fields[at("series")] ?? "";
    const count = actual.get(series)?.[field("origin") + field("step") - 1] ?? Number.NaN;
    if (Number.isNaN(count)) continue;
    let loss = 0;
    for (const level of LEVELS) {
      const error = count - field(`q${level}`);
      loss += Math.max(level * error, (level - 1) * error) / LEVELS.length;
    }
    score.loss.set(series, (score.loss.get(series) ?? 0) + loss);
    score.size.set(series, (score.size.get(series) ?? 0) + count);
    score.inside += count >= field("q0.05") && count <= field("q0.95") ? 1 : 0;
    score.n++;
  }
  return score;
}

const naive = scored(await readFile(naiveFile, "utf8"));
function ratio(score: Score): number {
  const live = [...naive.loss].filter(([series]) => (naive.size.get(series) ?? 0) > 0);
  const logs = live.map(([series, loss]) => {
    const slack = 0.02 * (naive.size.get(series) ?? 0);
    return Math.log(((score.loss.get(series) ?? Number.NaN) + slack) / (loss + slack));
  });
  return Math.exp(logs.reduce((a, b) => a + b, 0) / logs.length);
}
function print(name: string, score: Score): number {
  const share = score.inside / score.n;
  process.stdout.write(`${name.padEnd(24)} ${ratio(score).toFixed(3)}  ${share.toFixed(3)}\n`);
  return ratio(score);
}

process.stdout.write(`${"answer".padEnd(24)} rel_wql  cover90\n`);
let best = print(basename(naiveFile), naive);
for (const file of answerFiles) {
  best = Math.min(best, print(basename(file), scored(await readFile(file, "utf8"))));
}
const startMs = performance.now();
const made = await forecastFiles(files, Number(values.horizon), Number(values.origins));
const eachMs = (performance.now() - startMs) / (files.length * Number(values.origins));
const ours = print("prestage", scored(csvText(made)));
process.stdout.write(
  `ours / best other ${(ours / best).toFixed(3)}, ${eachMs.toFixed(1)} ms a forecast\n`,
);
