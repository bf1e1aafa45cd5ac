/**
 * `prestage backtest`: recorded requests through the live decision code and through standard
 * policies, side by side on a simulated clock. Needs no coordinator that runs.
 */
import { PrestageError } from "../shared/errors.ts";
import type { Clock } from "../shared/runtime/clock.ts";
import { seededRandom } from "../shared/runtime/random.ts";
import { capacityFor, GreedyDual, Lru } from "./backtest/caches.ts";
import type { Frontier } from "./backtest/frontier.ts";
import { backtestPage } from "./backtest/page.ts";
import { type Played, type Policy, play, playAll, type Series } from "./backtest/play.ts";
import { fixed, oracle, windowed } from "./backtest/policies.ts";
import { type Costs, type Recorded, type Row, record } from "./backtest/recorded.ts";
import {
  type BacktestResult,
  compared,
  compulsory,
  DEFINITIONS,
  pointOf,
  policyResult,
} from "./backtest/result.ts";
import { backtestText } from "./backtest/text.ts";
import { costsOf } from "./backtest-costs.ts";
import { DEFAULT_LOAD_SHARE, prestagePolicies } from "./backtest-policies.ts";
import type { BacktestArguments } from "./cli/backtest.ts";
import { readTrace, type TraceFormat } from "./demand/import.ts";
import { type HistogramOptions, IdleTimes, PUBLISHED } from "./plan/keep-alive.ts";
import { WORTHS } from "./plan/price-scale.ts";

export type BacktestRequest = {
  file: string;
  rows: AsyncIterable<Row>;
  /** Complete when the rows are read. */
  report: { format: string | null; badLines: number };
  costs(workload: string, category: string): Costs;
  /** Names as in `DEFAULT_POLICIES`. */
  policies: readonly string[];
  warmUpMinutes: number;
  seed: string;
  sample: number;
  memoryRatio: number;
  loadShare: number | null;
  settings: Record<string, string | number | null>;
};

/** The command's arguments to the shown result. */
export async function runBacktest(args: BacktestArguments, io: BacktestIo) {
  const trace = readTrace(args.file, { format: formatOf(args.format), signal: io.signal });
  const { file, policies, warmUpMinutes, seed, sample, memoryRatio, loadShare } = args;
  const { memoryMb, startSeconds, artifactMb, durationsFile, memoryFile } = args;
  const settings = { memoryMb, startSeconds, artifactMb, durationsFile, memoryFile };
  const result = await backtest(
    {
      ...{ file, policies, warmUpMinutes, seed, sample, memoryRatio, loadShare },
      rows: trace,
      report: trace.report,
      costs: await costsOf(args),
      settings: { ...settings, memoryRatio, loadShare: loadShare ?? DEFAULT_LOAD_SHARE, seed },
    },
    io,
  );
  return { result, text: () => backtestText(result), html: () => backtestPage(result) };
}

function formatOf(text: string): TraceFormat | "auto" {
  return text === "csv" || text === "azure" || text === "log" ? text : "auto";
}

export type BacktestIo = {
  clock: Clock;
  signal: AbortSignal;
  progress(done: number, total: number): void;
};

export const DEFAULT_POLICIES = [
  "prestage",
  "prestage:40",
  "prestage:100",
  "fixed:10",
  "fixed:20",
  "fixed:60",
  "hybrid-histogram",
  "greedy-dual",
  "lru",
  "oracle",
] as const;

