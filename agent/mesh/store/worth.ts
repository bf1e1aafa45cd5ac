/**
 * What a version here is worth, to choose which goes when room is needed: how likely it is to be
 * used again × what it would cost to have it back ÷ the bytes its going frees.
 *
 * How likely: uses are counted with a weight that halves every day. Steady use at r a day makes
 * the count r ÷ ln 2, so count × ln 2 uses are expected in the next day, and as arrivals are taken
 * for Poisson, some use with probability 1 − exp(−count × ln 2). Refused: least recently used. It
 * gives up a small version that costs seconds to get again as readily as one nobody can give.
 */

/** Where else a version can be had from now. */
export type Elsewhere = "peers" | "origin" | "nowhere";

export type Usage = {
  /** Uses so far, each weighing half of what it did a day before. */
  count: number;
  /** When `count` was true. */
  countedMs: number;
};

export type Candidate = {
  usage: Usage;
  /** Of the QoS class it was last wanted for; 100 is the usual one. */
  priority: number;
  elsewhere: Elsewhere;
  /** Bytes on disk that are free when it goes; what others share stays. */
  freedBytes: number;
};

const HALF_LIFE_MS = 86_400_000;
/** A version that was put here for a use that has not come yet: half a use. */
export const EXPECTED_COUNT = 0.5;
/** Seconds to find out, connect and activate, however small it is. */
const FETCH_SECONDS = 0.5;
const BYTES_PER_SECOND = { peers: 100e6, origin: 10e6, nowhere: 10e3 } as const;
/** From this probability of use on, a version is not given up for one of a lower class. */
const LIKELY = 0.05;

export function countAt(usage: Usage, nowMs: number): number {
  return usage.count * 2 ** (-Math.max(0, nowMs - usage.countedMs) / HALF_LIFE_MS);
}

export function countUse(usage: Usage, nowMs: number): Usage {
  return { count: countAt(usage, nowMs) + 1, countedMs: nowMs };
}

/** That it is used within a day, 0..1. */
export function probabilityOfUse(usage: Usage, nowMs: number): number {
  return 1 - Math.exp(-countAt(usage, nowMs) * Math.LN2);
}

/** Expected seconds of waiting that it saves per byte it takes. */
export function worth(candidate: Candidate, nowMs: number): number {
  const { usage, priority, elsewhere, freedBytes } = candidate;
  const seconds = FETCH_SECONDS + freedBytes / BYTES_PER_SECOND[elsewhere];
  const weight = (1 + Math.max(0, priority)) / 100;
  return (probabilityOfUse(usage, nowMs) * seconds * weight) / Math.max(freedBytes, 1);
}

/** What a version that is wished for would be worth, of a use that has not come yet. */
export function worthOfWish(
  { priority, elsewhere, bytes }: { priority: number; elsewhere: Elsewhere; bytes: number },
  nowMs: number,
): number {
  const usage = { count: EXPECTED_COUNT, countedMs: nowMs };
  return worth({ usage, priority, elsewhere, freedBytes: bytes }, nowMs);
}

/**
 * Whether a version may go to make room for a wish that would be worth `wishWorth`. Before a
 * request that waits all may. What a higher class is likely to use never goes for a lower one, and
 * what nobody else can give only when it is worth less, which is long after its last use.
 */
export function mayGo(
  candidate: Candidate,
  wish: { foreground: boolean; priority: number },
  wishWorth: number,
  nowMs: number,
): boolean {
  if (wish.foreground) return true;
  if (candidate.elsewhere === "nowhere" && worth(candidate, nowMs) >= wishWorth) return false;
  return candidate.priority <= wish.priority || probabilityOfUse(candidate.usage, nowMs) < LIKELY;
}
