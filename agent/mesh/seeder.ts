/** Makes this host the first holder of a version: from a directory, or from a stream of files. */
import type { SignedManifest } from "../../shared/domain.ts";
import { keyFromSeed, signManifest } from "../../shared/manifest.ts";
import type { Clock } from "../../shared/runtime/clock.ts";
import type { Signers } from "./signers.ts";
import { listDirectory, openDirectory } from "./store/directory.ts";
import {
  type IncomingFile,
  ingest,
  type OpenFile,
  openStream,
  type Sign,
  type Version,
} from "./store/ingest.ts";
import type { Store } from "./store/store.ts";

export type SeederDeps = {
  identity: { seed: Uint8Array; host: string };
  clock: Clock;
  store: Store;
  signers: Signers;
  /** Keeps a version from eviction while it is filled; the result ends that. */
  pin(manifestHash: string): () => void;
  onComplete(manifestHash: string): void;
};
/** Progress is told so often: of small files there are thousands a second. */
const TOLD_MS = 100;
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
  async directory(
    dir: string,
    {
      signal = NEVER,
      progress = () => {},
      ...what
    }: What & { signal?: AbortSignal; progress?: (bytesDone: number, bytes: number) => void },
  ): Promise<SignedManifest> {
    const keep = what.keep || what.originUrl === null;
    const listed = await listDirectory(dir);
    const bytesMax = Number.MAX_SAFE_INTEGER;
    const told = (done: number) => progress(done, listed.bytes);
    return this.#seed(openDirectory(listed), { ...what, bytesMax, signal, progress: told, keep });
  }

  /** The same of files that come as a stream. Throws what reading them throws. */
  stream(files: AsyncIterable<IncomingFile>, what: Version & Signing): Promise<SignedManifest> {
    return this.#seed(openStream(files, what.signal), what);
  }

  async #seed(files: AsyncIterable<OpenFile>, what: Version & Signing): Promise<SignedManifest> {
    const { identity, clock, store, signers, pin, onComplete } = this.#deps;
    let toldMs = Number.NEGATIVE_INFINITY;
    const progress = (bytesDone: number) => {
      if (clock.monotonic() - toldMs < TOLD_MS) return;
      toldMs = clock.monotonic();
      what.progress(bytesDone);
    };
    const own: Sign = (manifest) => signManifest(manifest, keyFromSeed(identity.seed));
    const signed = await ingest(
      files,
      { ...what, progress },
      {
        store,
        sign: what.sign ?? own,
        note: (signed, manifest) => signers.note(signed, manifest),
        publisher: identity.host,
        createdMs: clock.now(),
        pin,
      },
    );
    if (!what.keep) return signed;
    await store.noteUsed(signed.hash);
    onComplete(signed.hash);
    return signed;
  }
}
