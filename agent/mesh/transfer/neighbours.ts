/**
 * Whom a host keeps a connection to in a site too large to know everybody: some at random, so that
 * word gets round in few steps and the site stays in one piece whoever leaves; but always the same,
 * so that one host more or less moves few connections. A pair has one weight for both its ends, and
 * each host takes those with the largest.
 *
 * Refused: the next in the order of names (word of a version then has to walk round the ring).
 */
import { weightOf } from "./election.ts";

/** So many are kept connected; the others are reached on demand and by gossip. */
const NEIGHBOURS_MAX = 32;
/** Chosen of more; about as many others choose this host. */
const CHOSEN = NEIGHBOURS_MAX / 2;

export function neighboursOf(self: string, others: readonly string[]): string[] {
  if (others.length <= NEIGHBOURS_MAX) return [...others];
  return others
    .map((host) => ({ host, weight: pairWeight(self, host) }))
    .sort((a, b) => b.weight - a.weight || (a.host < b.host ? -1 : 1))
    .slice(0, CHOSEN)
    .map(({ host }) => host);
}

function pairWeight(a: string, b: string): number {
  return a < b ? weightOf(`${a} ${b}`, 0) : weightOf(`${b} ${a}`, 0);
}
