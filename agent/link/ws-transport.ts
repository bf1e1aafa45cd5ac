/** WebSocket over mutual TLS 1.3. The only importer of ws on this side. */
import type { IncomingMessage } from "node:http";
import { type ClientOptions, type RawData, WebSocket } from "ws";
import { ERRORS, type ErrorCode, PrestageError } from "../../shared/errors.ts";
import { frameBytesMax } from "../../shared/protocol/messages.ts";
import type { Connection, Transport } from "./transport.ts";

/** PEM texts. `serverName` is checked against the coordinator's certificate; null = the URL's. */
export type LinkTls = { ca: string; cert: string; key: string; serverName: string | null };

/** Where the connection says stop, and where it asks for more. */
const HIGH_BYTES = 1 << 20;
const LOW_BYTES = 256 << 10;
/** How long the closing handshake may take before the socket is cut. */
const CLOSE_MS_MAX = 1_000;

export class WsTransport implements Transport {
  readonly #url: string;
  readonly #tls: () => LinkTls;

  /** `url` is `https://host:port` of the coordinator; `tls` is asked anew for each connection. */
  constructor({ url, tls }: { url: string; tls: () => LinkTls }) {
    this.#url = new URL("/v1/agent", url.replace(/^http/, "ws")).href;
    this.#tls = tls;
  }

  connect({ signal }: { signal: AbortSignal }): Promise<Connection> {
    const { ca, cert, key, serverName } = this.#tls();
    const { promise, resolve, reject } = Promise.withResolvers<Connection>();
    const options: ClientOptions & { closeTimeout: number } = {
      ca,
      cert,
      key,
      ...(serverName === null ? {} : { servername: serverName }),
      minVersion: "TLSv1.3",
      rejectUnauthorized: true,
      perMessageDeflate: false,
      maxPayload: frameBytesMax("down"),
      followRedirects: false,
      closeTimeout: CLOSE_MS_MAX,
    };
    const socket = new WebSocket(this.#url, options);
    const abort = () => socket.terminate();
    signal.addEventListener("abort", abort, { once: true });
    if (signal.aborted) abort();
    socket.once("open", () => {
      signal.removeEventListener("abort", abort);
      resolve(new WsConnection(socket));
    });
    socket.once("unexpected-response", (request, response) => {
      reject(refusal(response));
      request.destroy();
    });
    // Also after `open`, where the close that follows an error says all there is to say.
    socket.on("error", (cause) => {
      signal.removeEventListener("abort", abort);
      reject(signal.aborted ? signal.reason : unreachableError(cause));
    });
    return promise;
  }
}

class WsConnection implements Connection {
  readonly #socket: WebSocket;
  #congested = false;
  #onDrain: () => void = () => {};

  constructor(socket: WebSocket) {
    this.#socket = socket;
  }

  get bufferedAmount(): number {
    return this.#socket.bufferedAmount;
  }

  send(bytes: Uint8Array): boolean {
    if (this.#socket.readyState !== WebSocket.OPEN) return true;
    this.#socket.send(bytes, () => this.#sent());
    this.#congested ||= this.#socket.bufferedAmount > HIGH_BYTES;
    return !this.#congested;
  }

  #sent(): void {
    if (!this.#congested || this.#socket.bufferedAmount > LOW_BYTES) return;
    this.#congested = false;
    this.#onDrain();
  }

  close(reason: string): void {
    // A close reason holds 123 bytes; this one is for logs only.
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.close(1000, reason.slice(0, 40));
    else this.#socket.terminate();
  }

  onMessage(handler: (bytes: Uint8Array) => void): void {
    this.#socket.on("message", (data, isBinary) => {
      if (isBinary) handler(bytesOf(data));
      else this.#socket.close(1003, "binary frames only");
    });
  }

  onDrain(handler: () => void): void {
    this.#onDrain = handler;
  }

  onClose(handler: (why: PrestageError) => void): void {
    this.#socket.once("close", (code, reason) => {
      const said = reason.length > 0 ? `: ${reason.toString("utf8")}` : "";
      handler(new PrestageError("UNREACHABLE", `connection closed (${code})${said}`));
    });
  }
}

function bytesOf(data: RawData): Uint8Array {
  if (Array.isArray(data)) return Buffer.concat(data);
  return data instanceof ArrayBuffer ? new Uint8Array(data) : data;
}

/** The coordinator answers a refused upgrade with its code, and when to come again. */
function refusal(response: IncomingMessage): PrestageError {
  const said = response.headers["prestage-code"];
  const code = typeof said === "string" && said in ERRORS ? (said as ErrorCode) : "UNREACHABLE";
  const seconds = Number(response.headers["retry-after"]);
  const details = seconds > 0 ? { retryAfterMs: Math.min(seconds, 600) * 1_000 } : {};
  response.resume();
  return new PrestageError(code, `the coordinator refused the session (${response.statusCode})`, {
    details,
  });
}

const CERTIFICATE_CODES = new Set([
  "ERR_TLS_CERT_ALTNAME_INVALID",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "UNABLE_TO_GET_ISSUER_CERT",
  "CERT_SIGNATURE_FAILURE",
]);

function unreachableError(cause: Error & { code?: string }): PrestageError {
  const mismatch = cause.code !== undefined && CERTIFICATE_CODES.has(cause.code);
  return new PrestageError(mismatch ? "CA_MISMATCH" : "UNREACHABLE", cause.message, { cause });
}
