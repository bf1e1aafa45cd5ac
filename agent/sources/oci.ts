/**
 * Container images: `oci://REGISTRY/REPOSITORY:TAG` or `@sha256:HEX`, with `?platform=` as
 * `platforms.ts` knows it. A version's tree is an OCI image layout of the manifests and blobs as
 * the registry has them, so a chunk of `blobs/sha256/X` is a range of blob X.
 */
import { createHash } from "node:crypto";
import { PrestageError } from "../../shared/errors.ts";
import { type ImageReference, imageUrl, parseImage } from "../../shared/image.ts";
import {
  blobPath,
  type Descriptor,
  digestAt,
  INDEX_FILE,
  LAYOUT_FILE,
  layoutFile,
  readContent,
} from "../../shared/image-layout.ts";
import { Recent } from "../../shared/runtime/recent.ts";
import { shownUrl } from "../../shared/source-url.ts";
import { choose, type Platforms, parsePlatforms } from "./platforms.ts";
import { Registry, type RegistryManifest } from "./registry.ts";
import type { Fetching, RangeRequest, Snapshot, Source, SourceDeps, SourceFile } from "./source.ts";

type Reading = { signal: AbortSignal };
/** What an image is made of; `blobs` are not read yet. */
type Parts = { manifests: Map<string, RegistryManifest>; blobs: Map<string, Descriptor> };

/** An index may name indexes; nobody nests deeper. */
const DEPTH_MAX = 4;
const ROOTS_MAX = 200;

export class OciSource implements Source {
  readonly #registry: Registry;
  /** Of origins that chunks were asked of lately: what `index.json` is made from. */
  readonly #roots = new Recent<string, Promise<RegistryManifest>>(ROOTS_MAX);

  constructor(deps: SourceDeps) {
    this.#registry = new Registry(deps);
  }

  async fetchRange(range: RangeRequest, options: Fetching): Promise<Uint8Array> {
    const { signal } = options;
    const image = parseImage(range.originUrl);
    const { offset, bytes } = range;
    const digest = digestAt(range.path);
    if (digest !== null) return this.#registry.range(image, digest, { offset, bytes }, options);
    const { bytes: root, ...described } = await this.#root(image, range.originUrl, signal);
    const file = layoutFile(range.path, { ...described, size: root.length }, image.tag);
    if (file && offset + bytes <= file.length) return file.slice(offset, offset + bytes);
    throw new PrestageError("NOT_FOUND", `an image has no ${range.path} at ${offset}`);
  }

  async snapshot(url: URL, { signal }: Reading): Promise<Snapshot> {
    const { image, platforms } = wish(url);
    const reference = image.digest ?? image.tag ?? "latest";
    const root = await this.#registry.manifest(image, reference, { signal });
    const parts: Parts = { manifests: new Map(), blobs: new Map() };
    await this.#collect(image, root, platforms, parts, 0, signal);
    const { digest, mediaType, bytes } = root;
    const made = [LAYOUT_FILE, INDEX_FILE].flatMap((path) => {
      const text = layoutFile(path, { mediaType, digest, size: bytes.length }, image.tag);
      return text ? [inMemory(path, text)] : [];
    });
    return {
      revision: revisionOf(digest, url),
      originUrl: imageUrl({ ...image, digest }),
      pinned: true,
      files: this.#files(image, made, parts),
    };
  }

  async revision(url: URL, { signal }: Reading): Promise<string> {
    const { image } = wish(url);
    if (image.digest !== null) return revisionOf(image.digest, url);
    const tag = image.tag ?? "latest";
    return revisionOf((await this.#registry.head(image, tag, { signal })).digest, url);
  }

  async close(): Promise<void> {}

  async #collect(
    image: ImageReference,
    manifest: RegistryManifest,
    platforms: Platforms,
    parts: Parts,
    depth: number,
    signal: AbortSignal,
  ): Promise<void> {
    parts.manifests.set(manifest.digest, manifest);
    const content = readContent(manifest.bytes, imageUrl({ ...image, digest: manifest.digest }));
    if (platforms === "none") return;
    if (content.kind === "image") {
      for (const blob of content.blobs) if (!blob.urls?.length) parts.blobs.set(blob.digest, blob);
      return;
    }
    if (depth === DEPTH_MAX)
      throw new PrestageError("PROTOCOL", `${imageUrl(image)}: indexes within indexes`);
    for (const { digest } of choose(content.manifests, platforms)) {
      if (parts.manifests.has(digest)) continue;
      const child = await this.#registry.manifest(image, digest, { signal });
      await this.#collect(image, child, platforms, parts, depth + 1, signal);
    }
  }

  async *#files(
    image: ImageReference,
    made: SourceFile[],
    { manifests, blobs }: Parts,
  ): AsyncGenerator<SourceFile> {
    yield* made;
    for (const { digest, bytes } of manifests.values()) yield inMemory(blobPath(digest), bytes);
    for (const { digest, size } of blobs.values())
      if (!manifests.has(digest))
        yield {
          path: blobPath(digest),
          executable: false,
          bytes: size,
          read: ({ signal }) =>
            checked(this.#registry.blob(image, digest, { signal }), digest, size),
        };
  }

  #root(image: ImageReference, origin: string, signal: AbortSignal): Promise<RegistryManifest> {
    const known = this.#roots.get(origin);
    if (known) return known;
    const asked = this.#registry.manifest(image, image.digest ?? "latest", { signal });
    this.#roots.set(origin, asked);
    asked.catch(() => this.#roots.delete(origin));
    return asked;
  }
}

function wish(url: URL): { image: ImageReference; platforms: Platforms } {
  const image = parseImage(shownUrl(url));
  return { image, platforms: parsePlatforms(url.searchParams.get("platform")) };
}

/** Other platforms of the same index are other content. */
function revisionOf(digest: string, url: URL): string {
  const platform = url.searchParams.get("platform");
  return platform === null ? digest : `${digest} ${platform}`;
}

function inMemory(path: string, bytes: Uint8Array): SourceFile {
  return {
    path,
    executable: false,
    bytes: bytes.length,
    read: async function* () {
      yield bytes;
    },
  };
}

/** The same pieces; throws CORRUPT at their end when they are not what the digest says. */
async function* checked(
  pieces: AsyncIterable<Uint8Array>,
  digest: string,
  size: number,
): AsyncGenerator<Uint8Array> {
  const sum = createHash("sha256");
  let bytes = 0;
  for await (const piece of pieces) {
    bytes += piece.length;
    if (bytes > size) break;
    sum.update(piece);
    yield piece;
  }
  if (bytes === size && digest === `sha256:${sum.digest("hex")}`) return;
  throw new PrestageError("CORRUPT", `the registry's bytes of ${digest} are others`);
}
