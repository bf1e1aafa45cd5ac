import { Readable } from "node:stream";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { PrestageError } from "../shared/errors.ts";
import { systemClock } from "../shared/runtime/clock.ts";
import { type Random, seededRandom } from "../shared/runtime/random.ts";
import { GreedyDual, Lru } from "./backtest/caches.ts";
import { play, type Series } from "./backtest/play.ts";
import { fixed, windowed } from "./backtest/policies.ts";
import type { Row } from "./backtest/recorded.ts";
import { prestagePolicies } from "./backtest-policies.ts";
import { type BacktestRequest, backtest, DEFAULT_POLICIES } from "./backtesting.ts";
import { readTrace } from "./demand/import.ts";
import { IdleTimes } from "./plan/keep-alive.ts";

const START_MS = Date.UTC(2026, 0, 5);
const MINUTE_MS = 60_000;
const COSTS = { memoryGb: 0.125, startSeconds: 5, artifactBytes: 64e6, runSeconds: 0 };

/** Timers, bursts and chance. */
function counts(random: Random, i: number, minutes: number): number[] {
  const period = 3 + random.int(50);
  return Array.from({ length: minutes }, (_, m) => {
    if (i % 3 === 0) return m % period === 0 ? 1 : 0;
    if (i % 3 === 1) return random.next() < 1 / period ? 1 + random.int(3) : 0;
    return m % (4 * period) < 5 && random.next() < 0.7 ? 2 : 0;
  });
}

function demand(size: number, minutes: number): Series[] {
  const random = seededRandom("backtest");
  return Array.from({ length: size }, (_, i) => {
    return { key: `w${i}/default`, counts: counts(random, i, minutes), ...COSTS };
  });
}

async function* rowsOf(series: readonly Series[]): AsyncGenerator<Row> {
  for (const { key, counts: own } of series)
    for (let m = 0; m < own.length; m++) {
      const [workload = "", category = ""] = key.split("/");
      const timestampMs = START_MS + m * MINUTE_MS;
      if ((own[m] ?? 0) > 0) yield { timestampMs, workload, category, count: own[m] ?? 0 };
    }
}

function request(series: readonly Series[], over: Partial<BacktestRequest> = {}): BacktestRequest {
  return {
    file: "generated",
    rows: rowsOf(series),
    report: { format: "csv", badLines: 0 },
    costs: () => COSTS,
    policies: DEFAULT_POLICIES,
    warmUpMinutes: 0,
    seed: "1",
    sample: 1000,
    memoryRatio: 0.95,
    loadShare: null,
    settings: {},
    ...over,
  };
}

const io = () => ({
  clock: systemClock,
  signal: new AbortController().signal,
  progress: () => {},
});

/** Three prices, the calibrated one, and four standard ones. */
const POLICIES = 8;

/** Every decision, as text, in order. */
function decisions(series: readonly Series[], minutes: number): string[] {
  const cut = series.map((one) => ({ ...one, counts: Array.from(one.counts).slice(0, minutes) }));
  const seen: string[] = [];
  const idle = cut.map(() => new IdleTimes());
  const hybrid = windowed("hybrid-histogram", cut, {
    window: (i) => idle[i]?.window ?? { from: 0, to: 0 },
    learn: (i, gap) => idle[i]?.learn(gap),
  });
  const standard = [fixed(10, cut.length), hybrid, new GreedyDual(cut, 0.5), new Lru(cut, 0.5)];
  const own = prestagePolicies(cut, {
    sweeps: [{ worths: [16, 63, 250], loadShare: 0.1 }],
    memoryRatio: 0.95,
    keepAliveMinutes: 10,
    startMinute: START_MS / MINUTE_MS,
  });
  const steps = play(cut, [...own, ...standard], {
    warmUpMinutes: 0,
    decided: (policy, i, minute, untilReady) =>
      void seen.push(`${minute} ${policy} ${i} ${untilReady}`),
  });
  while (!steps.next().done);
  return seen;
}

