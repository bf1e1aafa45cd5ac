/**
 * Experts that say where the middle of a future bin is, on the signal's scale: exponential smoothing
 * of the level, or of what a season's profile leaves (as STL with ETS does), at several rates in
 * place of a fitted one; a damped trend; and the naive ones.
 */
import { FAST, MEDIUM, type Signal, SLOW } from "./signal.ts";

const LEVEL_EXPERTS = 5;
const SEASON_EXPERTS = 3;
/** By the number of seasons they need: name, and share in the mix before anything is known. */
const EXPERTS: readonly (readonly (readonly [name: string, prior: number])[])[] = [
  [
    ["level-fast", 1],
    ["level", 1],
    ["level-slow", 0.5],
    ["trend", 1],
    ["last", 1],
  ],
  seasonal(""),
  seasonal("long-"),
];

function seasonal(name: string): readonly (readonly [string, number])[] {
  return [
    [name === "" ? "season-naive" : `${name}naive`, 0.5],
    [`${name}season-fast`, 1],
    [`${name}season`, 2],
  ];
}

/** The experts of a series with so many seasons, in the order of what `writeLocations` writes. */
export function locationsOf(seasons: number): readonly (readonly [name: string, prior: number])[] {
  return EXPERTS.slice(0, seasons + 1).flat();
}

/** z of the bin `ahead` (1 = the next) from `at` on; NaN when an expert has nothing to go by. */
export function writeLocations(
  signal: Signal,
  ahead: number,
  into: Float64Array,
  at: number,
): void {
  const target = signal.n - 1 + ahead;
  into[at] = signal.mean(FAST);
  into[at + 1] = signal.mean(MEDIUM);
  into[at + 2] = signal.mean(SLOW);
  into[at + 3] = signal.trend(ahead) + signal.seasonal(0, target);
  const last = signal.n - 1;
  into[at + 4] = signal.z(last) - signal.seasonal(0, last) + signal.seasonal(0, target);
  for (let s = 0; s < signal.seasons.length; s++) {
    const from = at + LEVEL_EXPERTS + s * SEASON_EXPERTS;
    const profile = signal.seasonal(s, target);
    into[from] = signal.seasonBefore(target, signal.seasons[s] ?? 1);
    into[from + 1] = profile + signal.deviation(s, FAST);
    into[from + 2] = profile + signal.deviation(s, MEDIUM);
  }
}
