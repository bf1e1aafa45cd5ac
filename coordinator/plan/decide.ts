/**
 * Whether an idle environment is worth its memory for another minute, and whether an absent one is
 * worth starting now: one small dynamic program over the hazard of the next minutes.
 *
 * With h_k = P(arrival in minute k | none before), M what a cold arrival costs (its load included),
 * c what an idle minute of the memory costs, L the minutes from starting to ready and s what a load
 * made ahead costs:
 *
 *   wait_k   = h_k·M + (1 − h_k)·J_absent(k+1)
 *   hold_k   = (1 − h_k)·(c + J_ready(k+1))
 *   start_k  = s + Σ_{j<L} S_j·((1 − h_{k+j})·c + h_{k+j}·M) + S_L·J_ready(k+L)
 *   J_absent(k) = min(wait_k, start_k)      J_ready(k) = min(hold_k, wait_k)      J(H) = 0
 *
 * with S_j = Π_{i<j} (1 − h_{k+i}). A minute with an arrival is used, whichever course was taken:
 * its memory is no waste. An arrival ends the window: afterwards the environment is there either
 * way, so that both sides go on alike (renewal). `min(hold, wait)` includes "drop now, start again
 * in time", which for timers is much cheaper than keeping, and starts fall on the latest minute
 * that still makes it.
 *
 * This is optimal stopping of a renewal process by its hazard rate (Ross, Applied Probability
 * Models with Optimization Applications, 1970). Refused as the only rule: the hybrid histogram
 * (Shahrad et al., Serverless in the Wild, ATC 2020): its fixed percentiles know no price, so
 * neither the memory of an environment nor the cost of its miss moves them. It and fixed
 * keep-alives have a say through `Support`, for what the hazard does not understand (mixture.ts).
 */

/** Minutes looked ahead. */
export const WINDOW_MINUTES = 120;
const LEAD_MINUTES_MAX = 60;

/**
 * What starting costs by itself, as a part of a miss: the processor time of a start that nobody
 * waits for. Raised: environments are kept through short gaps rather than made anew.
 */
export const START_SHARE = 0.1;

export type Economics = {
  /** Cost units of one cold arrival. */
  missCost: number;
  /** Cost units per minute of the environment's memory. */
  holdCost: number;
  /** Cost units of starting besides its memory: bytes moved. */
  startCost: number;
  /** Whole minutes from start to ready, at least 1. */
  leadMinutes: number;
};

/** What the best course is, from one of the two states. Gains are against doing nothing. */
export type Decision = {
  /** Hold (when it is there) or start now (when it is not). */
  act: boolean;
  /** Cost units saved by acting now; negative when it does not pay. */
  gain: number;
  /** Minutes it would be held at most before it is dropped again, lead included. */
  windowMinutes: number;
  /** P(arrival while it is ready within the window), 0..1. */
  probability: number;
  /** Expected cost of the memory over the window. */
  expectedHoldCost: number;
};

/** Who has a say about a category, by weight; what is missing to 1 wants it gone. */
export type Support = {
  /** Weight of this program, 0..1. */
  program: number;
  /** Weight of the simple policies that want it there now. */
  wanted: number;
};
export const PROGRAM_ALONE: Support = { program: 1, wanted: 0 };

const NOTHING: Decision = {
  act: false,
  gain: 0,
  windowMinutes: 0,
  probability: 0,
  expectedHoldCost: 0,
};

type Courses = { ready: Float64Array; absent: Float64Array };

const ready = new Float64Array(WINDOW_MINUTES + LEAD_MINUTES_MAX + 2);
const absent = new Float64Array(WINDOW_MINUTES + LEAD_MINUTES_MAX + 2);

/** Fills J_ready and J_absent; the arrays are reused by the next call. */
function solve(hazard: ArrayLike<number>, e: Economics, lead: number, from: number): Courses {
  const horizon = Math.min(WINDOW_MINUTES, hazard.length);
  ready.fill(0, horizon, horizon + lead + 2);
  absent.fill(0, horizon, horizon + lead + 2);
  const peak = peakHazard(hazard, horizon);
  const startPays = peak * e.missCost > (1 - peak) * e.holdCost;
  for (let k = horizon - 1; k >= from; k--) {
    const h = hazard[k] ?? 0;
    const wait = h * e.missCost + (1 - h) * (absent[k + 1] ?? 0);
    const hold = (1 - h) * (e.holdCost + (ready[k + 1] ?? 0));
    ready[k] = Math.min(hold, wait);
    absent[k] = startPays ? Math.min(wait, startAt(hazard, e, lead, k)) : wait;
  }
  return { ready, absent };
}

function startAt(hazard: ArrayLike<number>, e: Economics, lead: number, k: number): number {
  let survival = 1;
  let cost = e.startCost;
  for (let j = 0; j < lead && survival > 1e-9; j++) {
    const h = hazard[k + j] ?? 0;
    cost += survival * ((1 - h) * e.holdCost + h * e.missCost);
    survival *= 1 - h;
  }
  return cost + survival * (ready[k + lead] ?? 0);
}

function peakHazard(hazard: ArrayLike<number>, horizon: number): number {
  let peak = 0;
  for (let k = 0; k < horizon; k++) peak = Math.max(peak, hazard[k] ?? 0);
  return peak;
}

