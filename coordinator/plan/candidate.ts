/** One thing that could be done for one category on one host, and what it is worth. */
import type { ArtifactRef, HostId, Order, Reason } from "../../shared/domain.ts";
import type { Workload } from "../../shared/workload.ts";
import {
  type Decision,
  decideKeep,
  decideStart,
  type Economics,
  START_SHARE,
  type Support,
} from "./decide.ts";
import type { Aggressiveness, ArrivalView, ArtifactNeed, HostView, Prices } from "./input.ts";
import type { HostIndex, Place } from "./rank.ts";
import { hashText } from "./rank.ts";

/** How far ahead data is staged. */
export const STAGE_HORIZON_MS = 3_600_000;
const MINUTE_MS = 60_000;
const GB = 2 ** 30;
/** Assumed while a host has measured nothing, real bytes per second. */
const RATE_UNKNOWN = 8 << 20;

/** What all candidates of one category have in common. */
export type Subject = {
  workload: Workload;
  category: string;
  /** `categoryKey`. */
  key: string;
  /** Names of the groups its candidates compete in: made once, so that looking them up is cheap. */
  groups: { stage: string; warm: string };
  curve: ArrivalView | null;
  needs: readonly ArtifactNeed[];
  totalBytes: number;
  refs: ArtifactRef[];
  aggressiveness: Aggressiveness;
  support: Support;
  /** Class priority ÷ 100, bounded. */
  weight: number;
  warmMs: number;
  /** Until a miss would have its data where it takes least, real milliseconds. */
  fetchMs: number;
  speed: number;
  prices: Prices;
  now: number;
  /** When its data should be there, from now. */
  neededInMs: number;
  /** Decisions already made for this category, by what they depend on. */
  decisions: Map<string, Decision>;
};

export type Candidate = {
  kind: "stage" | "warm";
  subject: Subject;
  place: Place;
  /** Nothing has to be done for it but to hold what is there. */
  keep: boolean;
  missingBytes: number;
  probability: number;
  threshold: number;
  leadMs: number;
  /** When it should be ready, from now. */
  readyInMs: number;
  missCost: number;
  stageCost: number;
  holdCost: number;
  gain: number;
  /** For choosing what fits: the gain where it is to be done, 0 where it does not pay. */
  value: number;
};

/** What a start under way is worth at least, as a part of a miss. */
const COMMITTED_SHARE = 0.05;

/** Share of the chance of demand within the horizon that has come when data should be there. */
const NEEDED_SHARE = 0.5;

/**
 * The time by which half of the chance of a request within the horizon has come: what is needed
 * sooner is fetched sooner, timers by their next minute, the others by how often they come.
 */
export function neededInMs(curve: ArrivalView | null): number {
  const hazard = curve?.hazardPerMinute ?? [];
  const minutes = STAGE_HORIZON_MS / MINUTE_MS;
  let absent = 1;
  for (let k = 0; k < minutes; k++) absent *= 1 - (hazard[k] ?? 0);
  const wanted = 1 - NEEDED_SHARE * (1 - absent);
  let survival = 1;
  for (let k = 0; k < minutes; k++) {
    survival *= 1 - (hazard[k] ?? 0);
    if (survival <= wanted) return k * MINUTE_MS;
  }
  return STAGE_HORIZON_MS;
}

/** Bytes of the needs that are not on the host. */
export function missingBytes(needs: readonly ArtifactNeed[], index: HostIndex): number {
  let missing = 0;
  for (const need of needs) missing += missingOf(need, index);
  return missing;
}

export function missingOf(need: ArtifactNeed, index: HostIndex): number {
  const holding = index.holdings.get(need.manifestHash);
  return holding ? Math.max(0, need.bytes - holding.bytesHave) : need.bytes;
}

/** Until the host would have what is missing there, real milliseconds. */
export function fetchMs(host: HostView, missing: number, speed: number): number {
  return missing / rate(host, speed) / speed;
}

/** Bytes per millisecond of the demand clock that the host gets from peers or origin. */
function rate(host: HostView, speed: number): number {
  const sample = host.sample;
  const best = Math.max(sample?.peerBytesPerSecond ?? 0, sample?.originBytesPerSecond ?? 0);
  return (best > 0 ? best : RATE_UNKNOWN / speed) / 1000;
}

export function warmCandidate(
  subject: Subject,
  place: Place,
  host: HostView,
  missing: number,
): Candidate {
  const stageMs = missing / rate(host, subject.speed);
  const leadMs = (stageMs + subject.warmMs * subject.speed) * subject.aggressiveness.lead;
  const economics = warmEconomics(subject, missing, leadMs);
  const there = place.environment !== null || place.orderedWarm;
  const decision = decide(subject, economics, there);
  // What is under way is seen through, as in a replay: dropped half-way it would start elsewhere.
  const act = decision.act || place.committed;
  const gain = act
    ? Math.max(decision.gain, COMMITTED_SHARE * economics.missCost)
    : Math.min(0, decision.gain);
  const acted = decision.windowMinutes > economics.leadMinutes || there;
  const holdCost = acted
    ? decision.expectedHoldCost
    : economics.holdCost * (economics.leadMinutes + 1);
  const probability = acted ? decision.probability : nearProbability(subject, leadMs);
  return {
    kind: "warm",
    subject,
    place,
    keep: place.environment !== null,
    missingBytes: missing,
    probability: bounded(probability),
    threshold: ratio(holdCost + (there ? 0 : economics.startCost), economics.missCost),
    leadMs,
    readyInMs: leadMs,
    missCost: economics.missCost,
    stageCost: economics.startCost,
    holdCost,
    gain,
    value: act ? gain : 0,
  };
}

