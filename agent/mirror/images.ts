/**
 * From what a container engine asks for to bytes: of this host's store, of the mesh, and for the
 * registries that are upstreams, of an image that one host of the fleet brings in for all.
 */
import {
  type ImageReference,
  isDigest,
  type Repository,
  repositoryUrl,
} from "../../shared/image.ts";
import {
  blobPath,
  digestOf,
  MANIFEST_BYTES_MAX,
  mediaTypeOf,
  readContent,
} from "../../shared/image-layout.ts";
import type { Clock } from "../../shared/runtime/clock.ts";
import type { Log } from "../../shared/runtime/log.ts";
import { Recent } from "../../shared/runtime/recent.ts";
import { Refusal, type Span } from "./answers.ts";
import { type TagDeps, type TagOptions, Tags } from "./tags.ts";

type Waiting = { signal: AbortSignal };
export type PinnedImage = ImageReference & { digest: string };
/** A version whose tree is the layout of an image. */
export type ImageVersion = { manifestHash: string; image: PinnedImage; createdMs: number };
export type HeldImage = ImageVersion & { active: boolean; blobs: ReadonlyMap<string, number> };
/** Where the bytes of an answer were when it was asked for. */
export type From = "store" | "mesh" | "registry";

export type ImagesDeps = Omit<TagDeps, "remembered"> & {
  clock: Clock;
  log: Log;
  remembered: TagDeps["remembered"];
  /** Of this host's store. */
  held(): HeldImage[];
  /** Of the fleet's catalog, the latest first; what was last known when it is away. */
  catalog(of: Repository, digest: string | null): Promise<ImageVersion[]>;
  /** Sizes of a version's manifests and blobs by digest. */
  describe(manifestHash: string, options: Waiting): Promise<ReadonlyMap<string, number>>;
  /** Verified bytes of a file, as they arrive. */
  read(manifestHash: string, path: string, span: Span, options: Waiting): AsyncIterable<Uint8Array>;
  /** Begins to get the version, if it is not here, and notes that it is of use. */
  use(manifestHash: string): void;
  /** Of the registry itself. */
  manifest(image: PinnedImage, options: Waiting): Promise<{ bytes: Uint8Array; mediaType: string }>;
  /** Whether images can be published now. */
  canBring(): boolean;
  /** Sees to it that the image is in the catalog; gives its version. */
  bring(image: PinnedImage): Promise<string>;
};
export type ImagesOptions = TagOptions & { upstreams: readonly string[] };

export type FoundManifest = { bytes: Uint8Array; digest: string; mediaType: string; from: From };
export type FoundBlob = {
  bytes: number;
  from: From;
  manifestHash: string | null;
  read(span: Span, options: Waiting): AsyncIterable<Uint8Array>;
};
type Found = { manifestHash: string; bytes: number; active: boolean };
type Coming = { blobs: Map<string, number>; version: Promise<string> };

/** Versions of a repository whose file tables are looked through for a digest. */
const DESCRIBED_MAX = 20;
/** A registry's image that could not be brought in is left to the engine for so long. */
const FAILED_MS = 60_000;
const FAILED_MAX = 500;
const COMING_MAX = 500;

export class Images {
  readonly #deps: ImagesDeps;
  readonly #upstreams: ReadonlySet<string>;
  readonly #tags: Tags;
  readonly #coming = new Recent<string, Coming>(COMING_MAX);
  readonly #failedUntilMs = new Recent<string, number>(FAILED_MAX);

  constructor(deps: ImagesDeps, options: ImagesOptions) {
    this.#deps = deps;
    this.#upstreams = new Set(options.upstreams);
    this.#tags = new Tags(deps, options);
  }

