/**
 * TLS connections between members, for chunks: both sides show the certificate of their host key,
 * and each judges the other's peer id by the member list before it reads or writes a byte. Gossip
 * and presence go over libp2p; bulk does not, because its streams cost several times as much a byte.
 */
import { constants } from "node:crypto";
import type { AddressInfo, Server } from "node:net";
import { connect, createServer, type TLSSocket } from "node:tls";
import type { Member } from "../../../shared/domain.ts";
import { PrestageError } from "../../../shared/errors.ts";
import type { Clock } from "../../../shared/runtime/clock.ts";
import type { Log } from "../../../shared/runtime/log.ts";
import { Channel } from "./channel.ts";
import { type Credentials, credentialsOf, peerIdOfCertificate } from "./credentials.ts";

const ALPN = "prestage-chunks/1";
/** The cheapest a byte first. */
const CIPHERS = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
const DIAL_MS_MAX = 5_000;
/** Open to one host, of both sides' opening; the oldest makes room. */
const PER_HOST_MAX = 4;
/** TLS gives out at most one record at a time. */
const READ_BYTES = 16 << 10;
/** Accepted and not proven yet; a fleet that starts anew comes all at once. */
const HANDSHAKES_MAX = 1024;

export type ChannelsDeps = {
  identity: { seed: Uint8Array; peerId: string };
  clock: Clock;
  log: Log;
  opened(channel: Channel): void;
  /** Somebody proved to be no member. */
  refused(peerId: string): void;
};
export type Endpoint = { host: string; port: number };

export class Channels {
  readonly #deps: ChannelsDeps;
  readonly #open = new Set<Channel>();
  #members = new Map<string, Member>();
  #peers = new Map<string, string>();
  #credentials: Credentials = { cert: "", key: "" };
  #server: Server | null = null;
  #accepting = 0;

  constructor(deps: ChannelsDeps) {
    this.#deps = deps;
  }

  /** Listens; on another port where nobody insists on this one. Throws ADDRESS_UNUSABLE. */
  async start(at: Endpoint & { insist: boolean }): Promise<void> {
    this.#credentials = await credentialsOf(this.#deps.identity.seed);
    try {
      await this.#listen(at.host, at.port);
    } catch (cause) {
      const inUse = cause instanceof Error && "code" in cause && cause.code === "EADDRINUSE";
      if (inUse && !at.insist) {
        this.#deps.log.warn({ port: at.port }, "port for chunks is in use, another is taken");
        return this.#listen(at.host, 0);
      }
      const message = `chunks cannot be served on ${at.host}:${at.port}: see mesh.bulkPort`;
      throw new PrestageError("ADDRESS_UNUSABLE", message, { cause });
    }
  }

