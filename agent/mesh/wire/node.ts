/**
 * The libp2p node: TCP, TLS, yamux, gossip. Knows members by host name, lets nobody else in or
 * out, and keeps a connection to the members of its site. Chunks go another way (`channels.ts`).
 * The only importer of libp2p.
 */
import { hash as digest } from "node:crypto";
import { type GossipSub, gossipsub, TopicValidatorResult } from "@chainsafe/libp2p-gossipsub";
import { generateKeyPairFromSeed } from "@libp2p/crypto/keys";
import { identify } from "@libp2p/identify";
import type { Connection, PeerId } from "@libp2p/interface";
import { tcp } from "@libp2p/tcp";
import { tls } from "@libp2p/tls";
import { yamux } from "@libp2p/yamux";
import { type Multiaddr, multiaddr } from "@multiformats/multiaddr";
import { createLibp2p, type Libp2p } from "libp2p";
import type { Member } from "../../../shared/domain.ts";
import { PrestageError } from "../../../shared/errors.ts";
import { assert } from "../../../shared/runtime/assert.ts";
import { type Clock, every, within } from "../../../shared/runtime/clock.ts";
import type { Log } from "../../../shared/runtime/log.ts";
import type { Random } from "../../../shared/runtime/random.ts";
import { backoffMs } from "../../../shared/runtime/retry.ts";
import { TaskGroup } from "../../../shared/runtime/tasks.ts";
import { neighboursOf } from "../transfer/neighbours.ts";
import { isBulkAddress } from "./channels.ts";

const NOTHING = new Uint8Array();
const DIAL_EVERY_MS = 500;
const DIAL_TIMEOUT_MS = 5_000;
const FORGET_EVERY_MS = 60_000;
const PING_EVERY_MS = 30_000;
/** Of gossip: who lacks a message asks for it within so long. */
const HEARTBEAT_MS = 3_000;
/** The host with the larger name waits so long for the other's dial before it dials too. */
const SECOND_DIALLER_MS = 3_000;

export type NodeHandlers = {
  gossip(bytes: Uint8Array, host: string): void;
  connected(host: string): void;
  disconnected(host: string): void;
  /** Somebody listens to our topic who did not before. */
  listener(host: string): void;
  refused(peerId: string): void;
};
export type NodeDeps = {
  identity: { seed: Uint8Array; peerId: string; host: string; site: string };
  clock: Clock;
  random: Random;
  log: Log;
  handlers: NodeHandlers;
};
export type NodeOptions = {
  listen: string[];
  announce: string[];
  gossipBytesMax: number;
};
type Dial = { attempt: number; notBeforeMs: number; busy: boolean };
type Services = { identify: unknown; gossip: GossipSub };

export class MeshNode {
  readonly #deps: NodeDeps;
  readonly #options: NodeOptions;
  readonly #topic: string;
  #libp2p: Libp2p<Services> | null = null;
  #byHost = new Map<string, Member>();
  #byPeer = new Map<string, Member>();
  /** Members of the site to keep connected to. */
  #neighbours: Member[] = [];
  /** Peer ids. */
  readonly #connected = new Set<string>();
  readonly #dials = new Map<string, Dial>();
  #dialNow: () => void = () => {};

  constructor(deps: NodeDeps, options: NodeOptions) {
    this.#deps = deps;
    this.#options = options;
    this.#topic = `prestage/holdings/${deps.identity.site}`;
  }