/** What all others are compared with, and whose memory the sized ones get. */
const REFERENCE_MINUTES = 10;
/** Settings of the families, for their frontiers. */
const FIXED = [0, 1, 2, 5, 10, 15, 20, 30, 60, 120, 240];
const HYBRIDS: readonly Partial<HistogramOptions>[] = [
  { rangeMinutes: 20 },
  { rangeMinutes: 60 },
  { rangeMinutes: 60, head: 0, tail: 1 },
  { rangeMinutes: 120 },
  { head: 0, tail: 1 },
];
const SIZES = [0.6, 0.8, 1.2, 1.5, 2];
const ORACLES = [5, 16, 200];
/** Other weights of a load that are swept, each over some prices of memory. */
const SWEPT_LOADS = [
  { loadShare: 0, worths: [40, 100, 200] },
  { loadShare: 0.02, worths: [25, 63, 100, 160, 250] },
  { loadShare: 0.3, worths: [20, 28, 40, 63] },
];
const ORACLE_WORTH = 63;
/** The event loop gets its turn after that long. */
const SLICE_MS = 40;

export async function backtest(request: BacktestRequest, io: BacktestIo): Promise<BacktestResult> {
  const recorded = await record(request.rows, {
    sample: request.sample,
    random: seededRandom(request.seed),
    costs: request.costs,
  });
  const { series, minutes } = recorded;
  const { warmUpMinutes } = request;
  if (warmUpMinutes >= minutes)
    throw new PrestageError("USAGE", `--warm-up leaves nothing of ${minutes} minutes to count`);
  const startMs = io.clock.monotonic();
  const reference = referenceOf(series, warmUpMinutes);
  const families = familiesOf(request, recorded, reference);
  const policies = [...families.values()].flat();
  const played = await paced(play(series, policies, { warmUpMinutes }), minutes, io);
  const seconds = Math.max(1e-3, (io.clock.monotonic() - startMs) / 1000);
  const byName = new Map(played.map((one) => [one.name, one]));
  const results = request.policies.flatMap((name) => {
    const one = byName.get(name);
    return one ? [policyResult(one, reference.total, series)] : [];
  });
  const frontiers = frontiersOf(families, byName, reference);
  const fixedAt = (name: string) => pointOf(byName.get(name) ?? reference, reference.total).waste;
  const range = { from: fixedAt("fixed:5"), to: fixedAt("fixed:60") };
  const compulsoryColdShare = compulsory(recorded, warmUpMinutes);
  const { arrivalMinutes, coldMinutes } = reference.total;
  return {
    file: request.file,
    format: request.report.format,
    badLines: request.report.badLines,
    startMs: recorded.startMs,
    minutes,
    warmUpMinutes,
    categories: series.length,
    categoriesInFile: recorded.categories,
    requests: reference.total.requests,
    arrivalMinutes,
    compulsoryColdShare,
    policies: results,
    frontiers,
    ...compared(
      frontiers,
      "prestage",
      range,
      (compulsoryColdShare * arrivalMinutes) / Math.max(1, coldMinutes),
    ),
    speed: { seconds, timesRealTime: (minutes * 60) / seconds },
    settings: request.settings,
    definitions: DEFINITIONS,
  };
}

async function paced(
  steps: Generator<number, Played[]>,
  minutes: number,
  { clock, signal, progress }: BacktestIo,
): Promise<Played[]> {
  let sinceMs = clock.monotonic();
  for (let step = steps.next(); ; step = steps.next()) {
    if (step.done) return step.value;
    if (clock.monotonic() - sinceMs < SLICE_MS) continue;
    progress(step.value, minutes);
    await clock.sleep(0, { signal });
    sinceMs = clock.monotonic();
  }
}

function referenceOf(series: readonly Series[], warmUpMinutes: number): Played {
  const [played] = playAll(series, [fixed(REFERENCE_MINUTES, series.length)], { warmUpMinutes });
  if (!played || played.total.arrivalMinutes === 0)
    throw new PrestageError("CONFIG_INVALID", "no requests in the minutes that count");
  return played;
}

