/** Makes this host the first holder of a version: from a directory, or from a stream of files. */
import type { Manifest, SignedManifest } from "../../shared/domain.ts";
import { keyFromSeed, verifyManifest } from "../../shared/manifest.ts";
import type { Clock } from "../../shared/runtime/clock.ts";
import { type IncomingFile, ingest, type Stream } from "./ingest.ts";
import { describe, keep } from "./publish.ts";
import type { Store } from "./store.ts";

export type SeederDeps = {
  identity: { seed: Uint8Array; host: string };
  clock: Clock;
  store: Store;
  /** Keeps a version from eviction while it is filled; the result ends that. */
  pin(manifestHash: string): () => void;
  onComplete(manifestHash: string): void;
};

export class Seeder {
  readonly #deps: SeederDeps;

  constructor(deps: SeederDeps) {
    this.#deps = deps;
  }

  /** Cuts, signs and, unless it lies at an origin and need not be kept, stores a directory. */
  async directory(
    dir: string,
    options: { name: string; version: string; originUrl: string | null; keep: boolean },
  ): Promise<SignedManifest> {
    const { store, identity } = this.#deps;
    const signed = await describe(
      { dir, ...this.#publisher(), ...options },
      keyFromSeed(identity.seed),
    );
    if (options.originUrl !== null && !options.keep) return signed;
    return this.#seed(signed, (manifest) => keep(dir, signed, manifest, store));
  }

  /** The same of files that come as a stream, in one pass. Throws what reading them throws. */
  async stream(files: AsyncIterable<IncomingFile>, what: Stream): Promise<SignedManifest> {
    const { store, identity } = this.#deps;
    const key = keyFromSeed(identity.seed);
    return ingest(files, { ...what, ...this.#publisher() }, key, store, (signed, adopt) =>
      this.#seed(signed, adopt),
    );
  }

  #publisher(): { publisher: string; createdMs: number } {
    return { publisher: this.#deps.identity.host, createdMs: this.#deps.clock.now() };
  }

  async #seed(
    signed: SignedManifest,
    fill: (manifest: Manifest) => Promise<void>,
  ): Promise<SignedManifest> {
    const unpin = this.#deps.pin(signed.hash);
    try {
      await fill(verifyManifest(signed));
      await this.#deps.store.noteUsed(signed.hash);
    } finally {
      unpin();
    }
    this.#deps.onComplete(signed.hash);
    return signed;
  }
}
