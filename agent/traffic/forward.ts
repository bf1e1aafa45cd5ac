/**
 * Passes one request on to an upstream and its answer back, streaming both ways. The only importer
 * of httpxy: the library does the request side and the ends of sockets; the answer's head is
 * handled here, because it decides whether the answer is sent on at all.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { Socket } from "node:net";
import type { Duplex, Readable } from "node:stream";
import { ProxyServer } from "httpxy";
import { assert } from "../../shared/runtime/assert.ts";
import type { Clock } from "../../shared/runtime/clock.ts";
import { CONNECT_TIMEOUT, Connections } from "./connections.ts";

export type ForwardResult =
  /** The answer went out, whole or until one side broke it off. */
  | { kind: "answered" }
  /** `onHead` held the answer back; it was read to its end. */
  | { kind: "withheld" }
  /** No answer came; nothing was sent to the client. */
  | { kind: "failed"; cause: Error /** The upstream never saw the request. */; unsent: boolean }
  | { kind: "client-gone" };

export type ForwardOptions = {
  target: string;
  /** Added to the request. */
  headers: Record<string, string>;
  /** What is sent as the body instead of the request itself. */
  body: Readable | null;
  /** Sees the answer's head first; may set headers of the response. */
  onHead(answer: IncomingMessage): "send" | "withhold";
};

export type UpgradeOptions = {
  target: string;
  headers: Record<string, string>;
  /** Sees the answer's head, may change it. */
  onHead(answer: IncomingMessage): void;
};

type Attempt = { onHead(answer: IncomingMessage): void };

const UNSENT = new Set([
  "ECONNREFUSED",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ENOTFOUND",
  "EAI_AGAIN",
  CONNECT_TIMEOUT,
]);
const HOP_BY_HOP = [
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
];
const STRIPPED = [
  ...HOP_BY_HOP.filter((name) => name !== "connection" && name !== "transfer-encoding"),
  // The server has answered 100-continue already.
  "expect",
];
const NEVER_NOMINATED = new Set(["transfer-encoding", "content-length", "host"]);
const NOT_SENT_ON = new Set(HOP_BY_HOP);

export class Forwarder {
  readonly #agent: Connections;
  readonly #proxy: ProxyServer;
  readonly #attempts = new WeakMap<ServerResponse, Attempt>();
  readonly #upgrades = new WeakMap<IncomingMessage, UpgradeOptions>();

  /** `idleMs`: silence of an upstream after which it counts as failed. */
  constructor(clock: Clock, { idleMs, connectMs }: { idleMs: number; connectMs: number }) {
    this.#agent = new Connections(clock, { connectMs });
    this.#proxy = new ProxyServer({
      agent: this.#agent,
      xfwd: true,
      selfHandleResponse: true,
      proxyTimeout: idleMs,
    });
    this.#proxy.on("proxyRes", (answer, _request, response) => {
      this.#attempts.get(response)?.onHead(answer);
    });
    this.#proxy.on("proxyReqWs", (upstream, request) => {
      const options = this.#upgrades.get(request);
      upstream.once("upgrade", (answer: IncomingMessage) => options?.onHead(answer));
      upstream.once("response", (answer: IncomingMessage) => options?.onHead(answer));
    });
  }

  async forward(
    request: IncomingMessage,
    response: ServerResponse,
    { target, headers, body, onHead }: ForwardOptions,
  ): Promise<ForwardResult> {
    if (response.destroyed) return { kind: "client-gone" };
    const withheld = Promise.withResolvers<ForwardResult>();
    let begun = false;
    this.#attempts.set(response, {
      onHead: (answer) => {
        if (response.destroyed || response.headersSent) {
          answer.resume();
          return;
        }
        if (onHead(answer) === "withhold") {
          answer.once("close", () => withheld.resolve({ kind: "withheld" }));
          answer.resume();
          return;
        }
        begun = true;
        sendHead(answer, response);
        answer.pipe(response);
        // The head goes with the body's first bytes, or alone when those take their time.
        setImmediate(() => {
          if (!response.headersSent && !response.destroyed) response.flushHeaders();
        });
      },
    });
    const options = { target, headers, ...(body ? { buffer: body } : {}) };
    const answered = this.#proxy.web(request, response, options).then(
      (): ForwardResult => ({ kind: begun ? "answered" : "client-gone" }),
      (cause: unknown): ForwardResult => {
        if (begun) {
          response.destroy();
          return { kind: "answered" };
        }
        if (response.destroyed) return { kind: "client-gone" };
        const error = cause instanceof Error ? cause : new Error(String(cause));
        const code = "code" in error ? String(error.code) : "";
        return { kind: "failed", cause: error, unsent: UNSENT.has(code) };
      },
    );
    return Promise.race([answered, withheld.promise]);
  }

  /** Passes a protocol upgrade on; resolves when the connection is over. */
  async upgrade(
    request: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    options: UpgradeOptions,
  ): Promise<void> {
    this.#upgrades.set(request, options);
    const closed = Promise.withResolvers<void>();
    socket.once("close", () => closed.resolve());
    const { target, headers } = options;
    assert(socket instanceof Socket, "an HTTP server's upgraded socket is a net.Socket");
    await this.#proxy.ws(request, socket, { target, headers }, head);
    await closed.promise;
  }

  close(): void {
    this.#agent.destroy();
  }
}

/**
 * Takes off what is meant for this hop only, so that the connection to the upstream is our own.
 * Deletes only what is there, and sets `connection` instead: objects stay in their fast form.
 */
export function stripHopByHop(headers: IncomingMessage["headers"]): void {
  const { connection = "keep-alive" } = headers;
  if (connection.toLowerCase() !== "keep-alive") {
    for (const word of connection.split(",")) {
      const name = word.trim().toLowerCase();
      // What frames the body or names the target is not the sender's to take away.
      if (headers[name] !== undefined && !NEVER_NOMINATED.has(name)) delete headers[name];
    }
  }
  for (const name of STRIPPED) if (headers[name] !== undefined) delete headers[name];
  headers.connection = "keep-alive";
}

function sendHead(answer: IncomingMessage, response: ServerResponse): void {
  response.statusCode = answer.statusCode ?? 502;
  if (answer.statusMessage) response.statusMessage = answer.statusMessage;
  for (const [name, value] of Object.entries(answer.headers)) {
    if (value === undefined || NOT_SENT_ON.has(name)) continue;
    if (name === "server-timing" && response.hasHeader(name)) response.appendHeader(name, value);
    else if (!response.hasHeader(name)) response.setHeader(name, value);
  }
}
