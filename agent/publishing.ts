/** Directories and the content of URLs as signed, announced versions. */
import { hash } from "node:crypto";
import type { SignedManifest } from "../shared/domain.ts";
import { PrestageError } from "../shared/errors.ts";
import { manifestBody, manifestHash, verifyManifest } from "../shared/manifest.ts";
import { parseSourceUrl, shownUrl } from "../shared/source-url.ts";
import type { AskSignature, Progress, PublishRequest } from "./local.ts";
import type { Mesh } from "./mesh/mesh.ts";
import type { Sign } from "./mesh/store/ingest.ts";
import type { Novelty } from "./mesh/store/novelty.ts";
import type { SourceLimits } from "./sources/settings.ts";
import type { SourceFile } from "./sources/source.ts";
import type { Sources } from "./sources/sources.ts";

export type Published = {
  /** Of the source, when it was read; empty for directories and where it cannot be told. */
  revision: string;
  name: string;
  version: string;
  manifestHash: string;
  tags: string[];
  bytes: number;
  files: number;
  /** Against what this host has of other versions. */
  novelty: Novelty;
  /** All versions here: their files, and what these take of the disk. */
  store: { logicalBytes: number; usedBytes: number };
};
export type PublishingDeps = {
  mesh: Pick<Mesh, "publish" | "publishStream" | "store">;
  sources: Pick<Sources, "snapshot" | "revision">;
  config: { sourceLimits: SourceLimits };
  announce(manifest: SignedManifest, tags: string[]): Promise<{ manifestHash: string }>;
};
type What = {
  name: string;
  version: string | null;
  tags: string[];
  /** Absent: this host signs. */
  sign?: Sign | undefined;
};
type FromUrl = What & {
  keep: boolean;
  /** Sees the files on their way in; gives the same. */
  passing?: (files: AsyncIterable<SourceFile>) => AsyncIterable<SourceFile>;
};

export class Publishing {
  readonly #deps: PublishingDeps;

  constructor(deps: PublishingDeps) {
    this.#deps = deps;
  }

  publish(
    request: PublishRequest,
    progress: Progress,
    signature: AskSignature,
    signal: AbortSignal,
  ): Promise<Published> {
    const { from, publicKey, ...rest } = request;
    const what = { ...rest, sign: publicKey === null ? undefined : signer(publicKey, signature) };
    return "url" in from
      ? this.fromUrl(from.url, { ...what, keep: from.keep }, progress, signal)
      : this.#directory(from, what, progress, signal);
  }

  /** Throws CONFLICT when it changed meanwhile; then nothing was announced. */
  async fromUrl(
    url: string,
    { name, version, tags, keep, sign, passing = (files) => files }: FromUrl,
    progress: Progress,
    signal: AbortSignal,
  ): Promise<Published> {
    const { mesh, sources, config } = this.#deps;
    const { revision, originUrl, pinned, files } = await sources.snapshot(url, { signal });
    const signed = await mesh.publishStream(passing(files), {
      name,
      version: version ?? versionOf(revision),
      originUrl,
      keep,
      sign,
      bytesMax: config.sourceLimits.artifactBytes,
      signal,
      progress: (done) => progress(done, 0),
    });
    const known = !pinned && revision !== "";
    if (known && (await sources.revision(url, { signal })) !== revision)
      throw new PrestageError("CONFLICT", `${shownUrl(parseSourceUrl(url))} changed meanwhile`, {
        remedy: "Publish it again when nobody writes to it.",
      });
    return this.#announce(signed, tags, revision);
  }

  async #directory(
    { dir, originUrl }: { dir: string; originUrl: string | null },
    what: What,
    progress: Progress,
    signal: AbortSignal,
  ): Promise<Published> {
    const { name, version, tags, sign } = what;
    if (version === null) throw new PrestageError("USAGE", "a directory has no revision", NAME_IT);
    const origin = originUrl === null ? null : parseSourceUrl(originUrl).href;
    const about = { name, version, originUrl: origin, keep: origin === null, sign };
    const options = { ...about, progress, signal };
    return this.#announce(await this.#deps.mesh.publish(dir, options), tags, "");
  }

  async #announce(signed: SignedManifest, tags: string[], revision: string): Promise<Published> {
    const manifest = verifyManifest(signed);
    const novelty = this.#deps.mesh.store.novelty(manifest, signed.hash);
    const { manifestHash } = await this.#deps.announce(signed, tags);
    const { name, version, bytes } = manifest;
    const files = manifest.files.length;
    const { logicalBytes, usedBytes } = this.#deps.mesh.store;
    const store = { logicalBytes, usedBytes };
    return { name, version, manifestHash, tags, bytes, files, revision, novelty, store };
  }
}

/** A key that is not here: its owner is asked to sign each body. */
function signer(publicKey: string, signature: AskSignature): Sign {
  return async (manifest) => {
    const body = manifestBody(manifest);
    const signed = { body, hash: manifestHash(body), signature: await signature(body), publicKey };
    verifyManifest(signed);
    return signed;
  };
}

const NAME_IT = { remedy: "Give a --version." };

/** A version's name for a revision: the first digits of a commit or digest, else of its hash. */
export function versionOf(revision: string): string {
  if (revision === "")
    throw new PrestageError("USAGE", "the source does not tell its revision", NAME_IT);
  const digest = /^(?:sha256:)?([0-9a-f]{40,64})$/.exec(revision)?.[1];
  return (digest ?? hash("sha256", revision, "hex")).slice(0, 12);
}
