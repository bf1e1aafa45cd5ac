/**
 * Moves each category's threshold and lead: every minute that is over is run on paper for every
 * arm, on the curve that was seen as it began, and the bandit learns what each would have gained.
 */
import { categoryKey, DEMAND_BIN_MS } from "../shared/domain.ts";
import type { Random } from "../shared/runtime/random.ts";
import type { Catalog } from "./catalog.ts";
import type { CategoryOf, DemandHistory } from "./demand/history.ts";
import { economicsOf } from "./economics.ts";
import { ARMS, type Arm, Bandit, type BanditState, DEFAULT_BANDIT } from "./learn/bandit.ts";
import { contextOf } from "./learn/context.ts";
import type { RegretSummary } from "./learn/regret.ts";
import { Tuner } from "./learn/tuner.ts";
import type { MeasuredCosts } from "./measured.ts";
import { type PaperMinute, type PaperRun, paperArms } from "./plan/paper.ts";

export type TuningDeps = {
  history: DemandHistory;
  catalog: Catalog;
  measured: MeasuredCosts;
  random: Random;
  speed: number;
  state: unknown;
};

/** A minute counts as known this many minutes after its end: reports take a while. */
const SETTLE_MINUTES = 2;
const CONTEXT_MINUTES = 120;

type Seen = CategoryOf & { hazardPerMinute: readonly number[] };

export class Tuning {
  readonly #deps: TuningDeps;
  readonly #bandit: Bandit;
  readonly #tuner: Tuner<PaperRun, PaperMinute>;
  /** What was expected as each of the last minutes began. */
  readonly #seen = new Map<number, Seen[]>();

  constructor(deps: TuningDeps) {
    this.#deps = deps;
    this.#bandit = new Bandit(DEFAULT_BANDIT, (deps.state ?? undefined) as BanditState | undefined);
    const { random } = deps;
    this.#tuner = new Tuner({ bandit: this.#bandit, paper: paperArms(ARMS), random });
  }

  arm(workload: string, category: string): Arm {
    return this.#tuner.arm(categoryKey(workload, category));
  }

  current(workload: string, category: string): { arm: number; context: readonly number[] } {
    return this.#tuner.current(categoryKey(workload, category));
  }

  get regret(): RegretSummary {
    return this.#tuner.regret.summary();
  }

  state(): BanditState {
    return this.#bandit.state();
  }

  /** A demand minute begins: `curves` is what is expected of every category now. */
  minute(minute: number, curves: Iterable<Seen>, memoryGbHour: number): void {
    this.#seen.set(minute, [...curves]);
    for (const [past, seen] of this.#seen) {
      if (past + SETTLE_MINUTES >= minute) continue;
      this.#seen.delete(past);
      for (const one of seen) this.#settle(past, one, memoryGbHour);
    }
  }

  retain(keys: ReadonlySet<string>): void {
    this.#tuner.retain(keys);
  }

  #settle(minute: number, { workload, category, hazardPerMinute }: Seen, gbHour: number): void {
    const { history } = this.#deps;
    const economics = economicsOf(this.#deps, workload);
    if (!economics) return;
    const { missCost, memoryGb, leadMinutes } = economics;
    const fromMs = minute * DEMAND_BIN_MS;
    const holdCost = (gbHour * memoryGb) / 60;
    const counts = (from: number, to: number) =>
      history.series(workload, category, null, { fromMs: from, toMs: to }).counts;
    const arrived = counts(fromMs, fromMs + DEMAND_BIN_MS).some((count) => count > 0);
    const past = { hazardPerMinute, arrived, missCost, holdCost, leadMinutes };
    this.#tuner.minute(categoryKey(workload, category), past, missCost, () =>
      contextOf({
        counts: counts(fromMs - CONTEXT_MINUTES * DEMAND_BIN_MS, fromMs),
        missCost,
        holdCost,
      }),
    );
  }
}
