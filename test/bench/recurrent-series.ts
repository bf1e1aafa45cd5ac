/**
 * Recorded series to develop the recurrent network on, none of which is among those that the
 * whole engine is judged by (`../shared/peers/forecast/series`).
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";

export type Recorded = {
  group: string;
  name: string;
  startMs: number;
  binMs: number;
  values: Float64Array;
};

const MINUTE_MS = 60_000;
const TRACES = resolve(import.meta.dirname, "../../../shared/traces");
/** Of the series below, those that the final check uses. */
const JUDGED_TWEETS = /_(AAPL|AMZN|GOOG)\.csv$/;
const JUDGED_CLIENTS = new Set([1, 5, 12, 13, 14, 17, 21, 24, 27, 38].map((n) => `client_${n}`));
const SILENT = 0.02;

export function recordedSeries(): Recorded[] {
  if (!existsSync(TRACES)) throw new Error(`no recorded series at ${TRACES}`);
  const tweets = stamped("metrics-nab/realTweets", (file) => !JUDGED_TWEETS.test(file));
  const all = [
    ...tweets,
    ...tweets.map((s) => summed(s, 6, "tweets-30m")),
    ...tweets.map((s) => summed(s, 12, "tweets-1h")),
    ...stamped("metrics-nab/realAWSCloudwatch", () => true),
    ...columns("llm-servegen-2025/m-small.csv", 10).filter((s) => !JUDGED_CLIENTS.has(s.name)),
    ...columns("hosts-aggregates/alibaba2018_300s.csv", 5).filter(
      (s) => s.name !== "cpu_util_percent",
    ),
    ...columns("hosts-aggregates/google2019_300s.csv", 5).filter((s) => s.name !== "avg_cpu"),
    ...functions(),
  ];
  return all.filter(({ values }) => values.filter((v) => v > 0).length > SILENT * values.length);
}

const lines = (file: string) => readFileSync(join(TRACES, file), "utf8").trim().split("\n");

/** Files of `timestamp,value`, five minutes apart. */
function stamped(folder: string, keep: (file: string) => boolean): Recorded[] {
  return readdirSync(join(TRACES, folder))
    .filter(keep)
    .map((file) => {
      const rows = lines(join(folder, file))
        .slice(1)
        .map((line) => line.split(","));
      return {
        group: folder.split("/").at(-1) ?? folder,
        name: file.replace(".csv", ""),
        startMs: Date.parse(`${rows[0]?.[0]?.replace(" ", "T")}Z`),
        binMs: 5 * MINUTE_MS,
        values: Float64Array.from(rows, (row) => Number(row[1])),
      };
    });
}

/** One series a column; the first one is left out where it is the time. */
function columns(file: string, minutes: number): Recorded[] {
  const [header = "", ...rows] = lines(file);
  const cells = rows.map((row) => row.split(","));
  return header.split(",").flatMap((name, column) =>
    name === "t_seconds"
      ? []
      : [
          {
            group: file.replace(/\/.*|_300s.*/g, ""),
            name,
            startMs: 0,
            binMs: minutes * MINUTE_MS,
            values: Float64Array.from(cells, (row) => Number(row[column])),
          },
        ],
  );
}

/** Every fourth serverless function, by the minute. */
function functions(): Recorded[] {
  return lines("functions-azure-2019/invocations.csv")
    .slice(1)
    .filter((_, i) => i % 4 === 0)
    .map((line, i) => ({
      group: "functions",
      name: `function-${i}`,
      startMs: 8 * 60 * MINUTE_MS,
      binMs: MINUTE_MS,
      values: Float64Array.from(line.split(",").slice(4), Number),
    }));
}

function summed(series: Recorded, bins: number, group: string): Recorded {
  const values = new Float64Array(Math.floor(series.values.length / bins));
  for (let i = 0; i < values.length * bins; i++) {
    const at = Math.floor(i / bins);
    values[at] = (values[at] ?? 0) + (series.values[i] ?? 0);
  }
  return { ...series, group, binMs: series.binMs * bins, values };
}
