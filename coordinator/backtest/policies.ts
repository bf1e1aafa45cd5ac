/**
 * The standard policies: what a backtest compares with. Each looks only at what it was told, the
 * oracle excepted.
 */
import { leadMinutes, type Policy, type Series } from "./play.ts";

/** Idle minutes from which on and until which a category is wanted, as its past says. */
export type IdleWindows = {
  window(series: number): { from: number; to: number };
  learn(series: number, idleMinutes: number): void;
};

/** Minutes of the last arrival by series; −1 = none yet. */
function lastArrivals(size: number): Int32Array {
  return new Int32Array(size).fill(-1);
}

/** Kept for `minutes` after each use, never loaded ahead: what reactive systems do. */
export function fixed(minutes: number, size: number): Policy {
  const last = lastArrivals(size);
  return {
    name: `fixed:${minutes}`,
    wants: (i, minute, ready) => ready && minute - (last[i] ?? 0) <= minutes,
    observe: (i, minute, requests) => {
      if (requests > 0) last[i] = minute;
    },
  };
}

/** Unloaded after use and loaded again where the window of its idle times begins. */
export function windowed(name: string, series: readonly Series[], windows: IdleWindows): Policy {
  const last = lastArrivals(series.length);
  return {
    name,
    wants: (i, minute) => {
      const since = last[i] ?? -1;
      const one = series[i];
      if (since < 0 || !one) return false;
      const idle = minute - since;
      const { from, to } = windows.window(i);
      // What would have to be loaded again at once is not dropped.
      return idle + leadMinutes(one.startSeconds) >= from && idle <= to;
    },
    observe: (i, minute, requests) => {
      if (requests === 0) return;
      const since = last[i] ?? -1;
      if (since >= 0) windows.learn(i, minute - since);
      last[i] = minute;
    },
  };
}

/**
 * Knows all that will come: keeps through a gap where that is cheaper than a load, else loads just
 * in time, first requests included. `worthMinutes` as for Prestage; the least possible cost.
 */
export function oracle(worthMinutes: number, series: readonly Series[], loadShare: number): Policy {
  const next = series.map((one) => nextArrivals(one.counts));
  return {
    name: "oracle",
    wants: (i, minute, ready) => {
      const lead = leadMinutes(series[i]?.startSeconds ?? 0);
      const ahead = (next[i]?.[minute] ?? Number.POSITIVE_INFINITY) - minute;
      const load = Math.min(worthMinutes, loadShare * worthMinutes + lead);
      if (ready) return ahead <= load;
      return ahead === lead && load < worthMinutes;
    },
    observe: () => {},
  };
}

/** For each minute the first one from it on that has requests. */
function nextArrivals(counts: ArrayLike<number>): Float64Array {
  const next = new Float64Array(counts.length);
  let at = Number.POSITIVE_INFINITY;
  for (let minute = counts.length - 1; minute >= 0; minute--) {
    if ((counts[minute] ?? 0) > 0) at = minute;
    next[minute] = at;
  }
  return next;
}