function warmEconomics(subject: Subject, missing: number, leadMs: number): Economics {
  const { workload, prices, weight } = subject;
  const seconds = workload.missCostSeconds ?? (subject.warmMs + subject.fetchMs) / 1000;
  const gb = (workload.environment.resources.memoryMb * 2 ** 20) / GB;
  const missCost = seconds * weight;
  return {
    missCost,
    holdCost: (prices.memoryGbHour * gb * subject.aggressiveness.threshold) / 60,
    startCost:
      START_SHARE * missCost + (missing / GB) * prices.movedGb * subject.aggressiveness.threshold,
    leadMinutes: Math.max(1, Math.ceil(leadMs / MINUTE_MS)),
  };
}

/** Hosts of one category differ in few numbers: each distinct decision is computed once. */
function decide(subject: Subject, e: Economics, there: boolean): Decision {
  const key = there
    ? `keep ${e.leadMinutes} ${e.startCost} ${e.missCost}`
    : `start ${e.leadMinutes} ${e.startCost} ${e.missCost}`;
  let decision = subject.decisions.get(key);
  if (!decision) {
    const hazard = subject.curve?.hazardPerMinute ?? [];
    const { support } = subject;
    decision = there ? decideKeep(hazard, e, support) : decideStart(hazard, e, support);
    subject.decisions.set(key, decision);
  }
  return decision;
}

function nearProbability(subject: Subject, leadMs: number): number {
  return subject.curve?.probabilityWithin(leadMs + MINUTE_MS) ?? 0;
}

/** Null where there is nothing to stage. */
export function stageCandidate(
  subject: Subject,
  place: Place,
  host: HostView,
  missing: number,
): Candidate | null {
  if (subject.totalBytes === 0) return null;
  const { prices, weight, aggressiveness } = subject;
  const bytesPerMs = rate(host, subject.speed);
  const seconds = subject.totalBytes / bytesPerMs / subject.speed / 1000;
  const declared = subject.workload.missCostSeconds;
  const missCost = (declared === undefined ? seconds : Math.min(declared, seconds)) * weight;
  const probability = bounded(subject.curve?.probabilityWithin(STAGE_HORIZON_MS) ?? 0);
  const stageCost = (missing / GB) * prices.movedGb * aggressiveness.threshold;
  const holdCost = (subject.totalBytes / GB) * prices.diskGbHour * (STAGE_HORIZON_MS / 3_600_000);
  const gain = probability * missCost - stageCost - holdCost;
  return {
    kind: "stage",
    subject,
    place,
    keep: missing === 0,
    missingBytes: missing,
    probability,
    threshold: ratio(stageCost + holdCost, missCost),
    leadMs: missing / bytesPerMs,
    readyInMs: subject.neededInMs,
    missCost,
    stageCost,
    holdCost,
    gain,
    value: Math.max(0, gain),
  };
}

function ratio(cost: number, missCost: number): number {
  return missCost > 0 ? bounded(cost / missCost) : 1;
}

function bounded(p: number): number {
  return Math.min(1, Math.max(0, p));
}

export type Continued = { id: string; deadlineMs: number };

/** Names the order and the minute it began; at most 200 characters. */
export function orderId(key: string, now: number): string {
  const minute = Math.floor(now / MINUTE_MS).toString(36);
  const text = key.length <= 170 ? key : `${key.slice(0, 150)}~${hashText(key).toString(36)}`;
  return `${text}#${minute}`;
}

export function orderOf(
  candidate: Candidate,
  host: HostId,
  verdict: { taken: boolean; reason: Reason },
  before: Continued | undefined,
): Order {
  const { subject, kind } = candidate;
  const { now } = subject;
  return {
    id: before?.id ?? orderId(`${kind}:${subject.key}@${host}`, now),
    kind,
    workload: subject.workload.name,
    category: subject.category,
    host,
    artifacts: subject.refs,
    taken: verdict.taken,
    reason: verdict.reason,
    probability: candidate.probability,
    threshold: candidate.threshold,
    leadMs: candidate.leadMs,
    deadlineMs: before?.deadlineMs ?? now + (candidate.keep ? 0 : candidate.readyInMs),
    missCost: candidate.missCost,
    stageCost: candidate.stageCost,
    holdCost: candidate.holdCost,
    expectedGain: candidate.gain,
    bytes: Math.round(candidate.missingBytes),
    affinity: bounded(candidate.place.affinity),
  };
}