/** For an environment that is there and idle: hold it through the coming minute? */
export function decideKeep(
  hazard: ArrayLike<number>,
  e: Economics,
  support: Support = PROGRAM_ALONE,
): Decision {
  const horizon = Math.min(WINDOW_MINUTES, hazard.length);
  if (horizon === 0) return voted(NOTHING, e, support, 1);
  const lead = wholeLead(e);
  const courses = solve(hazard, e, lead, 1);
  const h = hazard[0] ?? 0;
  const hold = (1 - h) * (e.holdCost + (courses.ready[1] ?? 0));
  const drop = Math.min(
    h * e.missCost + (1 - h) * (courses.absent[1] ?? 0),
    startAt(hazard, e, lead, 0),
  );
  const gain = drop - hold;
  const alone = { act: gain > 0, gain, ...windowFrom(hazard, e, courses, 0, 1) };
  return voted(alone, e, support, 1);
}

/** For an environment that is not there: start it now, to be ready `leadMinutes` from now? */
export function decideStart(
  hazard: ArrayLike<number>,
  e: Economics,
  support: Support = PROGRAM_ALONE,
): Decision {
  const horizon = Math.min(WINDOW_MINUTES, hazard.length);
  const lead = wholeLead(e);
  if (horizon <= lead) return voted(NOTHING, e, support, lead + 1);
  const courses = solve(hazard, e, lead, 1);
  const h = hazard[0] ?? 0;
  const wait = h * e.missCost + (1 - h) * (courses.absent[1] ?? 0);
  const gain = wait - startAt(hazard, e, lead, 0);
  const alone = { act: gain > 0, gain, ...windowFrom(hazard, e, courses, lead, lead) };
  return voted(alone, e, support, lead + 1);
}

/** Whether the weight of those that want it there is more than half. */
export function carried(programActs: boolean, { program, wanted }: Support): boolean {
  return (programActs ? program : 0) + wanted > 0.5;
}

/** Overruled, the decision is worth a minute of the memory either way: nobody knows it better. */
function voted(alone: Decision, e: Economics, support: Support, minutes: number): Decision {
  const act = carried(alone.act, support);
  if (act === alone.act) return alone;
  if (!act) return { ...alone, act, gain: -e.holdCost };
  const windowMinutes = Math.max(alone.windowMinutes, minutes);
  return { ...alone, act, gain: Math.max(alone.gain, e.holdCost), windowMinutes };
}

function wholeLead(e: Economics): number {
  return Math.min(LEAD_MINUTES_MAX, Math.max(1, Math.ceil(e.leadMinutes)));
}

/** Follows the course that is ready from minute `readyFrom` and surely held before `sureUntil`. */
function windowFrom(
  hazard: ArrayLike<number>,
  e: Economics,
  courses: Courses,
  readyFrom: number,
  sureUntil: number,
): { windowMinutes: number; probability: number; expectedHoldCost: number } {
  const horizon = Math.min(WINDOW_MINUTES, hazard.length);
  let survival = 1;
  let probability = 0;
  let expectedHoldCost = 0;
  let k = 0;
  for (; k < horizon; k++) {
    const h = hazard[k] ?? 0;
    const wait = h * e.missCost + (1 - h) * (courses.absent[k + 1] ?? 0);
    const hold = (1 - h) * (e.holdCost + (courses.ready[k + 1] ?? 0));
    if (k >= sureUntil && hold >= wait) break;
    expectedHoldCost += survival * (1 - h) * e.holdCost;
    if (k >= readyFrom) probability += survival * h;
    survival *= 1 - h;
  }
  return { windowMinutes: k, probability: Math.min(1, probability), expectedHoldCost };
}

/** Whether holding what is ready pays by this minute alone. */
export function paysNow(next: number, { missCost, holdCost }: Economics): boolean {
  return next * missCost > (1 - next) * holdCost;
}

/**
 * The program's two decisions as a replay needs them: only the yes or no, with the cheap certain
 * answers first. `h_0·M > (1 − h_0)·c` always pays for what is there; where no hazard of the window
 * passes that, nothing pays.
 */
export function shouldHold(
  hazard: ArrayLike<number>,
  peak: number,
  isReady: boolean,
  e: Economics,
): boolean {
  if (peak * e.missCost <= (1 - peak) * e.holdCost) return false;
  if (isReady && paysNow(hazard[0] ?? 0, e)) return true;
  if (wholeLead(e) === 1) return holdsNextMinute(hazard, isReady, e);
  return (isReady ? decideKeep(hazard, e) : decideStart(hazard, e)).act;
}

/**
 * The same where L is 1: then only D = J_absent − J_ready is needed, and with x = (1 − h)·(c − D(k+1))
 * wait, hold and start cost h·M, x and s + h·M + x beyond what they have in common.
 */
function holdsNextMinute(hazard: ArrayLike<number>, isReady: boolean, e: Economics): boolean {
  const { missCost, holdCost, startCost } = e;
  const horizon = Math.min(WINDOW_MINUTES, hazard.length);
  if (!isReady && horizon < 2) return false;
  let ahead = 0;
  for (let k = horizon - 1; k > 0; k--) {
    const h = hazard[k] ?? 0;
    const wait = h * missCost;
    const hold = (1 - h) * (holdCost - ahead);
    const start = startCost + wait + hold;
    ahead = Math.min(start, wait) - Math.min(hold, wait);
  }
  const h = hazard[0] ?? 0;
  const hold = (1 - h) * (holdCost - ahead);
  return isReady ? hold < h * missCost : startCost + hold < 0;
}
