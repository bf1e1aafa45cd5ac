/** Makes this host the first holder of a version: from a directory, or from a stream of files. */
import type { Manifest, SignedManifest } from "../../shared/domain.ts";
import { keyFromSeed, signManifest, verifyManifest } from "../../shared/manifest.ts";
import type { Clock } from "../../shared/runtime/clock.ts";
import { type IncomingFile, ingest, type Stream } from "./ingest.ts";
import { describe, keep, type Sign } from "./publish.ts";
import type { Signers } from "./signers.ts";
import type { Store } from "./store.ts";

export type SeederDeps = {
  identity: { seed: Uint8Array; host: string };
  clock: Clock;
  store: Store;
  signers: Signers;
  /** Keeps a version from eviction while it is filled; the result ends that. */
  pin(manifestHash: string): () => void;
  onComplete(manifestHash: string): void;
};

/** `sign`: default is this host's key. */
type Signing = { sign?: Sign | undefined };
type What = Signing & { name: string; version: string; originUrl: string | null };

export class Seeder {
  readonly #deps: SeederDeps;

  constructor(deps: SeederDeps) {
    this.#deps = deps;
  }

  /** Cuts, signs and, unless it lies at an origin and need not be kept, stores a directory. */
  async directory(
    dir: string,
    { sign = this.#own, ...options }: What & { keep: boolean },
  ): Promise<SignedManifest> {
    const { store } = this.#deps;
    const signed = await describe({ dir, ...this.#publisher(), ...options }, sign);
    if (options.originUrl !== null && !options.keep) return signed;
    return this.#seed(signed, (manifest) => keep(dir, signed, manifest, store));
  }

  /** The same of files that come as a stream, in one pass. Throws what reading them throws. */
  async stream(
    files: AsyncIterable<IncomingFile>,
    { sign = this.#own, ...what }: Stream & Signing,
  ): Promise<SignedManifest> {
    const { store } = this.#deps;
    return ingest(files, { ...what, ...this.#publisher() }, sign, store, (signed, adopt) =>
      this.#seed(signed, adopt),
    );
  }

  readonly #own: Sign = (manifest) => signManifest(manifest, keyFromSeed(this.#deps.identity.seed));

  #publisher(): { publisher: string; createdMs: number } {
    return { publisher: this.#deps.identity.host, createdMs: this.#deps.clock.now() };
  }

  async #seed(
    signed: SignedManifest,
    fill: (manifest: Manifest) => Promise<void>,
  ): Promise<SignedManifest> {
    const unpin = this.#deps.pin(signed.hash);
    try {
      const manifest = verifyManifest(signed);
      this.#deps.signers.note(signed, manifest);
      await fill(manifest);
      await this.#deps.store.noteUsed(signed.hash);
    } finally {
      unpin();
    }
    this.#deps.onComplete(signed.hash);
    return signed;
  }
}
