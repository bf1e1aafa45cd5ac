/**
 * Each arm of the bandit run on paper beside the real one: the planner's own decision on the same
 * curves and the same arrivals, so that an arm that was not played is judged as well.
 */
import { START_SHARE, shouldHold } from "./decide.ts";
import type { Aggressiveness } from "./input.ts";
import { ABSENT, type ReplayState, replayMinute } from "./replay.ts";

export type PaperMinute = {
  /** As seen at the start of the minute. */
  hazardPerMinute: ArrayLike<number>;
  arrived: boolean;
  missCost: number;
  /** Cost units of a minute of the environment's memory. */
  holdCost: number;
  leadMinutes: number;
};

export type PaperRun = { index: number; states: readonly ReplayState[]; costs: readonly number[] };

export type PaperArms = {
  begin(run: PaperRun | null, arm: number): PaperRun;
  minute(run: PaperRun, minute: PaperMinute): PaperRun;
  costs(run: PaperRun): readonly number[];
};

export function paperArms(arms: readonly Aggressiveness[]): PaperArms {
  return {
    begin: (run, arm) => {
      const from = run?.states[arm] ?? ABSENT;
      return { index: run?.index ?? 0, states: arms.map(() => from), costs: arms.map(() => 0) };
    },
    minute: (run, minute) => stepAll(run, minute, arms),
    costs: (run) => run.costs,
  };
}

function stepAll(run: PaperRun, minute: PaperMinute, arms: readonly Aggressiveness[]): PaperRun {
  const { hazardPerMinute, arrived, missCost, holdCost, leadMinutes } = minute;
  let peak = 0;
  for (let k = 0; k < hazardPerMinute.length; k++) peak = Math.max(peak, hazardPerMinute[k] ?? 0);
  const states: ReplayState[] = [];
  const costs: number[] = [];
  arms.forEach((arm, a) => {
    const economics = {
      missCost,
      holdCost: holdCost * arm.threshold,
      startCost: START_SHARE * missCost,
      leadMinutes: leadMinutes * arm.lead,
    };
    const outcome = replayMinute(run.states[a] ?? ABSENT, run.index, arrived, leadMinutes, {
      hold: () => shouldHold(hazardPerMinute, peak, true, economics),
      start: () => shouldHold(hazardPerMinute, peak, false, economics),
    });
    states.push(outcome.state);
    const idle = outcome.held && !arrived ? holdCost : 0;
    const ahead = outcome.load && !outcome.cold ? START_SHARE * missCost : 0;
    costs.push((run.costs[a] ?? 0) + (outcome.cold ? missCost : 0) + idle + ahead);
  });
  return { index: run.index + 1, states, costs };
}
