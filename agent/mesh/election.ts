/**
 * Who of several hosts does a thing once for all: rendezvous hashing (highest random weight).
 * Every host that knows the same candidates picks the same one, and a candidate that goes takes
 * only its own share with it.
 * Source: Thaler and Ravishankar, "Using Name-Based Mappings to Increase Hit Rates", 1998.
 */
export function elect(candidates: Iterable<string>, chunkHash: string): string | null {
  let best: string | null = null;
  let bestWeight = -1;
  for (const host of candidates) {
    const w = weight(host, chunkHash);
    if (w > bestWeight || (w === bestWeight && best !== null && host < best)) {
      best = host;
      bestWeight = w;
    }
  }
  return best;
}

/** A 32-bit weight of the pair; the chunk hash is random already. */
function weight(host: string, chunkHash: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < host.length; i++) h = Math.imul(h ^ host.charCodeAt(i), 0x01000193);
  h ^= Number.parseInt(chunkHash.slice(0, 8), 16);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