describe("no peeking", () => {
  test("backtest: decisions on a prefix are those on the whole (cut at five minutes)", () => {
    const series = demand(9, 260);
    const whole = decisions(series, 260);
    for (const minutes of [1, 61, 130, 199, 259]) {
      const prefix = decisions(series, minutes);
      expect(prefix).toHaveLength(minutes * 9 * POLICIES);
      expect(prefix).toEqual(whole.slice(0, prefix.length));
    }
  }, 60_000);

  test("backtest: another future changes no decision before it (from minute 150 on)", () => {
    const series = demand(9, 200);
    const other = series.map((one, i) => ({
      ...one,
      counts: Array.from(one.counts, (count, m) => (m < 150 ? count : (m + i) % 2)),
    }));
    const until = (all: string[]) => all.slice(0, 151 * 9 * POLICIES);
    expect(until(decisions(other, 200))).toEqual(until(decisions(series, 200)));
    expect(decisions(other, 200)).not.toEqual(decisions(series, 200));
  }, 60_000);
});

test("backtest: says the same of the same recording, whatever the row order (twice)", async () => {
  const series = demand(6, 200);
  const strip = ({ speed: _, ...rest }: Awaited<ReturnType<typeof backtest>>) => rest;
  const there = strip(await backtest(request(series), io()));
  const back = strip(await backtest(request(series.toReversed()), io()));
  expect(back).toEqual(there);
}, 60_000);

test("backtest: fewer cold minutes than fixed:10 at its memory (timers, bursts, chance)", async () => {
  const result = await backtest(request(demand(24, 600)), io());
  expect(result.policies.map((p) => p.name)).toEqual([...DEFAULT_POLICIES]);
  const own = result.policies[0];
  expect(own?.relative.cold).toBeLessThan(0.8);
  expect(own?.relative.memory).toBeLessThan(1.05);
  expect(result.dominated).toEqual([]);
  expect(result.area.ratioToBestOther).toBeLessThan(1);
  const oracle = result.policies.find((p) => p.name === "oracle");
  expect(oracle?.coldShareMinutes).toBeLessThanOrEqual(result.compulsoryColdShare);
}, 60_000);

test("backtest: a sample is by the seed (4 of 9)", async () => {
  const series = demand(9, 400);
  const sampled = async (seed: string) => backtest(request(series, { sample: 4, seed }), io());
  const result = await sampled("a");
  expect([result.categories, result.categoriesInFile]).toEqual([4, 9]);
  expect((await sampled("a")).requests).toBe(result.requests);
}, 60_000);

test("backtest: refuses what leaves nothing to count (a warm-up as long as the recording)", async () => {
  await expect(backtest(request(demand(2, 60), { warmUpMinutes: 60 }), io())).rejects.toMatchObject(
    { code: "USAGE" },
  );
  await expect(backtest(request([]), io())).rejects.toMatchObject({ code: "CONFIG_INVALID" });
});

const time = fc.oneof(
  { weight: 3, arbitrary: fc.nat(5400).map((seconds) => `${1_704_067_200 + seconds}`) },
  fc.constantFrom("", "NaN", "-1", "1e15", "tomorrow", "2024-01-01T00:07:00Z"),
);
const count = fc.oneof(
  { weight: 4, arbitrary: fc.nat(50).map(String) },
  fc.constantFrom("NaN", "-5", "1e15", "", "Infinity", "0.3", "x"),
);
const name = fc.constantFrom("a", "b", "", "a/b", "__proto__");
const line = fc.oneof(
  { weight: 6, arbitrary: fc.tuple(time, name, name, count).map((cells) => cells.join(",")) },
  fc.string({ maxLength: 40 }),
);

test("backtest: figures that are numbers, or an error that says why (any lines in the file)", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(line, { maxLength: 40 }), async (lines) => {
      const file = ["timestamp,workload,category,count", ...lines].join("\n");
      const rows = readTrace(Readable.from([Buffer.from(file)]));
      const over = { rows, report: rows.report, policies: ["prestage", "fixed:10"] };
      const result = await backtest(request([], over), io()).catch((error: unknown) => error);
      if (result instanceof PrestageError) return;
      expect(result).toHaveProperty("frontiers");
      const { frontiers } = result as Awaited<ReturnType<typeof backtest>>;
      for (const { points } of frontiers)
        for (const { cold, waste, loads } of points)
          for (const figure of [cold, waste, loads])
            expect(Number.isFinite(figure) && figure >= 0).toBe(true);
    }),
    { numRuns: 50 },
  );
}, 60_000);
