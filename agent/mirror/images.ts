/**
 * From what a container engine asks for to bytes: of this host's store, of the mesh, and for the
 * registries that are upstreams, of an image that one host of the fleet brings in for all.
 */
import {
  type ImageReference,
  imageUrl,
  isDigest,
  type Repository,
  repositoryUrl,
} from "../../shared/image.ts";
import {
  blobPath,
  type Content,
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
export type ImageVersion = {
  manifestHash: string;
  image: PinnedImage;
  createdMs: number;
  bytes: number;
};
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
  /** A blob as it is brought in here, from its first byte, as far as it comes in time. */
  passing(digest: string, instead: Promise<unknown>): AsyncIterable<Uint8Array>;
  /**
   * Sees to it that the image is in the catalog; gives its version. Only the manifest: for an
   * index, whose images are brought in on their own, and for another tag of what is there.
   */
  bring(image: PinnedImage, part: "whole" | "manifest"): Promise<string>;
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
/** `tag`: the one it is brought in under. */
type Coming = { tag: string | null; blobs: Map<string, number>; version: Promise<string> };

/** Versions of a repository whose file tables are looked through for a digest. */
const DESCRIBED_MAX = 20;
/** A registry's image that could not be brought in is left to the engine for so long. */
const FAILED_MS = 60_000;
const FAILED_MAX = 500;
const COMING_MAX = 500;
const PARENTS_MAX = 20_000;
const TOLD_MAX = 5_000;

export class Images {
  readonly #deps: ImagesDeps;
  readonly #upstreams: ReadonlySet<string>;
  readonly #tags: Tags;
  readonly #coming = new Recent<string, Coming>(COMING_MAX);
  /** By blobs of images that were served: the image's manifest. */
  readonly #parents = new Recent<string, string>(PARENTS_MAX);
  /** Tags that the catalog has, or is getting, with their digest. */
  readonly #told = new Recent<string, true>(TOLD_MAX);
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
    const meant = tag === null ? reference : await this.#digestOf({ ...of, tag }, signal);
    if (meant === null) throw await this.#unknown(of, "MANIFEST_UNKNOWN", reference);
    const image = { ...of, tag, digest: meant };
    const found = this.#here(meant) ?? (await this.#elsewhere(of, meant, signal));
    if (found && found.bytes <= MANIFEST_BYTES_MAX) {
      if (!look) this.#deps.use(found.manifestHash);
      const bytes = await this.#whole(found, meant, signal);
      if (!look) await this.#served(image, bytes);
      const from = found.active ? "store" : "mesh";
      return { bytes, digest: meant, mediaType: mediaTypeOf(bytes), from };
    }
    if (!this.#brings(image)) throw await this.#unknown(of, "MANIFEST_UNKNOWN", reference);
    const { bytes, mediaType } = await this.#deps.manifest(image, { signal });
    if (!look) this.#bring(image, bytes);
    return { bytes, digest: meant, mediaType, from: "registry" };
  }

  async blob(of: Repository, digest: string, { signal }: Waiting): Promise<FoundBlob> {
    const here = this.#here(digest);
    const coming = here ? null : this.#comingWith(digest);
    if (coming) return this.#asItComes(coming, digest);
    const found = here ?? (await this.#elsewhere(of, digest, signal));
    if (!found) throw await this.#unknown(of, "BLOB_UNKNOWN", digest);
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

  async #digestOf(of: Repository & { tag: string }, signal: AbortSignal): Promise<string | null> {
    const image = { ...of, digest: null };
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

  /** One of the catalog; of those with the same manifest the one that holds most. */
  async #elsewhere(of: Repository, digest: string, signal: AbortSignal): Promise<Found | null> {
    const parent = this.#parents.get(digest);
    const looked = new Set<string>();
    for (const about of [digest, ...(parent ? [parent] : []), null]) {
      const versions = [...(await this.#deps.catalog(of, about))];
      if (about !== null) versions.sort((a, b) => b.bytes - a.bytes);
      for (const { manifestHash } of versions) {
        if (looked.has(manifestHash)) continue;
        if (looked.size === DESCRIBED_MAX) return null;
        looked.add(manifestHash);
        const bytes = (await this.#describe(manifestHash, signal))?.get(digest);
        if (bytes !== undefined) return { manifestHash, bytes, active: false };
      }
    }
    return null;
  }

  /** Null when the version cannot be had, or the signature under it does not count. */
  async #describe(manifestHash: string, signal: AbortSignal) {
    try {
      return await this.#deps.describe(manifestHash, { signal });
    } catch (cause) {
      signal.throwIfAborted();
      this.#deps.log.debug({ err: cause, manifestHash }, "image version passed over");
      return null;
    }
  }

  #comingWith(digest: string): Coming | null {
    for (const coming of this.#coming.values()) if (coming.blobs.has(digest)) return coming;
    return null;
  }

  #asItComes({ blobs, version }: Coming, digest: string): FoundBlob {
    const { read, use, passing } = this.#deps;
    return {
      bytes: blobs.get(digest) ?? 0,
      from: "registry",
      manifestHash: null,
      read: async function* ({ from, to }, options) {
        let at = 0;
        const gone = whenAborted(options.signal);
        if (from === 0)
          for await (const piece of passing(digest, Promise.race([version, gone]))) {
            options.signal.throwIfAborted();
            yield piece.subarray(0, to + 1 - at);
            at += piece.length;
            if (at > to) return;
          }
        const manifestHash = await Promise.race([version, gone]);
        use(manifestHash);
        const rest = { from: Math.max(from, at), to };
        yield* read(manifestHash, blobPath(digest), rest, options);
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

  #brings({ registry, digest }: PinnedImage): boolean {
    const failedUntilMs = this.#failedUntilMs.get(digest) ?? 0;
    if (this.#deps.clock.monotonic() < failedUntilMs) return false;
    return this.#upstreams.has(registry) && this.#deps.canBring();
  }

  /** Begins to bring the image into the mesh; its blobs can be asked for at once. */
  #bring(image: PinnedImage, manifest: Uint8Array): void {
    const coming = this.#coming.get(image.digest);
    if (coming) {
      const told = () => (coming.tag === image.tag ? null : this.#tell(image));
      coming.version.then(told, () => null); // why not is said by who began it
      return;
    }
    const content = contentOf(manifest, image.digest);
    this.#adopt(image.digest, content);
    const version = this.#deps.bring(image, content.kind === "index" ? "manifest" : "whole");
    // It stays when it has come, for the catalog may be known here as it was before.
    this.#coming.set(image.digest, { tag: image.tag, blobs: sizesOf(content), version });
    version.catch((cause: unknown) => {
      const { clock, log } = this.#deps;
      log.warn({ err: cause, image: imageUrl(image) }, "image not brought in");
      this.#coming.delete(image.digest);
      this.#failedUntilMs.set(image.digest, clock.monotonic() + FAILED_MS);
    });
  }

  async #served(image: PinnedImage, manifest: Uint8Array): Promise<void> {
    this.#adopt(image.digest, contentOf(manifest, image.digest));
    await this.#tell(image);
  }

  /** Another tag of what is known is told to the fleet, so that it counts without the registry. */
  async #tell(image: PinnedImage): Promise<void> {
    const key = imageUrl(image);
    if (image.tag === null || this.#told.has(key) || !this.#brings(image)) return;
    this.#told.set(key, true);
    const told = (v: ImageVersion) => v.image.tag === image.tag && v.image.digest === image.digest;
    if ((await this.#versions(image)).some(told)) return;
    this.#deps.bring(image, "manifest").catch((cause: unknown) => {
      this.#deps.log.warn({ err: cause, image: key }, "tag not told to the fleet");
    });
  }

  #adopt(parent: string, content: Content): void {
    for (const blob of sizesOf(content).keys()) this.#parents.set(blob, parent);
  }

  async #unknown(of: Repository, code: "MANIFEST_UNKNOWN" | "BLOB_UNKNOWN", what: string) {
    if ((await this.#versions(of)).length > 0)
      return new Refusal(code, `${what} of ${of.repository} is not in the mesh`);
    return new Refusal("NAME_UNKNOWN", `no image of ${of.repository} is in the mesh`);
  }
}

/** What this does not understand is left to the engine and the registry. */
function contentOf(manifest: Uint8Array, digest: string): Content {
  try {
    return readContent(manifest, digest);
  } catch (cause) {
    throw new Refusal("MANIFEST_UNKNOWN", cause instanceof Error ? cause.message : "unreadable");
  }
}

function sizesOf(content: Content): Map<string, number> {
  const blobs = content.kind === "image" ? content.blobs : [];
  return new Map(blobs.map(({ digest, size }) => [digest, size]));
}

/** Rejects with the signal's reason. */
function whenAborted(signal: AbortSignal): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>();
  promise.catch(() => null); // told to whoever waits for it
  if (signal.aborted) reject(signal.reason);
  else signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  return promise;
}
