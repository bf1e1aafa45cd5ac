/** What this host says it has of a version. */
import type { Provenance } from "./provenance.ts";
import type { Tree } from "./trees.ts";

export type Holding = {
  manifestHash: string;
  ref: { name: string; version: string };
  bytesHave: number;
  bytes: number;
  active: boolean;
  /** Whole since then, real time. */
  sinceMs: number | null;
  sources: { from: string; bytes: number }[];
};

export function holdingOf(tree: Tree, provenance: Provenance): Holding {
  const { name, version, bytes } = tree.manifest;
  return {
    manifestHash: tree.hash,
    ref: { name, version },
    bytesHave: tree.bytesHave,
    bytes,
    active: tree.active,
    ...provenance.of(tree.hash),
  };
}

/** Who keeps which version from eviction. */
export class Pins {
  readonly #owners = new Map<string, Set<string>>();

  has(manifestHash: string): boolean {
    return this.#owners.has(manifestHash);
  }

  /** Until the result is called, or the same owner's pin removed. */
  add(manifestHash: string, owner: string): () => void {
    const owners = this.#owners.get(manifestHash) ?? new Set();
    this.#owners.set(manifestHash, owners.add(owner));
    return () => this.remove(manifestHash, owner);
  }

  remove(manifestHash: string, owner: string): void {
    const owners = this.#owners.get(manifestHash);
    owners?.delete(owner);
    if (owners?.size === 0) this.#owners.delete(manifestHash);
  }
}
