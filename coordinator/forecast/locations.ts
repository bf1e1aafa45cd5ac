/** Experts that say where the middle of a future bin is, on the signal's scale. */
import { FAST, MEDIUM, type Signal, SLOW } from "./signal.ts";

export type Location = {
  readonly name: string;
  /** Seasons the series must have. */
  readonly seasons: number;
  /** Share in the mix before anything is known. */
  readonly prior: number;
  /** z of the bin `ahead` (1 = the next); NaN when there is nothing to go by. */
  at(signal: Signal, ahead: number): number;
};

const target = (signal: Signal, ahead: number) => signal.n - 1 + ahead;

export const LOCATIONS: readonly Location[] = [
  { name: "level-fast", seasons: 0, prior: 1, at: (signal) => signal.mean(FAST) },
  { name: "level", seasons: 0, prior: 1, at: (signal) => signal.mean(MEDIUM) },
  { name: "level-slow", seasons: 0, prior: 0.5, at: (signal) => signal.mean(SLOW) },
  {
    name: "trend",
    seasons: 0,
    prior: 1,
    at: (signal, ahead) => signal.trend(ahead) + signal.seasonal(0, target(signal, ahead)),
  },
  {
    name: "season-naive",
    seasons: 1,
    prior: 0.5,
    at: (signal, ahead) => signal.seasonBefore(target(signal, ahead), signal.seasons[0] ?? 1),
  },
  seasonal("season-fast", 0, FAST, 1),
  seasonal("season", 0, MEDIUM, 2),
  seasonal("season-slow", 0, SLOW, 1),
  {
    name: "long-naive",
    seasons: 2,
    prior: 0.5,
    at: (signal, ahead) => signal.seasonBefore(target(signal, ahead), signal.seasons[1] ?? 1),
  },
  seasonal("long-season-fast", 1, FAST, 1),
  seasonal("long-season", 1, MEDIUM, 2),
  seasonal("long-season-slow", 1, SLOW, 1),
];

/** Decomposition: the season's profile, and what it leaves by exponential smoothing. */
function seasonal(name: string, season: number, gain: number, prior: number): Location {
  return {
    name,
    seasons: season + 1,
    prior,
    at: (signal, ahead) =>
      signal.seasonal(season, target(signal, ahead)) + signal.deviation(season, gain),
  };
}
