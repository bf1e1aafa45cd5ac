/**
 * The coordinator's listener: HTTPS with the API of the table, and the server that agent sessions
 * attach to. Limits are set here because the defaults are not: a slow or oversized request must
 * not hold anything for long. The only importer of fastify.
 */
import { readFile } from "node:fs/promises";
import type { Server } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import type { TLSSocket } from "node:tls";
import { type FastifyInstance, type FastifyReply, type FastifyRequest, fastify } from "fastify";
import { z } from "zod";
import { ERRORS, type ErrorCode, PrestageError } from "../../shared/errors.ts";
import type { Clock } from "../../shared/runtime/clock.ts";
import type { Log } from "../../shared/runtime/log.ts";
import type { Counter, Histogram, Metrics } from "../../shared/runtime/metrics.ts";
import { softwareVersion } from "../../shared/runtime/software.ts";
import { Guard, type GuardTrust } from "./api-guard.ts";
import { type Asker, type Route, type RouteAccess, route } from "./api-route.ts";
import { apiTable } from "./api-table.ts";
import { openApiDocument } from "./openapi.ts";
import type { Operations } from "./operations.ts";

export type GatewayTls = { key: string; cert: string; ca: string };
/** What the gateway needs of the trust room. */
export type GatewayTrust = GuardTrust & {
  serverTls(): GatewayTls;
  onServerTls(handler: (tls: GatewayTls) => void): void;
  audit: {
    record(entry: {
      actor: string;
      address: string;
      action: string;
      object: string;
      outcome: "ok" | "failed";
      detail: Record<string, unknown>;
    }): Promise<void>;
  };
};
export type GatewayDeps = {
  clock: Clock;
  trust: GatewayTrust;
  operations: Operations;
  /** Folder of trained models, a folder a version; agents fetch them from here. */
  modelsDir: string;
  metrics: Metrics;
  log: Log;
};
export type GatewayOptions = {
  host: string;
  port: number;
  limits?: Partial<typeof API_LIMITS>;
};

export const API_LIMITS = {
  bodyBytes: 1 << 20,
  headerBytes: 16 << 10,
  handshakeMs: 5_000,
  headersMs: 5_000,
  requestMs: 10_000,
  checkMs: 1_000,
  keepAliveMs: 30_000,
  connections: 20_000,
  /** How long answers may take to end when the coordinator stops. */
  drainMs: 2_000,
};

declare module "fastify" {
  interface FastifyContextConfig {
    access?: RouteAccess;
  }
  interface FastifyRequest {
    asker: Asker | null;
  }
}

type Service = FastifyInstance<Server>;

export class Gateway {
  readonly server: Server;
  readonly table: readonly Route[];
  readonly #deps: GatewayDeps;
  readonly #options: GatewayOptions;
  readonly #limits: typeof API_LIMITS;
  readonly #service: Service;
  readonly #guard: Guard;
  readonly #sockets = new Set<TLSSocket>();
  readonly #requests: Counter<"route" | "status">;
  readonly #seconds: Histogram<"route">;
  readonly #listening = Promise.withResolvers<AddressInfo>();

