/**
 * Replays a policy over recorded minutes: what price and bandit are calibrated with, and later what
 * a backtest shows. A minute with arrivals is cold when nothing was ready as it began; a policy
 * decides at the start of a minute from what was observed before it, never from the minute itself.
 */
import { START_SHARE, shouldHold } from "./decide.ts";

/** Hazard curves learned from a prefix of history only. */
export type CurveSource = {
  /** The minute is over and had `count` arrivals. Called once per key and minute, in order. */
  observe(key: string, minute: number, count: number): void;
  /** Seen at the start of `minute`, from what was observed before it. */
  curve(
    key: string,
    minute: number,
  ): { hazardPerMinute: ArrayLike<number>; probabilityWithin(ms: number): number };
};

export type MinuteSeries = {
  key: string;
  /** Arrivals per minute; `counts[0]` is minute `startMinute`. */
  counts: ArrayLike<number>;
  startMinute: number;
  /** Cost units of one cold arrival. */
  missCost: number;
  memoryGb: number;
  /** Whole minutes from deciding to ready. */
  leadMinutes: number;
};

export type ReplayResult = {
  arrivalMinutes: number;
  coldMinutes: number;
  loadedMinutes: number;
  loadedGbMinutes: number;
  loads: number;
  /** Loads made ahead that no arrival met. */
  wastedLoads: number;
  /** Cost units of the cold minutes. */
  missCost: number;
};

/** Asked at the start of each minute, by index into the series. */
export type Policy = {
  /** It is there: hold it through this minute? `idleMinutes` since its last use or load. */
  hold(index: number, idleMinutes: number): boolean;
  /** It is not: start it now? */
  start(index: number): boolean;
};

/** Keeps for `minutes` after each use, prepares nothing: what reactive systems do. */
export function fixedKeepAlive(minutes: number): Policy {
  return { hold: (_, idle) => idle <= minutes, start: () => false };
}

/** The curves of one series, minute by minute, computed once from prefixes only. */
export type RecordedCurves = { hazards: Float32Array[]; peaks: Float32Array };

/** All series together, minute by minute: a source that shares what it learns must not peek. */
export function recordCurves(
  series: readonly MinuteSeries[],
  source: CurveSource,
): RecordedCurves[] {
  const recorded = series.map((s) => ({
    hazards: [] as Float32Array[],
    peaks: new Float32Array(s.counts.length),
  }));
  const first = Math.min(...series.map((s) => s.startMinute));
  const end = Math.max(...series.map((s) => s.startMinute + s.counts.length));
  for (let minute = first; minute < end; minute++) {
    series.forEach((s, at) => {
      const i = minute - s.startMinute;
      const into = recorded[at];
      if (!into || i < 0 || i >= s.counts.length) return;
      const hazard = Float32Array.from(source.curve(s.key, minute).hazardPerMinute);
      into.hazards.push(hazard);
      into.peaks[i] = hazard.reduce((peak, h) => Math.max(peak, h), 0);
    });
    for (const s of series) {
      const i = minute - s.startMinute;
      if (i >= 0 && i < s.counts.length) source.observe(s.key, minute, s.counts[i] ?? 0);
    }
  }
  return recorded;
}

/** The policy that the planner follows, at a price per GB·hour. */
export function hazardPolicy(
  series: MinuteSeries,
  curves: RecordedCurves,
  memoryGbHour: number,
  arm: { threshold: number; lead: number } = { threshold: 1, lead: 1 },
): Policy {
  const economics = {
    missCost: series.missCost,
    holdCost: (memoryGbHour * series.memoryGb * arm.threshold) / 60,
    startCost: START_SHARE * series.missCost,
    leadMinutes: series.leadMinutes * arm.lead,
  };
  const ask = (index: number, isReady: boolean) => {
    const hazard = curves.hazards[index];
    return hazard !== undefined && shouldHold(hazard, curves.peaks[index] ?? 0, isReady, economics);
  };
  return { hold: (index) => ask(index, true), start: (index) => ask(index, false) };
}

/** An environment in a replay; `loadingUntil` is the first index at which it is ready. */
export type ReplayState = {
  loaded: boolean;
  loadingUntil: number;
  idleMinutes: number;
  /** Made ahead and not met by an arrival yet. */
  unproven: boolean;
};

export const ABSENT: ReplayState = {
  loaded: false,
  loadingUntil: 0,
  idleMinutes: 0,
  unproven: false,
};

export type MinuteOutcome = {
  state: ReplayState;
  held: boolean;
  cold: boolean;
  hit: boolean;
  load: boolean;
  wasted: boolean;
};

/** One minute: decide, then see whether something arrives. */
export function replayMinute(
  before: ReplayState,
  index: number,
  arrived: boolean,
  leadMinutes: number,
  policy: Policy,
): MinuteOutcome {
  let { loaded, loadingUntil, unproven } = before;
  let idleMinutes = before.idleMinutes + 1;
  let load = false;
  let wasted = false;
  const loading = loaded && loadingUntil > index;
  if (loaded && !loading && !policy.hold(index, idleMinutes)) {
    loaded = false;
    wasted = unproven;
    unproven = false;
  } else if (!loaded && policy.start(index)) {
    loaded = true;
    load = true;
    unproven = true;
    loadingUntil = index + leadMinutes;
    idleMinutes = 0;
  }
  const isReady = loaded && loadingUntil <= index;
  const cold = arrived && !isReady;
  if (arrived) {
    if (!loaded) load = true;
    loaded = true;
    loadingUntil = before.loaded && loaded ? loadingUntil : index + leadMinutes;
    idleMinutes = 0;
    unproven = false;
  }
  return {
    state: { loaded, loadingUntil, idleMinutes, unproven },
    held: loaded,
    cold,
    hit: arrived && !cold,
    load,
    wasted,
  };
}

/** Counts from index `from` on; what was before only brings the state about. */
export function replay(series: MinuteSeries, policy: Policy, from = 0): ReplayResult {
  const result = emptyResult();
  let state = ABSENT;
  for (let i = 0; i < series.counts.length; i++) {
    const arrived = (series.counts[i] ?? 0) > 0;
    const minute = replayMinute(state, i, arrived, series.leadMinutes, policy);
    state = minute.state;
    if (i < from) continue;
    if (arrived) result.arrivalMinutes++;
    if (minute.cold) {
      result.coldMinutes++;
      result.missCost += series.missCost;
    }
    if (minute.held) {
      result.loadedMinutes++;
      result.loadedGbMinutes += series.memoryGb;
    }
    if (minute.load) result.loads++;
    if (minute.wasted) result.wastedLoads++;
  }
  return result;
}

export function emptyResult(): ReplayResult {
  return {
    arrivalMinutes: 0,
    coldMinutes: 0,
    loadedMinutes: 0,
    loadedGbMinutes: 0,
    loads: 0,
    wastedLoads: 0,
    missCost: 0,
  };
}

export function addResult(sum: ReplayResult, part: ReplayResult): ReplayResult {
  return {
    arrivalMinutes: sum.arrivalMinutes + part.arrivalMinutes,
    coldMinutes: sum.coldMinutes + part.coldMinutes,
    loadedMinutes: sum.loadedMinutes + part.loadedMinutes,
    loadedGbMinutes: sum.loadedGbMinutes + part.loadedGbMinutes,
    loads: sum.loads + part.loads,
    wastedLoads: sum.wastedLoads + part.wastedLoads,
    missCost: sum.missCost + part.missCost,
  };
}
