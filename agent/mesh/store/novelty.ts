/** How much of a version is new: against older ones of its name, and against all that is here. */
import type { Manifest } from "../../../shared/domain.ts";
import type { Places } from "./adopt.ts";

export type Amount = { bytes: number; chunks: number };
export type Novelty = {
  /** Each chunk once, wherever it stands. */
  all: Amount;
  /** In no other version of that name here. */
  toName: Amount;
  /** In no other version here. */
  toHost: Amount;
};

export function noveltyOf(manifest: Manifest, manifestHash: string, places: Places): Novelty {
  const none = (): Amount => ({ bytes: 0, chunks: 0 });
  const found: Novelty = { all: none(), toName: none(), toHost: none() };
  const seen = new Set<string>();
  for (const file of manifest.files)
    for (const { hash, bytes } of file.chunks) {
      if (seen.has(hash)) continue;
      seen.add(hash);
      const others = places(hash).filter(({ tree }) => tree.hash !== manifestHash);
      count(found.all, bytes);
      if (others.length === 0) count(found.toHost, bytes);
      if (!others.some(({ tree }) => tree.manifest.name === manifest.name))
        count(found.toName, bytes);
    }
  return found;
}

function count(amount: Amount, bytes: number): void {
  amount.bytes += bytes;
  amount.chunks++;
}
