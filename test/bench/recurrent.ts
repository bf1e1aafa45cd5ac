/**
 * The recurrent network: `node test/bench/recurrent.ts [--series 1000] [--seed 1]`.
 *
 * First what a refresh over made-up series (two weeks, 5-minute bins) costs, and how it stalls the
 * main thread against the same training on the main thread. Then, on recorded series, pinball loss
 * on the last quarter after learning from the three before, against seasonal naive and exponential
 * smoothing, and what a mix gains from it.
 */
import { monitorEventLoopDelay } from "node:perf_hooks";
import { parseArgs } from "node:util";
import { LEVELS } from "../../coordinator/forecast/levels.ts";
import { RecurrentExpert } from "../../coordinator/forecast/recurrent/expert.ts";
import { type Refresh, refreshNetwork } from "../../coordinator/forecast/recurrent/learning.ts";
import { refreshInWorker } from "../../coordinator/forecast/recurrent/refresh.ts";
import { TRAINING } from "../../coordinator/forecast/recurrent/trainer.ts";
import { systemClock } from "../../shared/runtime/clock.ts";
import { seededRandom } from "../../shared/runtime/random.ts";
import { type Forecast, naiveForecast, smoothedForecast } from "./recurrent-peers.ts";
import { type Recorded, recordedSeries } from "./recurrent-series.ts";

const BIN_MS = 300_000;
const BINS = 14 * 288;
const HORIZON = 12;
const ORIGINS = 12;
const { values } = parseArgs({
  options: {
    series: { type: "string", default: "1000" },
    seed: { type: "string", default: "1" },
  },
});
const signal = new AbortController().signal;
const print = (line: string) => process.stdout.write(`${line}\n`);

function made(count: number): Float32Array[] {
  const random = seededRandom("recurrent bench");
  return Array.from({ length: count }, () => {
    const size = 10 ** (3 * random.next());
    const phase = random.next();
    return Float32Array.from({ length: BINS }, (_, i) => {
      const mean = size * (1.1 + Math.sin(2 * Math.PI * (i / 288 + phase)));
      return Math.max(0, Math.round(mean + Math.sqrt(mean) * random.normal()));
    });
  });
}

const request = (counts: readonly Float32Array[], steps = TRAINING.steps): Refresh => ({
  series: counts.map((c) => ({ startMs: 0, binMs: BIN_MS, counts: Float32Array.from(c) })),
  from: null,
  training: { ...TRAINING, steps, aheadMax: HORIZON },
  seed: values.seed,
});

async function stalled(work: () => Promise<unknown>) {
  const delay = monitorEventLoopDelay({ resolution: 5 });
  await systemClock.sleep(50);
  delay.enable();
  const start = performance.now();
  await work();
  const seconds = (performance.now() - start) / 1000;
  // A turn after a blocking call is what records it.
  await systemClock.sleep(20);
  delay.disable();
  return { seconds, p99: delay.percentile(99) / 1e6, max: delay.max / 1e6 };
}

async function costs(): Promise<void> {
  const counts = made(Number(values.series));
  const asked = request(counts);
  const idle = await stalled(() => systemClock.sleep(3_000));
  const worker = await stalled(() => refreshInWorker(asked, { clock: systemClock, signal }));
  const here = await stalled(() => refreshNetwork(request(counts, 50)));
  const row = (name: string, { seconds, p99, max }: typeof idle) =>
    print(
      `${name.padEnd(40)} ${seconds.toFixed(1).padStart(6)} s ` +
        `${p99.toFixed(1).padStart(7)} ms p99 ${max.toFixed(1).padStart(7)} ms max`,
    );
  print(`${counts.length} series × ${BINS} bins; delay of the main thread's event loop`);
  row("idle", idle);
  row(`refresh in the worker (${TRAINING.steps} steps)`, worker);
  row("the same on the main thread (50 steps)", here);

  const { network } = await refreshNetwork(request(counts.slice(0, 20), 20));
  const expert = new RecurrentExpert();
  if (network) expert.use({ weights: network, aheadMax: HORIZON });
  const fitted = counts.map((c) =>
    expert.fit({ startMs: 0, binMs: BIN_MS, counts: Float64Array.from(c) }),
  );
  for (const bins of [1, HORIZON]) {
    const start = performance.now();
    for (const one of fitted) {
      one.update(1);
      one.predict(bins);
    }
    const ms = performance.now() - start;
    print(`one new bin and ${bins} ahead for all: ${ms.toFixed(0)} ms`);
  }
}

