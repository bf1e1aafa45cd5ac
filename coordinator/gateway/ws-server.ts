/**
 * Agents' WebSockets on the coordinator's HTTPS server: whom to let in, and what goes over the
 * wire. The only importer of ws on this side.
 */
import type { IncomingMessage } from "node:http";
import type { Server } from "node:https";
import type { Duplex } from "node:stream";
import type { TLSSocket } from "node:tls";
import { type RawData, type ServerOptions, WebSocket, WebSocketServer } from "ws";
import type { HostId } from "../../shared/domain.ts";
import { ERRORS, type ErrorCode } from "../../shared/errors.ts";
import { frameBytesMax } from "../../shared/protocol/messages.ts";

export const AGENT_PATH = "/v1/agent";
/** How long the closing handshake may take before the socket is cut. */
const CLOSE_MS_MAX = 1_000;

/** The host of a verified peer certificate, or why it is let in no further. */
export type Identify = (socket: TLSSocket) => { host: HostId } | { refused: ErrorCode };

/** One agent's connection. */
export interface AgentSocket {
  send(bytes: Uint8Array): void;
  /** Bytes taken but not yet handed to the network. */
  readonly bufferedAmount: number;
  /** Ends it; `onClose` follows. Safe to call again. */
  close(reason: string): void;
  onMessage(handler: (bytes: Uint8Array) => void): void;
  onClose(handler: () => void): void;
}

export type AgentGate = {
  identify: Identify;
  /** Null lets one in; else when it should come again. */
  admit: () => number | null;
  refused: (code: ErrorCode) => void;
  accept: (host: HostId, socket: AgentSocket) => void;
};

/** Takes the server's upgrades for `AGENT_PATH`; the returned function stops it. */
export function acceptAgents(server: Server, gate: AgentGate): () => void {
  const options: ServerOptions & { closeTimeout: number } = {
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: frameBytesMax("up"),
    closeTimeout: CLOSE_MS_MAX,
  };
  const webSockets = new WebSocketServer(options);
  const onUpgrade = (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on("error", () => socket.destroy());
    const admitted = check(request, gate);
    if ("host" in admitted) {
      webSockets.handleUpgrade(request, socket, head, (webSocket) =>
        gate.accept(admitted.host, new WsAgentSocket(webSocket)),
      );
      return;
    }
    gate.refused(admitted.code);
    refuse(socket, admitted);
  };
  server.on("upgrade", onUpgrade);
  return () => {
    server.off("upgrade", onUpgrade);
  };
}

type Refusal = { code: ErrorCode; retryAfterMs: number | null };

function check(request: IncomingMessage, gate: AgentGate): { host: HostId } | Refusal {
  if (request.url !== AGENT_PATH) return { code: "NOT_FOUND", retryAfterMs: null };
  // A browser that holds an agent's certificate is no agent.
  if (request.headers.origin !== undefined) return { code: "FORBIDDEN", retryAfterMs: null };
  // An HTTPS server hands over nothing else; on a plain one there is no certificate to find.
  const identity = gate.identify(request.socket as TLSSocket);
  if ("refused" in identity) return { code: identity.refused, retryAfterMs: null };
  const retryAfterMs = gate.admit();
  return retryAfterMs === null ? identity : { code: "UNAVAILABLE", retryAfterMs };
}

function refuse(socket: Duplex, { code, retryAfterMs }: Refusal): void {
  const lines = [
    `HTTP/1.1 ${ERRORS[code].http} Refused`,
    `prestage-code: ${code}`,
    ...(retryAfterMs === null ? [] : [`retry-after: ${Math.ceil(retryAfterMs / 1_000)}`]),
    "content-length: 0",
    "connection: close",
  ];
  socket.end(`${lines.join("\r\n")}\r\n\r\n`);
}

class WsAgentSocket implements AgentSocket {
  readonly #socket: WebSocket;

  constructor(socket: WebSocket) {
    this.#socket = socket;
    // An error is followed by close; a frame over maxPayload is one.
    socket.on("error", () => socket.terminate());
  }

  get bufferedAmount(): number {
    return this.#socket.bufferedAmount;
  }

  send(bytes: Uint8Array): void {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(bytes);
  }

  close(reason: string): void {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.close(1000, reason.slice(0, 40));
  }

  onMessage(handler: (bytes: Uint8Array) => void): void {
    this.#socket.on("message", (data, isBinary) => {
      if (isBinary) handler(bytesOf(data));
      else this.#socket.close(1003, "binary frames only");
    });
  }

  onClose(handler: () => void): void {
    this.#socket.once("close", handler);
  }
}

function bytesOf(data: RawData): Uint8Array {
  if (Array.isArray(data)) return Buffer.concat(data);
  return data instanceof ArrayBuffer ? new Uint8Array(data) : data;
}
