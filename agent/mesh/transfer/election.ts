/**
 * Who of several hosts does a thing once for all: rendezvous hashing (highest random weight).
 * Every host that knows the same candidates picks the same one, and a candidate that goes takes
 * only its own share with it.
 * Source: Thaler and Ravishankar, "Using Name-Based Mappings to Increase Hit Rates", 1998.
 */
export function elect(candidates: Iterable<string>, hash: string): string | null {
  let best: string | null = null;
  for (const host of candidates) if (best === null || precedes(host, best, hash)) best = host;
  return best;
}

/** The candidates in the order in which they would be elected. */
export function ranked(candidates: readonly string[], hash: string): string[] {
  const weights = new Map(candidates.map((host) => [host, weight(host, hash)]));
  const of = (host: string) => weights.get(host) ?? 0;
  return [...candidates].sort((a, b) => of(b) - of(a) || (a < b ? -1 : 1));
}

/** Whether fewer than `most` of the others come before this host. */
export function isAmong(
  most: number,
  host: string,
  others: readonly string[],
  hash: string,
): boolean {
  let before = 0;
  for (const other of others) if (precedes(other, host, hash) && ++before === most) return false;
  return true;
}

function precedes(a: string, b: string, hash: string): boolean {
  const [wa, wb] = [weight(a, hash), weight(b, hash)];
  return wa > wb || (wa === wb && a < b);
}

/** A 32-bit weight of the pair; the hash is random already. */
function weight(host: string, hash: string): number {
  return weightOf(host, Number.parseInt(hash.slice(0, 8), 16));
}

/** A 32-bit number that looks random, the same for the same text and salt everywhere. */
export function weightOf(text: string, salt: number): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  h ^= salt;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
