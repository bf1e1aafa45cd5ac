/**
 * Which hosts are weighed for a category, and in which order a miss asks them. Affinity leads;
 * where a category already is counts more than a hair of affinity, so that plans do not flap; a
 * small per-category spread keeps equal hosts equally full.
 */
import type { EnvironmentStatus } from "../../shared/domain.ts";
import type { Holding, HostView } from "./input.ts";

/**
 * What being somewhere already is worth in affinity, summed: its data there, its data ordered
 * there, an environment there or ordered. Raised: moves later to a better host.
 */
const HELD_BONUS = 0.1;
const ORDERED_BONUS = 0.1;
const ENVIRONMENT_BONUS = 0.15;
const FAILED_PENALTY = 0.3;
const SPREAD = 0.06;

/** Per host what the planner looks up; kept per report, so that an unchanged one costs nothing. */
export type HostIndex = {
  environments: ReadonlyMap<string, EnvironmentStatus>;
  holdings: ReadonlyMap<string, Holding>;
};

const environmentIndex = new WeakMap<
  readonly EnvironmentStatus[],
  ReadonlyMap<string, EnvironmentStatus>
>();
const holdingIndex = new WeakMap<readonly Holding[], ReadonlyMap<string, Holding>>();

export function indexHost(host: HostView): HostIndex {
  let environments = environmentIndex.get(host.environments);
  if (!environments) {
    const best = new Map<string, EnvironmentStatus>();
    for (const e of host.environments) {
      const key = `${e.workload}/${e.category}`;
      const other = best.get(key);
      if (isThere(e) && (!other || progress(e) > progress(other))) best.set(key, e);
    }
    environments = best;
    environmentIndex.set(host.environments, environments);
  }
  let holdings = holdingIndex.get(host.holdings);
  if (!holdings) {
    holdings = new Map(host.holdings.map((holding) => [holding.manifestHash, holding]));
    holdingIndex.set(host.holdings, holdings);
  }
  return { environments, holdings };
}

/** It is or will be able to serve; what drains is on its way out. */
export function isThere(e: EnvironmentStatus): boolean {
  return e.state !== "absent" && e.state !== "draining";
}

export function isReady(e: EnvironmentStatus): boolean {
  return (e.state === "warm" || e.state === "serving") && e.verdict?.passed === true;
}

function progress(e: EnvironmentStatus): number {
  if (isReady(e)) return 2;
  return e.verdict?.passed === false ? 0 : 1;
}

export type Place = {
  /** Index into the hosts. */
  host: number;
  affinity: number;
  /** Affinity with what speaks for staying. */
  score: number;
  environment: EnvironmentStatus | null;
  ready: boolean;
  /** Of the category's artifacts, not on the host. */
  missingBytes: number;
  /** The plan before this one had it there, warm or staged. */
  orderedWarm: boolean;
  orderedStage: boolean;
  /** It was ordered warm, is not ready yet, and has not had its time. */
  committed: boolean;
};

export type PlaceFacts = {
  environment: EnvironmentStatus | null;
  missingBytes: number;
  /** Share of its bytes that are there, 0..1. */
  held: number;
  orderedWarm: boolean;
  orderedStage: boolean;
  /** An order of it is younger than its lead time and some patience. */
  fresh: boolean;
};

export function place(host: number, affinity: number, spread: number, facts: PlaceFacts): Place {
  const { environment } = facts;
  const ready = environment !== null && isReady(environment);
  const failed = !ready && environment?.verdict?.passed === false;
  let score = affinity + SPREAD * spread + HELD_BONUS * facts.held;
  if (facts.orderedStage || facts.orderedWarm) score += ORDERED_BONUS;
  if (failed) score -= FAILED_PENALTY;
  else if (environment || facts.orderedWarm) score += ENVIRONMENT_BONUS;
  return {
    host,
    affinity,
    score,
    environment,
    ready,
    missingBytes: facts.missingBytes,
    orderedWarm: facts.orderedWarm,
    orderedStage: facts.orderedStage,
    committed: facts.orderedWarm && !ready && facts.fresh,
  };
}

/** The `count` hosts with the highest affinity plus spread, unordered; what is not live is left out. */
export function topHosts(
  affinity: Float64Array,
  salts: Uint32Array,
  keyHash: number,
  live: Uint8Array,
  count: number,
): number[] {
  const hosts: number[] = [];
  const scores: number[] = [];
  for (let host = 0; host < affinity.length; host++) {
    if (live[host] === 0) continue;
    const score = (affinity[host] ?? 0) + SPREAD * spreadOf(keyHash, salts[host] ?? 0);
    if (hosts.length === count && score <= (scores[count - 1] ?? 0)) continue;
    let at = hosts.length === count ? count - 1 : hosts.length;
    while (at > 0 && (scores[at - 1] ?? 0) < score) {
      hosts[at] = hosts[at - 1] ?? 0;
      scores[at] = scores[at - 1] ?? 0;
      at--;
    }
    hosts[at] = host;
    scores[at] = score;
  }
  return hosts;
}

/** 0..1, by chance but always the same for a category and a host. */
export function spreadOf(keyHash: number, salt: number): number {
  let h = Math.imul(keyHash ^ salt, 0x9e3779b1);
  h = Math.imul(h ^ (h >>> 15), 0x85ebca6b);
  return ((h ^ (h >>> 13)) >>> 0) / 4294967296;
}

/** FNV-1a. */
export function hashText(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return h >>> 0;
}
