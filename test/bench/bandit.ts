/**
 * The bandit against the fixed starting threshold on recorded functions: prequential, the real
 * tuner, the real decisions. Prints what each fixed arm, the bandit, and the best arm per category
 * in hindsight cost (misses plus priced memory), and the regret paid.
 */

import { DemandHistory } from "../../coordinator/demand/history.ts";
import { Forecaster } from "../../coordinator/forecast/forecaster.ts";
import {
  type Advantage,
  ARMS,
  Bandit,
  DEFAULT_BANDIT,
  START_ARM,
} from "../../coordinator/learn/bandit.ts";
import { contextOf } from "../../coordinator/learn/context.ts";
import { DEFAULT_TUNER, Tuner } from "../../coordinator/learn/tuner.ts";
import { START_SHARE } from "../../coordinator/plan/decide.ts";
import { paperArms } from "../../coordinator/plan/paper.ts";
import { PrewarmLearner } from "../../coordinator/plan/prewarm-learner.ts";
import {
  ABSENT,
  type CurveSource,
  hazardPolicy,
  type MinuteSeries,
  type RecordedCurves,
  recordCurves,
  replayMinute,
} from "../../coordinator/plan/replay.ts";
import { type Random, seededRandom } from "../../shared/runtime/random.ts";
import { azureSeries } from "./azure.ts";
import { gapCurves } from "./gap-curves.ts";

/** History that the price is calibrated on; the bandit starts after it. */
const BEFORE_MINUTES = 120;
const CONTEXT_MINUTES = 120;

export type BanditBench = {
  series: number;
  startCost: number;
  banditCost: number;
  /** The same bandit, told only of the arm it played, exploring by Thompson draws. */
  playedOnlyCost: number;
  bestFixedCost: number;
  bestPerCategoryCost: number;
};

export function benchBandit(
  series: readonly MinuteSeries[],
  source: () => CurveSource,
): BanditBench {
  const before = series.map((s) => ({
    ...s,
    counts: Array.from(s.counts).slice(0, BEFORE_MINUTES),
  }));
  const price = priceOf(before, source());
  if (price === null) throw new Error("no arrivals before the bandit starts");
  const curves = recordCurves(series, source());
  const fixed = ARMS.map((_, arm) => series.map((s, i) => costOf(s, curves[i], price, () => arm)));
  const total = (costs: readonly number[]) => costs.reduce((a, b) => a + b, 0);
  const cost = (bandit: Bandit) => {
    const chosen = tune(series, curves, price, bandit);
    return total(
      series.map((s, i) => costOf(s, curves[i], price, (m) => chosen[i]?.[m] ?? START_ARM)),
    );
  };
  return {
    series: series.length,
    startCost: total(fixed[START_ARM] ?? []),
    banditCost: cost(new Bandit()),
    playedOnlyCost: cost(new PlayedOnly({ ...DEFAULT_BANDIT, exploration: 0.3, caution: 0 })),
    bestFixedCost: Math.min(...fixed.map(total)),
    bestPerCategoryCost: total(
      series.map((_, i) => Math.min(...fixed.map((costs) => costs[i] ?? 0))),
    ),
  };
}

/** The price at which the policy takes 0.95 of the memory-time of a fixed 10-minute keep-alive. */
function priceOf(series: readonly MinuteSeries[], source: CurveSource): number | null {
  const learner = new PrewarmLearner({ categoriesMax: series.length });
  const minutes = Math.max(...series.map((s) => s.counts.length));
  for (let i = 0; i < minutes; i++) {
    for (const { key, counts, startMinute, ...stakes } of series) {
      const minute = startMinute + i;
      const { hazardPerMinute } = source.curve(key, minute);
      const arrived = (counts[i] ?? 0) > 0;
      const memoryGbHour = learner.memoryGbHour(0.95) ?? stakes.missCost / stakes.memoryGb;
      const over = { minute, hazardPerMinute, arrived, memoryGbHour };
      learner.settle(key, { ...over, stakes: { ...stakes, loadShare: START_SHARE } });
      source.observe(key, minute, counts[i] ?? 0);
    }
    learner.endMinute();
  }
  return learner.memoryGbHour(0.95);
}

class PlayedOnly extends Bandit {
  readonly #played = new Map<string, number>();

  override choose(key: string, context: readonly number[], random: Random): number {
    const arm = super.choose(key, context, random);
    this.#played.set(key, arm);
    return arm;
  }

  override learn(key: string, context: readonly number[], advantages: readonly Advantage[]): void {
    const played = this.#played.get(key);
    super.learn(
      key,
      context,
      advantages.filter(({ arm }) => arm === played),
    );
  }
}

