/**
 * What it costs to fit the forecasts of many series anew, and to take in one new bin of each:
 * `node test/bench/forecast-refit.ts [--series 1000] [--workers 2] [--horizon 12]`. Two weeks of
 * 5-minute bins, half with a daily wave, half bursty. Limits: refit 30 s, new bin 1 s, 600 MB.
 */
import { parseArgs } from "node:util";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { Ensemble } from "../../coordinator/forecast/ensemble.ts";
import { seededRandom } from "../../shared/runtime/random.ts";

const BINS = 14 * 288;
const BIN_MS = 300_000;
type Part = { from: number; to: number; horizon: number };
type Took = { fitMs: number; binMs: number; checksum: number };

function counts(seed: number): Float64Array {
  const random = seededRandom(`refit ${seed}`);
  const mean = 10 ** (3 * random.next());
  let burst = 0;
  return Float64Array.from({ length: BINS + 1 }, (_, t) => {
    burst = burst * 0.9 + (random.next() < 0.01 ? 5 * random.next() : 0);
    const shape = seed % 2 === 0 ? 1 + 0.8 * Math.sin((2 * Math.PI * t) / 288) : burst;
    return Math.round(mean * shape * (0.7 + 0.6 * random.next()));
  });
}

function work({ from, to, horizon }: Part): Took {
  const series = Array.from({ length: to - from }, (_, i) => counts(from + i));
  let startMs = performance.now();
  const fitted = series.map((all) =>
    Ensemble.fit({ startMs: 0, binMs: BIN_MS, counts: all.subarray(0, BINS) }, horizon),
  );
  const fitMs = performance.now() - startMs;
  startMs = performance.now();
  let checksum = 0;
  for (const [i, one] of fitted.entries()) {
    one.update(series[i]?.[BINS] ?? 0);
    checksum += one.predict(horizon)[4] ?? 0;
  }
  return { fitMs, binMs: performance.now() - startMs, checksum };
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      series: { type: "string", default: "1000" },
      workers: { type: "string", default: "2" },
      horizon: { type: "string", default: "12" },
    },
  });
  const series = Number(values.series);
  const workers = Number(values.workers);
  const share = Math.ceil(series / workers);
  let rssMax = 0;
  const watch = setInterval(() => {
    rssMax = Math.max(rssMax, process.memoryUsage.rss());
  }, 100);
  const startMs = performance.now();
  const took = await Promise.all(
    Array.from({ length: workers }, (_, i) => {
      const part: Part = {
        from: i * share,
        to: Math.min(series, (i + 1) * share),
        horizon: Number(values.horizon),
      };
      const worker = new Worker(new URL(import.meta.url), { workerData: part });
      return new Promise<Took>((resolve, reject) => {
        worker.once("message", resolve);
        worker.once("error", reject);
      });
    }),
  );
  clearInterval(watch);
  const most = (of: (one: Took) => number) => Math.max(...took.map(of));
  process.stdout.write(
    `${series} series of ${BINS} bins, ${workers} workers, horizon ${values.horizon}\n` +
      `full refit           ${(most((one) => one.fitMs) / 1000).toFixed(1)} s (limit 30)\n` +
      `one new bin for all  ${most((one) => one.binMs).toFixed(0)} ms with forecasts (limit 1000)\n` +
      `memory               ${(rssMax / 1e6).toFixed(0)} MB at most (limit 600)\n` +
      `altogether           ${((performance.now() - startMs) / 1000).toFixed(1)} s\n`,
  );
}

if (isMainThread) await main();
else parentPort?.postMessage(work(workerData as Part));