/** Every policy once, by family; those asked for join their family. */
function familiesOf(
  request: BacktestRequest,
  { series, startMs }: Recorded,
  reference: Played,
): Map<string, Policy[]> {
  const { warmUpMinutes } = request;
  const size = series.length;
  const loadShare = request.loadShare ?? DEFAULT_LOAD_SHARE;
  const asked = (prefix: string) => numbersOf(request.policies, prefix);
  const wantedGb = reference.total.loadedGbMinutes;
  const cached = (make: (series: readonly Series[], gb: number) => Policy, factors: number[]) => {
    const gb = capacityFor(make, series, wantedGb, warmUpMinutes);
    return [
      make(series, gb),
      ...factors.map((f) => renamed(make(series, gb * f), (name) => `${name}:${f}`)),
    ];
  };
  return new Map([
    ["prestage", prestageFamily(request, series, startMs)],
    ["fixed", unique([...FIXED, ...asked("fixed")]).map((minutes) => fixed(minutes, size))],
    ["hybrid-histogram", hybrids(series)],
    ["greedy-dual", cached((all, gb) => new GreedyDual(all, gb), SIZES)],
    ["lru", cached((all, gb) => new Lru(all, gb), [])],
    [
      "oracle",
      [
        oracle(ORACLE_WORTH, series, loadShare),
        ...ORACLES.map((w) => renamed(oracle(w, series, loadShare), (name) => `${name}:${w}`)),
      ],
    ],
  ]);
}

function prestageFamily(
  request: BacktestRequest,
  series: readonly Series[],
  startMs: number,
): Policy[] {
  const loadShare = request.loadShare ?? DEFAULT_LOAD_SHARE;
  const common = {
    memoryRatio: request.memoryRatio,
    keepAliveMinutes: REFERENCE_MINUTES,
    startMinute: startMs / 60_000,
  };
  const worths = unique([...WORTHS, ...numbersOf(request.policies, "prestage")]);
  const sweeps = [{ worths, loadShare }, ...SWEPT_LOADS.filter((s) => s.loadShare !== loadShare)];
  return prestagePolicies(series, { ...common, sweeps });
}

function hybrids(series: readonly Series[]): Policy[] {
  const of = (options: HistogramOptions, name: string) => {
    const idle = series.map(() => new IdleTimes(options));
    return windowed(name, series, {
      window: (i) => idle[i]?.window ?? { from: 0, to: 0 },
      learn: (i, minutes) => idle[i]?.learn(minutes),
    });
  };
  return [
    of(PUBLISHED, "hybrid-histogram"),
    ...HYBRIDS.map((over) => {
      const o = { ...PUBLISHED, ...over };
      return of(o, `hybrid-histogram:${o.rangeMinutes}/${o.head * 100}-${o.tail * 100}`);
    }),
  ];
}

function frontiersOf(
  families: ReadonlyMap<string, readonly Policy[]>,
  played: ReadonlyMap<string, Played>,
  reference: Played,
): Frontier[] {
  const nothing = played.get("fixed:0");
  return [...families].map(([family, policies]) => ({
    family,
    points: [...policies.map(({ name }) => name), ...(family === "fixed" ? [] : ["fixed:0"])]
      .flatMap((name) => {
        const one = name === "fixed:0" ? nothing : played.get(name);
        return one ? [pointOf(one, reference.total)] : [];
      })
      .sort((a, b) => a.waste - b.waste),
  }));
}

/** N of every `prefix:N` that is asked for. */
function numbersOf(names: readonly string[], prefix: string): number[] {
  return names.flatMap((name) => {
    const [head, number] = name.split(":");
    return head === prefix && number !== undefined ? [Number(number)] : [];
  });
}

function unique(numbers: readonly number[]): number[] {
  return [...new Set(numbers)].sort((a, b) => a - b);
}

function renamed(policy: Policy, name: (name: string) => string): Policy {
  return {
    name: name(policy.name),
    wants: (...asked) => policy.wants(...asked),
    observe: (...seen) => policy.observe(...seen),
    beginMinute: (minute) => policy.beginMinute?.(minute),
    endMinute: (minute) => policy.endMinute?.(minute),
  };
}
