/**
 * The pull side of the OCI Distribution API on loopback, for the container engines of this host.
 * What is not in the mesh is answered with 404, and the engine goes on to the registry itself.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { PrestageError } from "../../shared/errors.ts";
import type { Clock } from "../../shared/runtime/clock.ts";
import type { Log } from "../../shared/runtime/log.ts";
import type { Metrics } from "../../shared/runtime/metrics.ts";
import { Refusal, spanOf } from "./answers.ts";
import { type Asked, readAsked } from "./asked.ts";
import { type From, Images, type ImagesDeps } from "./images.ts";
import { MirrorMetrics } from "./mirror-metrics.ts";
import { listenAddress, type MirrorSettings } from "./settings.ts";

export type MirrorDeps = ImagesDeps & {
  clock: Clock;
  log: Log;
  metrics: Metrics;
  /** Keeps a version from eviction; the result ends that. */
  pin(manifestHash: string): () => void;
};

const REQUESTS_MAX = 256;
const CONNECTIONS_MAX = 1_024;
/** Of up to a chunk each. */
const PIECES_AHEAD = 2;
const LOOPBACK_NAME = /^(localhost|.+\.localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?$/i;
const VERSION = { "docker-distribution-api-version": "registry/2.0" };

export class Mirror {
  readonly #deps: MirrorDeps;
  readonly #settings: MirrorSettings;
  readonly #images: Images;
  readonly #metrics: MirrorMetrics;
  readonly #server: Server;
  readonly #started = Promise.withResolvers<void>();
  #underWay = 0;

  constructor(deps: MirrorDeps, settings: MirrorSettings) {
    this.#deps = deps;
    this.#settings = settings;
    const { upstreams, tagMs, registryMs } = settings;
    this.#images = new Images(deps, { upstreams, freshMs: tagMs, patienceMs: registryMs });
    this.#metrics = new MirrorMetrics(deps.metrics);
    this.#server = createServer((request, response) => void this.#serve(request, response));
    this.#server.maxConnections = CONNECTIONS_MAX;
    this.#started.promise.catch(() => null); // `run` throws the same
  }

  /** Resolves when it listens. */
  get started(): Promise<void> {
    return this.#started.promise;
  }

  /** `HOST:PORT`; null when it does not listen. */
  address(): string | null {
    const address = this.#server.address() as AddressInfo | null;
    return (
      address &&
      `${address.family === "IPv6" ? `[${address.address}]` : address.address}:${address.port}`
    );
  }

  async run(signal: AbortSignal): Promise<void> {
    const { listen } = this.#settings;
    if (listen === null || signal.aborted) {
      this.#started.resolve();
      return;
    }
    const { host, port } = listenAddress(listen);
    this.#server.once("error", (cause) =>
      this.#started.reject(
        new PrestageError("ADDRESS_UNUSABLE", `the image mirror cannot listen on ${listen}`, {
          cause,
          remedy: "Give another mirror.listen in agent.yaml, or stop what has this one.",
        }),
      ),
    );
    this.#server.listen(port, host, this.#started.resolve);
    await this.#started.promise;
    await new Promise<void>((resolve) => {
      const close = () => {
        this.#server.close(() => resolve());
        this.#server.closeAllConnections();
      };
      if (signal.aborted) close();
      else signal.addEventListener("abort", close, { once: true });
    });
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const beginMs = this.#deps.clock.monotonic();
    const gone = new AbortController();
    response.on("close", () => gone.abort(new Error("the engine is gone")));
    let kind: Asked["kind"] | "other" = "other";
    this.#underWay++;
    try {
      const asked = this.#admit(request);
      kind = asked.kind;
      await this.#answer(asked, request, response, gone.signal);
    } catch (cause) {
      if (!response.headersSent) this.#refuse(response, cause, request);
      else if (!response.writableEnded) {
        if (!gone.signal.aborted) {
          this.#metrics.broke();
          this.#deps.log.warn({ err: cause, url: request.url }, "image answer broken off");
        }
        response.destroy();
      }
    } finally {
      this.#underWay--;
      this.#metrics.ended(kind, response.statusCode, this.#deps.clock.monotonic() - beginMs);
    }
  }

  #admit(request: IncomingMessage): Asked {
    if (this.#underWay > REQUESTS_MAX)
      throw new Refusal("TOOMANYREQUESTS", "too many at once", { headers: { "retry-after": "1" } });
    // A page in a browser reaches loopback by a name of its own; container engines do not.
    if (!LOOPBACK_NAME.test(request.headers.host ?? ""))
      throw new Refusal("DENIED", "this mirror is for this host: ask it as localhost");
    return readAsked(request.method ?? "", request.url ?? "", this.#settings.defaultRegistry);
  }

  async #answer(
    asked: Asked,
    request: IncomingMessage,
    response: ServerResponse,
    signal: AbortSignal,
  ): Promise<void> {
    const look = request.method === "HEAD";
    switch (asked.kind) {
      case "ping":
        response.writeHead(200, { ...VERSION, "content-type": "application/json" });
        response.end(look ? "" : "{}");
        return;
      case "tags":
        return this.#answerTags(asked, response, look);
      case "manifest": {
        const found = await this.#images.manifest(asked, asked.reference, { signal, look });
        const { bytes, digest, mediaType, from } = found;
        if (notModified(request, response, digest)) return;
        response.writeHead(200, contentHeaders(digest, mediaType, bytes.length));
        response.end(look ? "" : bytes);
        if (!look) this.#metrics.gave(from, bytes.length);
        return;
      }
      case "blob":
        return this.#answerBlob(asked, request, response, signal);
    }
  }

  async #answerBlob(
    asked: Extract<Asked, { kind: "blob" }>,
    request: IncomingMessage,
    response: ServerResponse,
    signal: AbortSignal,
  ): Promise<void> {
    const { digest } = asked;
    const blob = await this.#images.blob(asked, digest, { signal });
    if (notModified(request, response, digest)) return;
    const span = spanOf(request.headers.range, blob.bytes);
    const { from, to } = span ?? { from: 0, to: blob.bytes - 1 };
    const headers = contentHeaders(digest, "application/octet-stream", to + 1 - from);
    if (span) headers["content-range"] = `bytes ${from}-${to}/${blob.bytes}`;
    response.writeHead(span ? 206 : 200, headers);
    if (request.method === "HEAD" || blob.bytes === 0) {
      response.end();
      return;
    }
    // Before the first byte is there: an engine waits for bytes longer than for an answer.
    response.flushHeaders();
    const unpin = blob.manifestHash === null ? null : this.#deps.pin(blob.manifestHash);
    try {
      await pipeline(
        Readable.from(this.#counted(blob.read({ from, to }, { signal }), blob.from), {
          highWaterMark: PIECES_AHEAD,
        }),
        response,
      );
    } finally {
      unpin?.();
    }
  }

  async #answerTags(
    { registry, repository, count, after }: Extract<Asked, { kind: "tags" }>,
    response: ServerResponse,
    look: boolean,
  ): Promise<void> {
    const all = (await this.#images.tags({ registry, repository })).filter((tag) => tag > after);
    const tags = count === null ? all : all.slice(0, count);
    const last = tags.at(-1);
    const more = tags.length < all.length && last !== undefined;
    const next = `/v2/${repository}/tags/list?ns=${registry}&n=${count}&last=${last}`;
    const text = JSON.stringify({ name: repository, tags });
    response.writeHead(200, {
      ...VERSION,
      "content-type": "application/json",
      "content-length": Buffer.byteLength(text),
      ...(more ? { link: `<${next}>; rel="next"` } : {}),
    });
    response.end(look ? "" : text);
  }

  async *#counted(pieces: AsyncIterable<Uint8Array>, from: From): AsyncGenerator<Uint8Array> {
    for await (const piece of pieces) {
      this.#metrics.gave(from, piece.length);
      yield piece;
    }
  }

  #refuse(response: ServerResponse, cause: unknown, { method, url }: IncomingMessage): void {
    const refusal = cause instanceof Refusal ? cause : unavailable(cause);
    if (refusal.code === "UNAVAILABLE")
      this.#deps.log.warn({ err: cause, url }, "image request failed");
    const body = refusal.body();
    response.writeHead(refusal.status, {
      ...VERSION,
      "content-type": "application/json",
      "content-length": Buffer.byteLength(body),
      ...refusal.headers,
    });
    response.end(method === "HEAD" ? "" : body);
  }
}

function contentHeaders(digest: string, mediaType: string, bytes: number) {
  return {
    ...VERSION,
    "content-type": mediaType,
    "content-length": bytes,
    "docker-content-digest": digest,
    "accept-ranges": "bytes",
    etag: `"${digest}"`,
  } as Record<string, string | number>;
}

function notModified(request: IncomingMessage, response: ServerResponse, digest: string): boolean {
  const known = request.headers["if-none-match"]?.split(",").map((tag) => tag.trim());
  if (!known?.includes(`"${digest}"`)) return false;
  response.writeHead(304, { ...VERSION, etag: `"${digest}"`, "docker-content-digest": digest });
  response.end();
  return true;
}

function unavailable(cause: unknown): Refusal {
  const code = cause instanceof PrestageError ? cause.code : "INTERNAL";
  if (code === "NOT_FOUND") return new Refusal("MANIFEST_UNKNOWN", "the registry has it no more");
  return new Refusal("UNAVAILABLE", `not to be had now (${code})`);
}
