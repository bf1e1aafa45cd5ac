/** Both ways to the other members: the node for presence and gossip, channels for chunks. */
import type { Member } from "../../../shared/domain.ts";
import { type Clock, every } from "../../../shared/runtime/clock.ts";
import type { MeshDeps, MeshOptions } from "../mesh-options.ts";
import type { Channel } from "./channel.ts";
import { bulkAddresses, Channels } from "./channels.ts";
import { ANNOUNCEMENT_BYTES_MAX } from "./gossip.ts";
import { MeshNode, type NodeHandlers } from "./node.ts";

/** Connections for chunks on which nothing moved for so long are closed. */
const IDLE_MS_MAX = 120_000;

export type NetworkHandlers = NodeHandlers & { opened(channel: Channel): void };

export class MeshNetwork {
  readonly #node: MeshNode;
  readonly #channels: Channels;
  readonly #clock: Clock;
  readonly #bulk: MeshOptions["bulk"];

  constructor(
    { identity, clock, random, log }: MeshDeps,
    handlers: NetworkHandlers,
    { listen, announce = [], bulk }: MeshOptions,
  ) {
    const { opened, refused } = handlers;
    this.#clock = clock;
    this.#bulk = bulk;
    this.#channels = new Channels({ identity, clock, log, opened, refused });
    this.#node = new MeshNode(
      { identity, clock, random, log, handlers },
      { listen, announce, gossipBytesMax: ANNOUNCEMENT_BYTES_MAX },
    );
  }

  /** Listens. Call `run` next. Throws ADDRESS_UNUSABLE. */
  async start(): Promise<void> {
    await this.#channels.start(this.#bulk);
    await this.#node.start();
  }

  /** Keeps neighbours connected until the signal aborts; then closes everything. */
  async run(signal: AbortSignal): Promise<void> {
    const swept = every(this.#clock, IDLE_MS_MAX, signal, () => this.#channels.sweep());
    try {
      await this.#node.run(signal);
      await swept;
    } finally {
      await this.#channels.stop();
    }
  }

  /** The allow-list; who is no longer on it is cut off at once. */
  setMembers(members: Member[]): void {
    this.#channels.setMembers(members);
    this.#node.setMembers(members);
  }

  /** Multiaddrs for the membership record: of the node, and with `/tls` of the chunks. */
  addresses(): string[] {
    const node = this.#node.addresses();
    return [...node, ...bulkAddresses(node, this.#channels.port)];
  }

  isConnected(host: string): boolean {
    return this.#node.isConnected(host);
  }

  get connectedHosts(): string[] {
    return this.#node.connectedHosts;
  }

  publish(bytes: Uint8Array): Promise<void> {
    return this.#node.publish(bytes);
  }

  dial(host: string): Promise<Channel> {
    return this.#channels.dial(host);
  }
}
