/** Makes this host the first holder of a version: from a directory, or from a stream of files. */
import type { SignedManifest } from "../../shared/domain.ts";
import { keyFromSeed, signManifest } from "../../shared/manifest.ts";
import type { Clock } from "../../shared/runtime/clock.ts";
import { openDirectory } from "./directory.ts";
import {
  type IncomingFile,
  ingest,
  type OpenFile,
  openStream,
  type Sign,
  type Version,
} from "./ingest.ts";
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
const NEVER = new AbortController().signal;

/** `sign`: default is this host's key. */
type Signing = { sign?: Sign | undefined };
type What = Signing & Pick<Version, "name" | "version" | "originUrl" | "keep">;

export class Seeder {
  readonly #deps: SeederDeps;

  constructor(deps: SeederDeps) {
    this.#deps = deps;
  }

  /** Cuts, signs and, unless it lies at an origin and need not be kept, stores a directory. */
  directory(
    dir: string,
    options: What & Partial<Pick<Version, "signal" | "progress">>,
  ): Promise<SignedManifest> {
    const keep = options.keep || options.originUrl === null;
    const unbounded = { bytesMax: Number.MAX_SAFE_INTEGER, signal: NEVER, progress: () => {} };
    return this.#seed(openDirectory(dir), { ...unbounded, ...options, keep });
  }

  /** The same of files that come as a stream. Throws what reading them throws. */
  stream(files: AsyncIterable<IncomingFile>, what: Version & Signing): Promise<SignedManifest> {
    return this.#seed(openStream(files, what.signal), what);
  }

  async #seed(files: AsyncIterable<OpenFile>, what: Version & Signing): Promise<SignedManifest> {
    const { identity, clock, store, signers, pin, onComplete } = this.#deps;
    const own: Sign = (manifest) => signManifest(manifest, keyFromSeed(identity.seed));
    const signed = await ingest(files, what, {
      store,
      sign: what.sign ?? own,
      note: (signed, manifest) => signers.note(signed, manifest),
      publisher: identity.host,
      createdMs: clock.now(),
      pin,
    });
    if (!what.keep) return signed;
    await store.noteUsed(signed.hash);
    onComplete(signed.hash);
    return signed;
  }
}