/** The arm the tuner had set at the start of each minute. */
function tune(
  series: readonly MinuteSeries[],
  curves: readonly RecordedCurves[],
  price: number,
  bandit: Bandit,
): Uint8Array[] {
  const tuner = new Tuner(
    { bandit, paper: paperArms(ARMS), random: seededRandom("bandit") },
    DEFAULT_TUNER,
  );
  const chosen = series.map((s) => new Uint8Array(s.counts.length).fill(START_ARM));
  const minutes = Math.max(...series.map((s) => s.counts.length));
  for (let minute = BEFORE_MINUTES; minute < minutes; minute++) {
    series.forEach((s, i) => {
      const into = chosen[i];
      if (into) into[minute] = tuner.current(s.key).arm;
    });
    series.forEach((s, i) => {
      const holdCost = (price * s.memoryGb) / 60;
      const facts = () => {
        const counts = Array.from(s.counts).slice(Math.max(0, minute - CONTEXT_MINUTES), minute);
        return contextOf({ counts, missCost: s.missCost, holdCost });
      };
      tuner.minute(
        s.key,
        {
          hazardPerMinute: curves[i]?.hazards[minute] ?? [],
          arrived: (s.counts[minute] ?? 0) > 0,
          missCost: s.missCost,
          holdCost,
          leadMinutes: s.leadMinutes,
        },
        s.missCost,
        facts,
      );
    });
  }
  return chosen;
}

/** Real cost of a course of arms: one environment, carried from minute to minute. */
function costOf(
  series: MinuteSeries,
  curves: RecordedCurves | undefined,
  price: number,
  armAt: (minute: number) => number,
): number {
  if (!curves) return 0;
  const policies = ARMS.map((arm) => hazardPolicy(series, curves, price, arm));
  let state = ABSENT;
  let cost = 0;
  for (let minute = 0; minute < series.counts.length; minute++) {
    const arrived = (series.counts[minute] ?? 0) > 0;
    const policy = policies[minute < BEFORE_MINUTES ? START_ARM : armAt(minute)];
    if (!policy) continue;
    const step = replayMinute(state, minute, arrived, series.leadMinutes, policy);
    state = step.state;
    if (minute < BEFORE_MINUTES) continue;
    if (step.cold) cost += series.missCost;
    else if (step.load) cost += START_SHARE * series.missCost;
    if (step.held && !arrived) cost += (price * series.memoryGb) / 60;
  }
  return cost;
}

function forecasterCurves(): CurveSource {
  const history = new DemandHistory();
  const forecaster = new Forecaster();
  const names = new Map<string, string>();
  let updated = -1;
  const nameOf = (key: string) => {
    const name = names.get(key) ?? `f${names.size}`;
    names.set(key, name);
    return name;
  };
  return {
    observe: (key, minute, count) => {
      if (count === 0) return;
      const where = { workload: nameOf(key), category: "c", host: "h" };
      history.add({ ...where, startMs: minute * 60_000, count });
    },
    curve: (key, minute) => {
      if (minute !== updated) forecaster.update(history, minute * 60_000);
      updated = minute;
      return forecaster.arrival(nameOf(key), "c", minute * 60_000);
    },
  };
}

function print(name: string, r: BanditBench): void {
  const saved = (cost: number) => `${((1 - cost / r.startCost) * 100).toFixed(1)} %`;
  process.stdout.write(
    `${name}: ${r.series} functions, cost of the fixed start ${r.startCost.toFixed(1)}; ` +
      `bandit ${r.banditCost.toFixed(1)} (saves ${saved(r.banditCost)}), ` +
      `told of the played arm only ${saved(r.playedOnlyCost)}; ` +
      `best fixed arm in hindsight saves ${saved(r.bestFixedCost)}, ` +
      `best arm per category ${saved(r.bestPerCategoryCost)}; ` +
      `regret against it ${(r.banditCost - r.bestPerCategoryCost).toFixed(1)}\n`,
  );
}

if (import.meta.main) {
  const series = azureSeries();
  if (!series) process.stdout.write("bandit: skipped, ../shared/traces is not there\n");
  else {
    print("forecaster, all", benchBandit(series, forecasterCurves));
    print("gap histogram, all", benchBandit(series, gapCurves));
    for (const part of [0, 1, 2]) {
      const some = series.filter((_, i) => i % 3 === part);
      print(`forecaster, third ${part + 1}`, benchBandit(some, forecasterCurves));
    }
  }
}