  constructor(deps: GatewayDeps, options: GatewayOptions) {
    this.#deps = deps;
    this.#options = options;
    this.#limits = { ...API_LIMITS, ...options.limits };
    this.#guard = new Guard(deps);
    deps.trust.onServerTls((tls) => this.#setTls(tls));
    this.#requests = deps.metrics.counter({
      name: "prestage_api_requests_total",
      help: "Requests at the HTTP API by route and status.",
      labelNames: ["route", "status"],
    });
    this.#seconds = deps.metrics.histogram({
      name: "prestage_api_request_seconds",
      help: "Time from a request's headers to its answer.",
      labelNames: ["route"],
    });
    this.#listening.promise.catch(() => undefined);
    this.table = this.#makeTable();
    this.#service = this.#makeService();
    this.server = this.#service.server;
    this.server.maxConnections = this.#limits.connections;
    this.server.on("secureConnection", (socket) => {
      this.#sockets.add(socket);
      socket.once("close", () => this.#sockets.delete(socket));
    });
  }

  /** Where it listens; resolves once it does. */
  address(): Promise<AddressInfo> {
    return this.#listening.promise;
  }

  /** Listens until the signal aborts; open requests get a moment to end. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#deps;
    const stopped = Promise.withResolvers<void>();
    const stop = () => stopped.resolve();
    signal.addEventListener("abort", stop, { once: true });
    if (signal.aborted) stop();
    // While it starts to listen, `listen` throws the same.
    stopped.promise.catch(() => null);
    this.#listening.promise.catch(() => null);
    this.server.once("error", stopped.reject);
    try {
      const { host, port } = this.#options;
      await this.#service.listen({ host, port });
      const address = this.server.address();
      if (address && typeof address === "object") this.#listening.resolve(address);
      log.info({ address }, "gateway listens");
      await stopped.promise;
    } catch (cause) {
      this.#listening.reject(cause);
      throw cause;
    } finally {
      signal.removeEventListener("abort", stop);
      const cancel = clock.after(this.#limits.drainMs, () => {
        for (const socket of this.#sockets) socket.destroy();
      });
      await this.#service.close();
      cancel();
    }
  }

  /** New connections use it; open ones stay. */
  #setTls(tls: GatewayTls): void {
    this.server.setSecureContext({ ...tls, minVersion: "TLSv1.3" });
  }

  #makeTable(): Route[] {
    const { operations, metrics, modelsDir } = this.#deps;
    const table = apiTable({
      operations,
      metricsText: () => metrics.text(),
      modelFile: (version, file) => readModelFile(join(modelsDir, version, file)),
    });
    const openApi: Route = route({
      method: "GET",
      path: "/api/v1/openapi.json",
      access: "viewer",
      summary: "This API as an OpenAPI 3.1 document.",
      answer: z.record(z.string(), z.unknown()),
      handle: () => openApiDocument([...table, openApi], softwareVersion()),
    });
    return [...table, openApi];
  }

  #makeService(): Service {
    const { headerBytes, handshakeMs, headersMs, requestMs, checkMs, keepAliveMs, bodyBytes } =
      this.#limits;
    const service: Service = fastify({
      logger: false,
      exposeHeadRoutes: false,
      bodyLimit: bodyBytes,
      requestTimeout: requestMs,
      keepAliveTimeout: keepAliveMs,
      forceCloseConnections: "idle",
      return503OnClosing: true,
      https: {
        ...this.#deps.trust.serverTls(),
        minVersion: "TLSv1.3",
        // Agents show certificates, people do not: who needs one is refused by the guard.
        requestCert: true,
        rejectUnauthorized: false,
        handshakeTimeout: handshakeMs,
        headersTimeout: headersMs,
        connectionsCheckingInterval: checkMs,
        maxHeaderSize: headerBytes,
      },
    });
    service.decorateRequest("asker", null);
    service.removeAllContentTypeParsers();
    service.addContentTypeParser(
      "application/json",
      { parseAs: "string" },
      service.getDefaultJsonParser("error", "error"),
    );
    service.addHook("onRequest", async (request, reply) => this.#admit(request, reply));
    service.addHook("onResponse", async (request, reply) => {
      const path = request.routeOptions.url ?? "none";
      this.#requests.inc({ route: path, status: String(reply.statusCode) });
      this.#seconds.observe({ route: path }, reply.elapsedTime / 1000);
    });
    service.setErrorHandler((cause, _, reply) => this.#fail(cause, reply));
    service.setNotFoundHandler((_, reply) =>
      this.#fail(new PrestageError("NOT_FOUND", "there is nothing here"), reply),
    );
    for (const row of this.table) if (row.lines) this.#addLines(service, row);
    for (const row of this.table) if (!row.lines) this.#add(service, row);
    return service;
  }

  /** A route whose body is a stream, with its own content type, in a scope of its own. */
  #addLines(service: Service, row: Route): void {
    service.register(async (scope) => {
      scope.removeAllContentTypeParsers();
      scope.addContentTypeParser("application/x-ndjson", (_request, _payload, done) => done(null));
      this.#add(scope as unknown as Service, row);
    });
  }

  #add(service: Service, row: Route): void {
    service.route({
      method: row.method,
      url: row.path,
      config: { access: row.access },
      ...(row.bodyBytesMax ? { bodyLimit: row.bodyBytesMax } : {}),
      handler: async (request, reply) => {
        const answer = await this.#answer(row, request);
        if (typeof row.answer !== "string")
          return reply.type("application/json").send(JSON.stringify(answer));
        return reply.type(row.answer).send(answer);
      },
    });
  }

  #admit(request: FastifyRequest, reply: FastifyReply): void {
    reply.headers({
      "cache-control": "no-store",
      "x-content-type-options": "nosniff",
      "strict-transport-security": "max-age=31536000",
    });
    const { method, raw, headers } = request;
    request.asker = this.#guard.admit({
      method,
      path: request.routeOptions.url ?? request.url.split("?")[0] ?? "",
      access: request.routeOptions.config.access,
      authorization: headers.authorization,
      address: raw.socket.remoteAddress ?? "",
      socket: raw.socket as TLSSocket,
    });
  }

  async #answer(row: Route, request: FastifyRequest): Promise<unknown> {
    const { asker, params, query, body, raw } = request;
    if (!asker) throw new PrestageError("FORBIDDEN", "the caller was not judged");
    const { object, result } = this.#started(row, asker.address, () =>
      row.run({ params, query, body }, { ...asker, raw }),
    );
    if (row.audited === null) return result;
    const entry = {
      actor: asker.caller?.name ?? "unknown",
      address: asker.address,
      action: row.audited,
      object,
    };
    const { audit } = this.#deps.trust;
    try {
      const value = await result;
      await audit.record({ ...entry, outcome: "ok", detail: {} });
      return value;
    } catch (cause) {
      const code = cause instanceof PrestageError ? cause.code : "INTERNAL";
      await audit.record({ ...entry, outcome: "failed", detail: { code } });
      throw cause;
    }
  }

  /** Whoever wants to join without a token that could be one is refused like with a wrong one. */
  #started<T>({ access, method, path }: Route, address: string, start: () => T): T {
    try {
      return start();
    } catch (cause) {
      if (access === "join-token") {
        const { code } = asPrestageError(cause);
        const entry = { actor: "unknown", address, action: `api ${method}`, object: path };
        this.#deps.trust.audit.refused({ ...entry, detail: { code } });
      }
      throw cause;
    }
  }

  #fail(cause: unknown, reply: FastifyReply): FastifyReply {
    const error = asPrestageError(cause);
    if (error.code === "INTERNAL") this.#deps.log.error({ err: cause }, "request failed");
    if (error.code === "UNAUTHENTICATED") reply.header("www-authenticate", "Bearer");
    if (error.code === "RATE_LIMITED" || error.code === "UNAVAILABLE")
      reply.header("retry-after", "1");
    const { code, message, remedy, details } = error;
    return reply
      .status(ERRORS[code].http)
      .type("application/json")
      .send(JSON.stringify({ error: { code, message, remedy, details } }));
  }
}

async function readModelFile(path: string): Promise<Uint8Array | null> {
  try {
    return await readFile(path);
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") return null;
    throw cause;
  }
}

/** Of what fastify itself refuses; what nobody expected says nothing of its inside. */
function asPrestageError(cause: unknown): PrestageError {
  if (cause instanceof PrestageError) return cause;
  const code = (cause as { code?: unknown } | null)?.code;
  const status = (cause as { statusCode?: unknown } | null)?.statusCode;
  const known: Record<string, ErrorCode> = {
    FST_ERR_CTP_BODY_TOO_LARGE: "TOO_LARGE",
    FST_ERR_CTP_INVALID_MEDIA_TYPE: "USAGE",
  };
  const text = cause instanceof Error ? cause.message : "refused";
  const mapped = typeof code === "string" ? known[code] : undefined;
  if (mapped) return new PrestageError(mapped, text, { cause });
  if (typeof status === "number" && status >= 400 && status < 500)
    return new PrestageError("USAGE", text, { cause });
  return new PrestageError("INTERNAL", "something went wrong inside", { cause });
}