  async stop(): Promise<void> {
    for (const channel of this.#open) channel.abort();
    const server = this.#server;
    this.#server = null;
    if (server) await new Promise<void>((resolve) => server.close(() => resolve()));
  }

  /** The port it listens on; 0 when it does not. */
  get port(): number {
    const address = this.#server?.address() as AddressInfo | null | undefined;
    return address?.port ?? 0;
  }

  /** The allow-list. Connections of others end at once. */
  setMembers(members: readonly Member[]): void {
    this.#members = new Map(members.map((m) => [m.host, m]));
    this.#peers = new Map(members.map((m) => [m.peerId, m.host]));
    for (const channel of this.#open) if (!this.#members.has(channel.host)) channel.abort();
  }

  /** Closes connections on which nothing moved since the last call. */
  sweep(): void {
    for (const channel of this.#open) if (!channel.takeMoved()) channel.abort();
  }

  /** A connection to a member. Throws UNREACHABLE. */
  async dial(host: string): Promise<Channel> {
    const member = this.#members.get(host);
    if (!member) throw new PrestageError("UNREACHABLE", `${host} is no member`);
    let last: unknown = new Error("it announces no address for chunks");
    for (const endpoint of endpoints(member.meshAddresses))
      try {
        return await this.#dial(member, endpoint);
      } catch (cause) {
        last = cause;
      }
    throw new PrestageError("UNREACHABLE", `no connection to ${host}`, { cause: last });
  }

  #listen(host: string, port: number): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const server = createServer(
      {
        ...this.#credentials,
        ...tlsSettings(),
        requestCert: true,
        handshakeTimeout: DIAL_MS_MAX,
        secureOptions: constants.SSL_OP_NO_TICKET,
      },
      (socket) => this.#accept(socket),
    );
    server.on("connection", (socket) => {
      if (++this.#accepting > HANDSHAKES_MAX) socket.destroy();
      socket.once("close", () => this.#accepting--);
    });
    server.on("tlsClientError", (cause) => this.#deps.log.debug({ cause }, "no TLS with a peer"));
    server.once("error", reject);
    server.listen({ host, port, backlog: HANDSHAKES_MAX }, () => {
      server.off("error", reject);
      server.on("error", (cause) => this.#deps.log.error({ cause }, "listener for chunks"));
      this.#server = server;
      resolve();
    });
    return promise;
  }

  #accept(socket: TLSSocket): void {
    const peerId = peerIdOfCertificate(socket.getPeerX509Certificate());
    const host = this.#peers.get(peerId ?? "");
    if (host !== undefined) {
      const channel = this.#channel(socket, host, false);
      socket.on("data", (piece: Uint8Array) => channel.onBytes(piece));
      return;
    }
    socket.on("error", () => socket.destroy()); // it is being closed: what else went wrong is of no use
    socket.destroy();
    if (peerId !== null && peerId !== this.#deps.identity.peerId) this.#deps.refused(peerId);
  }

  async #dial(member: Member, endpoint: Endpoint): Promise<Channel> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const early: Uint8Array[] = [];
    let take = (piece: Uint8Array): void => {
      early.push(Uint8Array.from(piece));
    };
    const buffer = Buffer.allocUnsafeSlow(READ_BYTES);
    // One buffer for all that is read: a third of the cost of reading.
    const settings = {
      ...endpoint,
      ...this.#credentials,
      ...tlsSettings(),
      onread: {
        buffer,
        callback: (bytes: number) => {
          take(buffer.subarray(0, bytes));
          return true;
        },
      },
    };
    const socket = connect(settings);
    const failed = (cause?: Error) => reject(cause ?? new Error("closed"));
    const late = () => socket.destroy(new Error("no answer in time"));
    const inTime = this.#deps.clock.after(DIAL_MS_MAX, late);
    socket.once("secureConnect", resolve).once("error", failed).once("close", failed);
    try {
      await promise;
    } catch (cause) {
      socket.destroy();
      throw cause;
    } finally {
      inTime();
    }
    socket.off("error", failed).off("close", failed);
    const peerId = peerIdOfCertificate(socket.getPeerX509Certificate());
    if (peerId !== member.peerId || this.#peers.get(peerId) !== member.host) {
      socket.on("error", () => socket.destroy()); // as above
      socket.destroy();
      throw new Error(`another host answers at ${endpoint.host}:${endpoint.port}`);
    }
    const channel = this.#channel(socket, member.host, true);
    take = (piece) => channel.onBytes(piece);
    for (const piece of early) take(piece);
    return channel;
  }

  #channel(socket: TLSSocket, host: string, dialled: boolean): Channel {
    const channel = new Channel(socket, { host, dialled, clock: this.#deps.clock });
    const others = [...this.#open].filter((c) => c.host === host);
    if (others.length >= PER_HOST_MAX) others[0]?.abort();
    this.#open.add(channel);
    channel.closed.then(() => this.#open.delete(channel));
    this.#deps.opened(channel);
    return channel;
  }
}

/** The certificate is not judged by an authority but by the key in it, in `#accept` and `#dial`. */
function tlsSettings() {
  return {
    minVersion: "TLSv1.3" as const,
    ciphers: CIPHERS,
    rejectUnauthorized: false,
    ALPNProtocols: [ALPN],
  };
}

/** Multiaddrs of the chunk listener: those of the node with its port and `/tls`. */
export function bulkAddresses(nodeAddresses: readonly string[], port: number): string[] {
  if (port === 0) return [];
  return nodeAddresses.flatMap((a) => {
    const [, base, peer = ""] = /^(\/[a-z0-9]+\/[^/]+)\/tcp\/\d+(\/p2p\/[^/]+)?$/.exec(a) ?? [];
    return base ? [`${base}/tcp/${port}/tls${peer}`] : [];
  });
}

export function isBulkAddress(address: string): boolean {
  return /\/tls(\/|$)/.test(address);
}

/** Where chunks are served; another host's own loopback is tried last. */
function endpoints(addresses: readonly string[]): Endpoint[] {
  const found = addresses.flatMap((a) => {
    const match = /^\/(?:ip[46]|dns[46]?)\/([^/]+)\/tcp\/(\d+)\/tls(?:\/|$)/.exec(a);
    return match?.[1] ? [{ host: match[1], port: Number(match[2]) }] : [];
  });
  const isLoopback = ({ host }: Endpoint) => host.startsWith("127.") || host === "::1";
  return found.sort((a, b) => Number(isLoopback(a)) - Number(isLoopback(b)));
}
