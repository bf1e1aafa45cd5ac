/** Replays a policy over recorded minutes: what the price and the bandit are calibrated with. */

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
};
