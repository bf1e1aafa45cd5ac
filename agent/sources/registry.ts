/** The pull side of the distribution API as a client: manifests and ranges of blobs. */
import { PrestageError } from "../../shared/errors.ts";
import { DOCKER_HUB, type Repository, repositoryUrl } from "../../shared/image.ts";
import {
  digestOf,
  MANIFEST_BYTES_MAX,
  MANIFEST_TYPES,
  mediaTypeOf,
} from "../../shared/image-layout.ts";
import { type Credentials, refusedAccess } from "./credentials.ts";
import { readRange, refusal, streamFile } from "./ranges.ts";
import { RegistryAuth, type RegistryDeps } from "./registry-auth.ts";
import type { Fetching } from "./source.ts";
import type { Web, WebAnswer, WebRequest } from "./web.ts";

type Reading = { signal: AbortSignal };
export type RegistryManifest = { bytes: Uint8Array; mediaType: string; digest: string };
export type ManifestHead = { digest: string; mediaType: string; size: number };

const HUB_API = "https://registry-1.docker.io";
const LOOPBACK = /^(localhost|127\.[0-9.]+|\[::1\])(:\d+)?$/;

export class Registry {
  readonly #web: Web;
  readonly #credentials: Credentials;
  readonly #auth: RegistryAuth;

  constructor(deps: RegistryDeps) {
    this.#web = deps.web;
    this.#credentials = deps.credentials;
    this.#auth = new RegistryAuth(deps);
  }

  /** The bytes by tag or digest, checked against the digest. */
  async manifest(
    image: Repository,
    reference: string,
    { signal }: Reading,
  ): Promise<RegistryManifest> {
    const bytes = await this.#ask(image, `manifests/${reference}`, "GET", signal, async (answer) =>
      manifestBytes(answer),
    );
    const digest = digestOf(bytes);
    if (reference.includes(":") && reference !== digest)
      throw new PrestageError("CORRUPT", `${image.registry} answers ${digest} for ${reference}`);
    return { bytes, digest, mediaType: mediaTypeOf(bytes) };
  }

  /** What a tag stands for now. */
  async head(image: Repository, reference: string, { signal }: Reading): Promise<ManifestHead> {
    const said = await this.#ask(
      image,
      `manifests/${reference}`,
      "HEAD",
      signal,
      async (answer) => {
        await answer.body.dump();
        const digest = answer.header("docker-content-digest") ?? "";
        const size = Number(answer.header("content-length"));
        return { digest, mediaType: answer.header("content-type") ?? "", size };
      },
    );
    if (/^sha256:[0-9a-f]{64}$/.test(said.digest) && said.size > 0) return said;
    // The header may be left out: then the digest is that of the bytes.
    const { digest, mediaType, bytes } = await this.manifest(image, reference, { signal });
    return { digest, mediaType, size: bytes.length };
  }

  /** A part of a blob or, for what the registry keeps apart, of a manifest. */
  async range(
    image: Repository,
    digest: string,
    part: { offset: number; bytes: number },
    { signal, pace }: Fetching,
  ): Promise<Uint8Array> {
    const asked = { ...this.#request(image, `blobs/${digest}`, signal), pace };
    try {
      return await this.#authorized(image, () => readRange(this.#web, asked, part));
    } catch (cause) {
      if (!(cause instanceof PrestageError) || cause.code !== "NOT_FOUND") throw cause;
      const { offset, bytes } = part;
      const whole = (await this.manifest(image, digest, { signal })).bytes;
      if (offset + bytes <= whole.length) return whole.slice(offset, offset + bytes);
      throw new PrestageError("CORRUPT", "the origin's file is shorter than the manifest says");
    }
  }

  /** All of a blob, not checked. */
  async *blob(image: Repository, digest: string, { signal }: Reading): AsyncGenerator<Uint8Array> {
    yield* streamFile(this.#web, this.#request(image, `blobs/${digest}`, signal));
  }

  async #ask<T>(
    image: Repository,
    path: string,
    method: "GET" | "HEAD",
    signal: AbortSignal,
    use: (answer: WebAnswer) => Promise<T>,
  ): Promise<T> {
    const asked = { ...this.#request(image, path, signal), method };
    return this.#authorized(image, () =>
      this.#web.ask(asked, async (answer) => {
        if (answer.status !== 200) throw await refusal(answer, asked);
        return use(answer);
      }),
    );
  }

  /** Once more with a new token when the one that was kept is refused. */
  async #authorized<T>(image: Repository, attempt: () => Promise<T>): Promise<T> {
    const refused = (cause: unknown) =>
      cause instanceof PrestageError && cause.code === "FORBIDDEN";
    try {
      return await attempt().catch((cause: unknown) => {
        if (refused(cause) && this.#auth.refused(this.#api(image), image)) return attempt();
        throw cause;
      });
    } catch (cause) {
      if (!refused(cause)) throw cause;
      throw refusedAccess(new URL(repositoryUrl(image)), Boolean(this.#settings(image)?.auth));
    }
  }

  #request(image: Repository, path: string, signal: AbortSignal): WebRequest {
    const api = this.#api(image);
    return {
      url: new URL(`v2/${image.repository}/${path}`, api),
      signal,
      caFile: this.#settings(image)?.caFile,
      headers: { accept: path.startsWith("manifests/") ? MANIFEST_TYPES.join(", ") : "*/*" },
      authorize: async ({ headers }) => {
        const authorization = await this.#auth.header(api, image, signal);
        return authorization === null ? headers : { ...headers, authorization };
      },
    };
  }

  /** Where the registry answers: over TLS, unless it is this host or its settings say otherwise. */
  #api(image: Repository): URL {
    const { registry } = image;
    const endpoint = this.#settings(image)?.endpoint;
    if (endpoint !== undefined) return new URL(endpoint.replace(/\/*$/, "/"));
    if (registry === DOCKER_HUB) return new URL(HUB_API);
    return new URL(`${LOOPBACK.test(registry) ? "http" : "https"}://${registry}/`);
  }

  #settings(image: Repository) {
    return this.#credentials.settings(new URL(repositoryUrl(image)));
  }
}

async function manifestBytes({ body }: WebAnswer): Promise<Uint8Array> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of body) {
    bytes += part.length;
    if (bytes > MANIFEST_BYTES_MAX)
      throw new PrestageError("TOO_LARGE", `a manifest over ${MANIFEST_BYTES_MAX} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts);
}
