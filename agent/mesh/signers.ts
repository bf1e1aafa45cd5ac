/** Who signed the versions that are here, and whether that counts by the list last heard. */
import type { Manifest, SignedManifest } from "../../shared/domain.ts";
import type { PrestageError } from "../../shared/errors.ts";
import { verifyManifest } from "../../shared/manifest.ts";
import {
  type Publisher,
  PublisherPolicy,
  type PublisherReason,
  publisherRefusal,
} from "../../shared/publishers.ts";
import type { Store } from "./store/store.ts";
import type { Tree } from "./store/trees.ts";

type Signed = { publicKey: string; name: string; reason: PublisherReason | null };

export class Signers {
  readonly #refused: (reason: PublisherReason) => void;
  readonly #known = new Map<string, Signed>();
  #policy: PublisherPolicy | null = null;
  #list = "";

  /** `refused` hears of each manifest that was turned away. */
  constructor(refused: (reason: PublisherReason) => void) {
    this.#refused = refused;
  }

  /** Whether a list was heard: nothing is fetched before. */
  get ready(): boolean {
    return this.#policy !== null;
  }

  /** True when the list says something new. */
  setPolicy(list: readonly Publisher[], memberPeers: readonly string[]): boolean {
    const text = JSON.stringify([list, memberPeers.toSorted()]);
    if (text === this.#list) return false;
    this.#list = text;
    this.#policy = new PublisherPolicy(list, memberPeers);
    for (const signed of this.#known.values()) signed.reason = this.#judge(signed);
    return true;
  }

  /** What an earlier process left. */
  async load(store: Store): Promise<void> {
    for (const tree of [...store.all()]) {
      const signed = await store.signedManifest(tree.hash);
      if (signed) this.note(signed, tree.manifest);
    }
  }

  note({ hash, publicKey }: SignedManifest, { name }: Manifest): void {
    this.#known.set(hash, { publicKey, name, reason: this.#judge({ publicKey, name }) });
  }

  /**
   * Versions not in use whose signers do not count, each told once: to be dropped. Forgets those
   * that are neither here nor in use.
   */
  forgetDistrusted(trees: Iterable<Tree>, inUse: (hash: string) => boolean): Tree[] {
    const here = [...trees];
    const dropped = here.filter(({ hash }) => this.reason(hash) !== null && !inUse(hash));
    const kept = new Set(here.map((tree) => tree.hash));
    for (const { hash } of dropped) kept.delete(hash);
    for (const hash of this.#known.keys())
      if (!kept.has(hash) && !inUse(hash)) this.#known.delete(hash);
    return dropped;
  }

  /**
   * The manifest, if it is whole, the one asked for, and signed by a key that counts for its name.
   * Throws what stands against it.
   */
  accept(signed: SignedManifest, hash: string): Manifest {
    const manifest = verifyManifest(signed, hash);
    const reason = this.#judge({ publicKey: signed.publicKey, name: manifest.name });
    if (reason) {
      this.#refused(reason);
      throw publisherRefusal(reason, `${manifest.name}@${manifest.version}`);
    }
    this.note(signed, manifest);
    return manifest;
  }

  /** Why a version that is here does not count any more; null when it does or is unknown. */
  reason(hash: string): PublisherReason | null {
    return this.#known.get(hash)?.reason ?? null;
  }

  /** FORBIDDEN with the reason, when the version's signer does not count any more. */
  refusal(hash: string): PrestageError | null {
    const signed = this.#known.get(hash);
    return signed?.reason ? publisherRefusal(signed.reason, signed.name) : null;
  }

  /** Before a list was heard nothing that is here is judged. */
  #judge({ publicKey, name }: { publicKey: string; name: string }): PublisherReason | null {
    return this.#policy?.judge(publicKey, name) ?? null;
  }
}