type Score = { naive: number; smoothed: number; ours: number; mixed: number; size: number };

async function accuracy(): Promise<void> {
  const series = recordedSeries();
  const cutOf = (s: Recorded) => Math.floor(0.75 * s.values.length);
  const training = { ...TRAINING, aheadMax: HORIZON };
  const { network } = await refreshNetwork({
    series: series.map((s) => ({
      ...s,
      counts: Float32Array.from(s.values.subarray(0, cutOf(s))),
    })),
    from: null,
    training,
    seed: values.seed,
  });
  if (!network) throw new Error("nothing was learned");
  const expert = new RecurrentExpert();
  expert.use({ weights: network, aheadMax: HORIZON });
  const scores = series.map((s) => ({ group: s.group, ...scoreOf(s, cutOf(s), expert) }));
  print(`\npinball loss against seasonal naive, ${series.length} recorded series`);
  print("group                  series  smoothing  network  both  network best  both < smoothing");
  const groups = Map.groupBy(scores, (score) => score.group);
  for (const [group, rows] of [...groups, ["all", scores] as const]) {
    const live = rows.filter((row) => row.size > 0);
    // Two percent of the series' size keeps those that are nearly silent from ruling the mean.
    const ratio = (of: (row: Score) => number) => {
      const logs = live.map((r) => Math.log((of(r) + 0.02 * r.size) / (r.naive + 0.02 * r.size)));
      return Math.exp(logs.reduce((sum, log) => sum + log, 0) / live.length).toFixed(3);
    };
    const best = live.filter((r) => r.ours < Math.min(r.naive, r.smoothed)).length;
    const gained = live.filter((r) => r.mixed < r.smoothed).length;
    print(
      `${group.padEnd(22)} ${String(live.length).padStart(6)}  ${ratio((r) => r.smoothed).padStart(9)}` +
        `  ${ratio((r) => r.ours).padStart(7)} ${ratio((r) => r.mixed).padStart(5)}` +
        `  ${String(best).padStart(12)}  ${String(gained).padStart(16)}`,
    );
  }
}

function scoreOf(series: Recorded, cut: number, expert: RecurrentExpert): Score {
  const score = { naive: 0, smoothed: 0, ours: 0, mixed: 0, size: 0 };
  const span = series.values.length - HORIZON - cut;
  for (let i = 0; i < ORIGINS; i++) {
    const origin = cut + Math.floor((i * span) / (ORIGINS - 1));
    const past = { ...series, counts: series.values.subarray(0, origin) };
    const day = Math.round(86_400_000 / series.binMs);
    const naive = naiveForecast(past.counts, day, HORIZON);
    const smoothed = smoothedForecast(past.counts, day, HORIZON);
    const rows = expert.fit(past).predict(HORIZON);
    // Where the network sleeps, the other forecast is all there is.
    const ours: Forecast = Number.isNaN(rows[0] ?? Number.NaN)
      ? smoothed
      : (ahead) => LEVELS.map((_, k) => rows[(ahead - 1) * LEVELS.length + k] ?? 0);
    for (let ahead = 1; ahead <= HORIZON; ahead++) {
      const actual = series.values[origin + ahead - 1] ?? 0;
      const mean = ours(ahead).map((q, k) => (q + (smoothed(ahead)[k] ?? 0)) / 2);
      score.naive += pinball(naive(ahead), actual);
      score.smoothed += pinball(smoothed(ahead), actual);
      score.ours += pinball(ours(ahead), actual);
      score.mixed += pinball(mean, actual);
      score.size += Math.abs(actual);
    }
  }
  return score;
}

function pinball(quantiles: readonly number[], actual: number): number {
  let sum = 0;
  for (const [k, level] of LEVELS.entries()) {
    const error = actual - (quantiles[k] ?? 0);
    sum += Math.max(level * error, (level - 1) * error);
  }
  return sum / LEVELS.length;
}

await costs();
await accuracy();
