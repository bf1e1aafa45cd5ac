/**
 * What the image mirror needs of the mesh, the registries and the coordinator. An image of an
 * upstream registry is brought in by one host of the fleet; the others wait for its version.
 */
import type { Manifest } from "../shared/domain.ts";
import { PrestageError } from "../shared/errors.ts";
import {
  type ImageReference,
  imageArtifactName,
  imageArtifactVersion,
  imageOrigin,
  imageUrl,
  type Repository,
  repositoryUrl,
} from "../shared/image.ts";
import { blobPath, digestAt, mediaTypeOf } from "../shared/image-layout.ts";
import type { ReplyBody, RequestBody } from "../shared/protocol/bodies.ts";
import { type Clock, every } from "../shared/runtime/clock.ts";
import type { Log } from "../shared/runtime/log.ts";
import type { Metrics } from "../shared/runtime/metrics.ts";
import { Recent } from "../shared/runtime/recent.ts";
import { TaskGroup } from "../shared/runtime/tasks.ts";
import type { Mesh } from "./mesh/mesh.ts";
import type { Reader } from "./mesh/reader.ts";
import type { HeldImage, ImageVersion, PinnedImage } from "./mirror/images.ts";
import { Mirror, type MirrorDeps } from "./mirror/mirror.ts";
import { Passing } from "./mirror/passing.ts";
import type { MirrorSettings } from "./mirror/settings.ts";
import type { LastKnown } from "./persisted.ts";
import type { Publishing } from "./publishing.ts";
import type { SourceFile } from "./sources/source.ts";
import type { Sources } from "./sources/sources.ts";

type Kind = "images" | "claim";
type Part = "whole" | "manifest";

export type MirroringDeps = {
  clock: Clock;
  log: Log;
  metrics: Metrics;
  mesh: Pick<Mesh, "ensure" | "markUsed" | "pins" | "started">;
  reader: Reader;
  sources: Pick<Sources, "revision" | "snapshot">;
  publishing: Pick<Publishing, "fromUrl">;
  lastKnown: LastKnown;
  /** Asks the coordinator. */
  ask<K extends Kind>(
    asking: Extract<RequestBody, { kind: K }>,
  ): Promise<Extract<ReplyBody, { kind: K }>>;
  connected(): boolean;
};

const CATALOG_FRESH_MS = 2_000;
const CATALOG_MAX = 500;
const TABLES_MAX = 500;
const TAGS_MAX = 5_000;
const CLAIM_MS = 30_000;
const RENEW_MS = 10_000;
const WAIT_MS = 1_000;
const FOREGROUND = { priority: 1_000, foreground: true };

export class Mirroring {
  readonly #deps: MirroringDeps;
  readonly #mirror: Mirror;
  readonly #tasks = new TaskGroup();
  readonly #passing = new Passing();
  readonly #catalogs = new Recent<string, { versions: ImageVersion[]; atMs: number }>(CATALOG_MAX);
  readonly #tables = new Recent<string, ReadonlyMap<string, number>>(TABLES_MAX);
  readonly #getting = new Set<string>();
  #pins = 0;

  constructor(deps: MirroringDeps, settings: MirrorSettings) {
    this.#deps = deps;
    this.#mirror = new Mirror(this.#mirrorDeps(), settings);
  }

  /** `HOST:PORT`; null when there is no mirror. */
  address(): string | null {
    return this.#mirror.address();
  }

  /** Ends when what it began has ended. */
  async run(signal: AbortSignal): Promise<void> {
    const stop = () => this.#tasks.stop(signal.reason);
    signal.addEventListener("abort", stop, { once: true });
    if (signal.aborted) stop();
    await this.#deps.mesh.started;
    this.#tasks.start("image mirror", (inner) => this.#mirror.run(inner));
    await this.#tasks.done();
    signal.removeEventListener("abort", stop);
  }