  /** `look` only: nothing is fetched or brought in because of it. Throws a `Refusal`. */
  async manifest(
    of: Repository,
    reference: string,
    { signal, look }: Waiting & { look: boolean },
  ): Promise<FoundManifest> {
    const tag = isDigest(reference) ? null : reference;
    const digest =
      tag === null ? reference : await this.#digestOf({ ...of, tag, digest: null }, signal);
    const found =
      digest === null ? null : (this.#here(digest) ?? (await this.#elsewhere(of, digest, signal)));
    if (digest !== null && found && found.bytes <= MANIFEST_BYTES_MAX) {
      if (!look) this.#deps.use(found.manifestHash);
      const bytes = await this.#whole(found, digest, signal);
      const from = found.active ? "store" : "mesh";
      return { bytes, digest, mediaType: mediaTypeOf(bytes), from };
    }
    if (digest !== null && this.#brings(of, digest)) {
      const image = { ...of, tag, digest };
      const { bytes, mediaType } = await this.#deps.manifest(image, { signal });
      if (!look) this.#bring(image, bytes);
      return { bytes, digest, mediaType, from: "registry" };
    }
    throw await this.#unknown(of, "MANIFEST_UNKNOWN", `${reference} is not in the mesh`);
  }

  async blob(of: Repository, digest: string, { signal }: Waiting): Promise<FoundBlob> {
    const here = this.#here(digest);
    const coming = here ? null : this.#comingWith(digest);
    if (coming) return this.#asItComes(coming, digest);
    const found = here ?? (await this.#elsewhere(of, digest, signal));
    if (!found) throw await this.#unknown(of, "BLOB_UNKNOWN", `${digest} is not in the mesh`);
    const { manifestHash, bytes, active } = found;
    this.#deps.use(manifestHash);
    return {
      bytes,
      manifestHash,
      from: active ? "store" : "mesh",
      read: (span, options) => this.#deps.read(manifestHash, blobPath(digest), span, options),
    };
  }

  /** Tags under which images of the repository were published, in order. */
  async tags(of: Repository): Promise<string[]> {
    const versions = await this.#versions(of);
    if (versions.length === 0)
      throw new Refusal("NAME_UNKNOWN", `no image of ${of.repository} is in the mesh`);
    return [...new Set(versions.flatMap(({ image }) => image.tag ?? []))].sort();
  }

  async #digestOf(
    image: ImageReference & { tag: string },
    signal: AbortSignal,
  ): Promise<string | null> {
    const versions = await this.#versions(image);
    // Registries that nobody configured or published from are not asked: whoever runs programs
    // here could have any address asked.
    if (versions.length === 0 && !this.#upstreams.has(image.registry)) return null;
    const latest = versions.find((v) => v.image.tag === image.tag)?.image.digest ?? null;
    return this.#tags.digest(image, latest, { signal });
  }

  /** Held or in the catalog, the latest published first. */
  async #versions(of: Repository): Promise<ImageVersion[]> {
    const url = repositoryUrl(of);
    const held = this.#deps.held().filter(({ image }) => repositoryUrl(image) === url);
    const known = new Set(held.map((h) => h.manifestHash));
    const others = (await this.#deps.catalog(of, null)).filter((v) => !known.has(v.manifestHash));
    return [...held, ...others].sort((a, b) => b.createdMs - a.createdMs);
  }

  /** A version of this host with that manifest or blob, whole ones first. */
  #here(digest: string): Found | null {
    let partial: Found | null = null;
    for (const { manifestHash, active, blobs } of this.#deps.held()) {
      const bytes = blobs.get(digest);
      if (bytes === undefined) continue;
      if (active) return { manifestHash, bytes, active };
      partial ??= { manifestHash, bytes, active };
    }
    return partial;
  }

  async #elsewhere(of: Repository, digest: string, signal: AbortSignal): Promise<Found | null> {
    const exact = await this.#deps.catalog(of, digest);
    const others = exact.length > 0 ? [] : await this.#deps.catalog(of, null);
    for (const { manifestHash } of [...exact, ...others].slice(0, DESCRIBED_MAX)) {
      const bytes = (await this.#deps.describe(manifestHash, { signal })).get(digest);
      if (bytes !== undefined) return { manifestHash, bytes, active: false };
    }
    return null;
  }

  #comingWith(digest: string): Coming | null {
    for (const coming of this.#coming.values()) if (coming.blobs.has(digest)) return coming;
    return null;
  }

  #asItComes({ blobs, version }: Coming, digest: string): FoundBlob {
    const { read, use } = this.#deps;
    return {
      bytes: blobs.get(digest) ?? 0,
      from: "registry",
      manifestHash: null,
      read: async function* (span, options) {
        const manifestHash = await unlessAborted(version, options.signal);
        use(manifestHash);
        yield* read(manifestHash, blobPath(digest), span, options);
      },
    };
  }

  async #whole({ manifestHash, bytes }: Found, digest: string, signal: AbortSignal) {
    const pieces: Uint8Array[] = [];
    const span = { from: 0, to: bytes - 1 };
    for await (const piece of this.#deps.read(manifestHash, blobPath(digest), span, { signal }))
      pieces.push(piece);
    const whole = Buffer.concat(pieces);
    if (digestOf(whole) === digest) return whole;
    this.#deps.log.warn({ manifestHash, digest }, "an image version holds another manifest");
    throw new Refusal("MANIFEST_UNKNOWN", `${digest} was published with other bytes`);
  }

  #brings({ registry }: Repository, digest: string): boolean {
    const failedUntilMs = this.#failedUntilMs.get(digest) ?? 0;
    if (this.#deps.clock.monotonic() < failedUntilMs) return false;
    return this.#upstreams.has(registry) && this.#deps.canBring();
  }

  /** Begins to bring the image into the mesh; its blobs can be asked for at once. */
  #bring(image: PinnedImage, manifest: Uint8Array): void {
    if (this.#coming.has(image.digest)) return;
    const content = readContent(manifest, image.digest);
    const blobs = content.kind === "image" ? content.blobs : [];
    const version = this.#deps.bring(image);
    // It stays when it has come, for the catalog may be known here as it was before.
    const sizes = new Map(blobs.map(({ digest, size }) => [digest, size]));
    this.#coming.set(image.digest, { blobs: sizes, version });
    version.catch((cause: unknown) => {
      const { clock, log } = this.#deps;
      log.warn({ err: cause, image: repositoryUrl(image), digest: image.digest }, "not brought in");
      this.#coming.delete(image.digest);
      this.#failedUntilMs.set(image.digest, clock.monotonic() + FAILED_MS);
    });
  }

  async #unknown(of: Repository, code: "MANIFEST_UNKNOWN" | "BLOB_UNKNOWN", message: string) {
    const known = (await this.#versions(of)).length > 0;
    return new Refusal(
      known ? code : "NAME_UNKNOWN",
      known ? message : `${of.repository}: ${message}`,
    );
  }
}

function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) onAbort();
  return Promise.race([promise, aborted]).finally(() =>
    signal.removeEventListener("abort", onAbort),
  );
}