  /** Listens. Call `run` next. */
  async start(): Promise<void> {
    const { seed, peerId } = this.#deps.identity;
    const libp2p = await createLibp2p(this.#settings(await keyPair(seed)));
    assert(libp2p.peerId.toString() === peerId, "the peer id is that of the key");
    this.#libp2p = libp2p;
    libp2p.addEventListener("peer:connect", ({ detail }) => {
      this.#connected.add(detail.toString());
      const member = this.#byPeer.get(detail.toString());
      if (!member) return;
      this.#deps.log.debug({ host: member.host }, "peer connected");
      this.#deps.handlers.connected(member.host);
    });
    libp2p.addEventListener("peer:disconnect", ({ detail }) => {
      this.#connected.delete(detail.toString());
      const member = this.#byPeer.get(detail.toString());
      if (member) this.#deps.handlers.disconnected(member.host);
    });
    this.#listenToGossip(libp2p.services.gossip);
    await this.#listen(libp2p);
    libp2p.services.gossip.subscribe(this.#topic);
  }

  async #listen(libp2p: Libp2p<Services>): Promise<void> {
    try {
      await libp2p.start();
    } catch (cause) {
      if (!(cause instanceof Error) || cause.name !== "UnsupportedListenAddressesError")
        throw cause;
      const where = this.#options.listen.join(", ");
      const message = `the mesh cannot listen on ${where}: see mesh.listen and mesh.port`;
      throw new PrestageError("ADDRESS_UNUSABLE", message, { cause });
    }
  }

  /** Keeps neighbours connected until the signal aborts; then closes everything. */
  async run(signal: AbortSignal): Promise<void> {
    const group = new TaskGroup(signal);
    this.#dialNow = () => this.#dialDue(group);
    group.start("dial", (inner) =>
      every(this.#deps.clock, DIAL_EVERY_MS, inner, () => this.#dialNow()),
    );
    group.start("forget", (inner) =>
      every(this.#deps.clock, FORGET_EVERY_MS, inner, () => this.#forgetStrangers()),
    );
    try {
      await group.done();
    } finally {
      this.#dialNow = () => {};
      await this.#libp2p?.stop();
    }
  }

  /** Multiaddrs others can dial, with the peer id. */
  addresses(): string[] {
    return (this.#libp2p?.getMultiaddrs() ?? []).map((a) => a.toString()).slice(0, 8);
  }

  isConnected(host: string): boolean {
    return this.#connected.has(this.#byHost.get(host)?.peerId ?? "");
  }

  get connectedHosts(): string[] {
    return [...this.#connected].flatMap((peerId) => this.#byPeer.get(peerId)?.host ?? []);
  }

  /** The allow-list. Connections of peers that are not on it end at once. */
  setMembers(members: Member[]): void {
    this.#byHost = new Map(members.map((m) => [m.host, m]));
    this.#byPeer = new Map(members.map((m) => [m.peerId, m]));
    const { host: self, site } = this.#deps.identity;
    const others = members.filter((m) => m.site === site && m.host !== self).map((m) => m.host);
    this.#neighbours = neighboursOf(self, others).flatMap((h) => this.#byHost.get(h) ?? []);
    for (const host of this.#dials.keys()) if (!this.#byHost.has(host)) this.#dials.delete(host);
    for (const connection of this.#libp2p?.getConnections() ?? []) {
      if (this.#byPeer.has(connection.remotePeer.toString())) continue;
      this.#deps.log.info({ peerId: connection.remotePeer.toString() }, "connection of ex-member");
      connection.abort(new Error("not a member any more"));
    }
    this.#dialNow();
  }

  /** What libp2p learnt of peers that are no members (any more): it would keep it for ever. */
  async #forgetStrangers(): Promise<void> {
    const store = this.#libp2p?.peerStore;
    for (const { id } of (await store?.all()) ?? [])
      if (!this.#byPeer.has(id.toString())) await store?.delete(id);
  }

  async publish(bytes: Uint8Array): Promise<void> {
    await this.#libp2p?.services.gossip.publish(this.#topic, bytes);
  }

  #settings(privateKey: Awaited<ReturnType<typeof keyPair>>) {
    const { listen, announce, gossipBytesMax } = this.#options;
    return {
      start: false,
      privateKey,
      addresses: { listen, announce },
      transports: [tcp()],
      connectionEncrypters: [tls()],
      // The monitor's ping says whether the other end lives: once is enough, and seldom.
      streamMuxers: [yamux({ enableKeepAlive: false })],
      connectionMonitor: { pingInterval: PING_EVERY_MS },
      connectionManager: {
        // Per second and address, and not proven yet: a fleet that starts anew comes all at once.
        inboundConnectionThreshold: 2_000,
        maxIncomingPendingConnections: 2_000,
        reconnectRetries: 0,
        dialTimeout: DIAL_TIMEOUT_MS,
      },
      connectionGater: {
        denyDialPeer: (peer: PeerId) => this.#deny(peer),
        denyInboundEncryptedConnection: (peer: PeerId) => this.#deny(peer),
        denyOutboundEncryptedConnection: (peer: PeerId) => this.#deny(peer),
      },
      services: {
        identify: identify(),
        gossip: gossipsub({
          allowedTopics: [this.#topic],
          allowPublishToZeroTopicPeers: true,
          fallbackToFloodsub: false,
          // A host tells all its neighbours itself: what they pass on besides is for larger sites,
          // where three each reach everybody (100, 300 and 1,000 hosts: all of them, two do not).
          D: 3,
          Dlo: 2,
          Dhi: 4,
          Dscore: 2,
          Dout: 1,
          // What is told of what was said mends what was lost, and everything is said again.
          Dlazy: 2,
          gossipFactor: 0.1,
          heartbeatInterval: HEARTBEAT_MS,
          // Each message that is remembered holds the 64 KiB it was read into.
          mcacheLength: 2,
          mcacheGossip: 2,
          batchPublish: true,
          // Each message comes from several neighbours: only the first is worth a signature check.
          fastMsgIdFn: ({ signature, data }) =>
            digest("sha1", Buffer.concat([signature ?? NOTHING, data ?? NOTHING]), "hex"),
          maxInboundDataLength: gossipBytesMax,
          // Hosts behind one address are common here, and all peers are members.
          scoreParams: { IPColocationFactorWeight: 0 },
        }),
      },
    };
  }

  #deny(peer: PeerId): boolean {
    if (this.#byPeer.has(peer.toString())) return false;
    this.#deps.handlers.refused(peer.toString());
    return true;
  }

  #listenToGossip(gossip: GossipSub): void {
    gossip.topicValidators.set(this.#topic, (_, message) => {
      const from = message.type === "signed" ? this.#byPeer.get(message.from.toString()) : null;
      const { site } = this.#deps.identity;
      return from?.site === site ? TopicValidatorResult.Accept : TopicValidatorResult.Reject;
    });
    gossip.addEventListener("message", ({ detail }) => {
      if (detail.type !== "signed" || detail.topic !== this.#topic) return;
      const from = this.#byPeer.get(detail.from.toString());
      if (from) this.#deps.handlers.gossip(detail.data, from.host);
    });
    gossip.addEventListener("subscription-change", ({ detail }) => {
      const subscribed = detail.subscriptions.some((s) => s.subscribe && s.topic === this.#topic);
      const member = this.#byPeer.get(detail.peerId.toString());
      if (subscribed && member) this.#deps.handlers.listener(member.host);
    });
  }

  #dialDue(group: TaskGroup): void {
    const { clock, identity } = this.#deps;
    const connected = new Set(this.connectedHosts);
    const nowMs = clock.monotonic();
    for (const member of this.#neighbours) {
      if (connected.has(member.host)) {
        this.#dials.delete(member.host);
        continue;
      }
      let dial = this.#dials.get(member.host);
      if (!dial) {
        const waitMs = identity.host < member.host ? 0 : SECOND_DIALLER_MS;
        dial = { attempt: 0, notBeforeMs: nowMs + waitMs, busy: false };
        this.#dials.set(member.host, dial);
      }
      if (!dial.busy && nowMs >= dial.notBeforeMs && member.meshAddresses.length > 0)
        group.start(`dial ${member.host}`, (stopped) => this.#dial(member.host, dial, stopped));
    }
  }

  async #dial(host: string, dial: Dial, stopped: AbortSignal): Promise<void> {
    dial.busy = true;
    try {
      await within(this.#deps.clock, DIAL_TIMEOUT_MS, stopped, (s) => this.#connect(host, s));
    } catch (cause) {
      this.#deps.log.debug({ host, cause }, "neighbour not reached");
      const waitMs = backoffMs(dial.attempt++, this.#deps.random, { maxMs: 10_000 });
      dial.notBeforeMs = this.#deps.clock.monotonic() + waitMs;
    } finally {
      dial.busy = false;
    }
  }

  async #connect(host: string, signal: AbortSignal): Promise<Connection> {
    const libp2p = this.#libp2p;
    const member = this.#byHost.get(host);
    if (!libp2p || !member) throw new PrestageError("UNREACHABLE", `${host} is no member`);
    const open = libp2p
      .getConnections()
      .find((c) => c.status === "open" && c.remotePeer.toString() === member.peerId);
    if (open) return open;
    const addresses = member.meshAddresses.flatMap((a) => dialable(a, member.peerId));
    if (addresses.length === 0)
      throw new PrestageError("UNREACHABLE", `no address of ${host} is known`);
    return libp2p.dial(addresses, { signal });
  }
}

function keyPair(seed: Uint8Array) {
  return generateKeyPairFromSeed("Ed25519", seed);
}

/** With the peer id, so that nobody else can answer; nothing when it is no multiaddr of a node. */
function dialable(address: string, peerId: string): Multiaddr[] {
  if (isBulkAddress(address)) return [];
  try {
    const plain = address.replace(/\/p2p\/[^/]+$/, "");
    return [multiaddr(`${plain}/p2p/${peerId}`)];
  } catch {
    return []; // another host's word: a bad one is as good as none
  }
}