  #mirrorDeps(): MirrorDeps {
    const { clock, log, metrics, mesh, reader, sources, lastKnown, connected } = this.#deps;
    return {
      clock,
      log,
      metrics,
      head: async (image, options) => ({
        digest: await sources.revision(imageUrl(image), options),
      }),
      remembered: {
        get: (key) => lastKnown.value.imageTags[key] ?? null,
        set: (key, digest) => this.#remember(key, digest),
      },
      held: () => this.#held(),
      catalog: (of, digest) => this.#catalog(of, digest),
      describe: async (hash, options) => this.#table(hash, await reader.describe(hash, options)),
      read: (hash, path, span, options) => reader.read(hash, path, span, options),
      use: (hash) => this.#use(hash),
      manifest: (image, options) => this.#manifest(image, options),
      canBring: connected,
      passing: (digest, instead) => this.#passing.listen(digest, instead),
      bring: (image, part) => this.#inGroup((signal) => this.#bring(image, part, signal)),
      pin: (hash) => {
        const owner = `mirror ${++this.#pins}`;
        return mesh.pins.add(hash, owner);
      },
    };
  }

  #held(): HeldImage[] {
    return this.#deps.reader.held().flatMap(({ manifestHash, manifest, active }) => {
      const image = pinned(manifest.originUrl);
      if (!image) return [];
      const { createdMs, bytes } = manifest;
      return [
        {
          manifestHash,
          image,
          createdMs,
          bytes,
          active,
          blobs: this.#table(manifestHash, manifest),
        },
      ];
    });
  }

  async #describe(hash: string, signal: AbortSignal): Promise<ReadonlyMap<string, number>> {
    const known = this.#tables.get(hash);
    return known ?? this.#table(hash, await this.#deps.reader.describe(hash, { signal }));
  }

  #table(manifestHash: string, { files }: Manifest): ReadonlyMap<string, number> {
    const known = this.#tables.get(manifestHash);
    if (known) return known;
    const table = new Map<string, number>();
    for (const { path, bytes } of files) {
      const digest = digestAt(path);
      if (digest !== null) table.set(digest, bytes);
    }
    this.#tables.set(manifestHash, table);
    return table;
  }

  /** What was last known when the coordinator does not answer. */
  async #catalog(of: Repository, digest: string | null): Promise<ImageVersion[]> {
    const { clock, log, ask, connected } = this.#deps;
    const repository = repositoryUrl(of);
    const key = `${repository} ${digest}`;
    const known = this.#catalogs.get(key);
    if (known && clock.monotonic() - known.atMs < CATALOG_FRESH_MS) return known.versions;
    if (!connected()) return known?.versions ?? [];
    try {
      const answer = await ask({ kind: "images", repository, tag: null, digest });
      const versions = answer.versions.flatMap(({ originUrl, ...version }) => {
        const image = pinned(originUrl);
        return image ? [{ ...version, image }] : [];
      });
      this.#catalogs.set(key, { versions, atMs: clock.monotonic() });
      return versions;
    } catch (cause) {
      log.debug({ err: cause, repository }, "catalog as last known");
      return known?.versions ?? [];
    }
  }

  /** The whole image follows what was asked of it, whether or not the engine goes on. */
  #use(manifestHash: string): void {
    const { mesh, log } = this.#deps;
    if (this.#getting.has(manifestHash)) return;
    this.#getting.add(manifestHash);
    this.#tasks.start("image", async (signal) => {
      try {
        await mesh.ensure(manifestHash, { ...FOREGROUND, signal });
        await mesh.markUsed(manifestHash);
      } catch (cause) {
        if (!signal.aborted) log.warn({ err: cause, manifestHash }, "image not fetched");
      } finally {
        this.#getting.delete(manifestHash);
      }
    });
  }

  /** By the same way as all content of sources, which checks it. */
  async #manifest(image: PinnedImage, { signal }: { signal: AbortSignal }) {
    const { files } = await this.#deps.sources.snapshot(bareUrl(image), { signal });
    for await (const file of files) {
      if (file.path !== blobPath(image.digest)) continue;
      const pieces: Uint8Array[] = [];
      for await (const piece of file.read({ signal })) pieces.push(piece);
      const bytes = Buffer.concat(pieces);
      return { bytes, mediaType: mediaTypeOf(bytes) };
    }
    throw new PrestageError("NOT_FOUND", `${imageUrl(image)} has no manifest`);
  }

  async #bring(image: PinnedImage, part: Part, signal: AbortSignal): Promise<string> {
    const { ask, clock, log, publishing } = this.#deps;
    const key = `${imageUrl(part === "whole" ? { ...image, tag: null } : image)} ${part}`;
    for (;;) {
      const published = await this.#published(image, part, signal);
      if (published !== null) return published;
      if ((await ask({ kind: "claim", key, forMs: CLAIM_MS })).granted) break;
      await clock.sleep(WAIT_MS, { signal });
      signal.throwIfAborted();
    }
    const renewing = new AbortController();
    const renewed = every(clock, RENEW_MS, renewing.signal, async () => {
      await ask({ kind: "claim", key, forMs: CLAIM_MS }).catch((cause: unknown) => {
        log.debug({ err: cause, key }, "claim not renewed");
      });
    });
    const named = { name: imageArtifactName(image), version: imageArtifactVersion(image) };
    const passing = (files: AsyncIterable<SourceFile>) => this.#passBy(files);
    const what = { ...named, tags: [], keep: true, passing };
    const url = part === "whole" ? imageUrl(image) : bareUrl(image);
    try {
      const { manifestHash } = await publishing.fromUrl(url, what, () => {}, signal);
      return manifestHash;
    } catch (cause) {
      // Another host was quicker, or an image of the same digest has that name.
      const other =
        codeOf(cause) === "CONFLICT" ? await this.#published(image, part, signal) : null;
      if (other === null) throw cause;
      return other;
    } finally {
      renewing.abort();
      await renewed;
      await ask({ kind: "claim", key, forMs: 0 }).catch((cause: unknown) => {
        log.debug({ err: cause, key }, "claim lapses by itself");
      });
    }
  }

  /** Blobs are heard by engines that wait for them. */
  async *#passBy(files: AsyncIterable<SourceFile>): AsyncGenerator<SourceFile> {
    for await (const file of files) {
      const digest = digestAt(file.path);
      const read: SourceFile["read"] = (options) =>
        digest === null ? file.read(options) : this.#passing.through(digest, file.read(options));
      yield { ...file, read };
    }
  }

  async #published(image: PinnedImage, part: Part, signal: AbortSignal): Promise<string | null> {
    const { ask } = this.#deps;
    const repository = repositoryUrl(image);
    const tag = part === "whole" ? null : image.tag;
    const { versions } = await ask({ kind: "images", repository, tag, digest: image.digest });
    for (const { manifestHash } of versions) {
      if (part === "manifest") return manifestHash;
      // Under the same digest there may be one that is only a manifest.
      if ((await this.#describe(manifestHash, signal)).size > 1) return manifestHash;
    }
    return null;
  }

  #inGroup<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    this.#tasks.start("bring image", (signal) => work(signal).then(resolve, reject));
    return promise;
  }

  #remember(key: string, digest: string): void {
    const { lastKnown } = this.#deps;
    const { imageTags } = lastKnown.value;
    if (imageTags[key] === digest) return;
    const kept = Object.entries(imageTags).slice(-(TAGS_MAX - 1));
    lastKnown.update({ imageTags: { ...Object.fromEntries(kept), [key]: digest } });
  }
}

/** The manifest alone: an index's images are brought in when they are asked for. */
const bareUrl = (image: PinnedImage) => `${imageUrl(image)}?platform=none`;

function pinned(originUrl: string | null): PinnedImage | null {
  const image: ImageReference | null = imageOrigin(originUrl);
  return image && image.digest !== null ? { ...image, digest: image.digest } : null;
}

const codeOf = (cause: unknown) => (cause instanceof PrestageError ? cause.code : null);
