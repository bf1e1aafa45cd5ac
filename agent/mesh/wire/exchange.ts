/**
 * Chunks between hosts, over connections that either side opened and that stay. Requests go out on
 * a connection of this host's own where it can open one: the peer's data comes on it and nothing
 * stands before the requests. A host that cannot be reached is asked on the connection it opened.
 */
import type { Clock } from "../../../shared/runtime/clock.ts";
import type { Log } from "../../../shared/runtime/log.ts";
import type { BufferPool } from "../store/buffer-pool.ts";
import { Backlog } from "./backlog.ts";
import type { Channel } from "./channel.ts";
import { PeerClient, type Question, type Reply } from "./client.ts";
import { encodeFrame, type Frame, FrameError, FrameReader, type Have, PACE_MAX } from "./frames.ts";
import { Pace } from "./pace.ts";
import { PeerServer, type Serve } from "./server.ts";
import { Uplink } from "./uplink.ts";

export type ExchangeDeps = {
  log: Log;
  clock: Clock;
  /** A new connection to a member. Rejects when it cannot be reached. */
  dial: (host: string) => Promise<Channel>;
  serve: Serve;
  pool: BufferPool;
  /** A member says what is new there. */
  heard: (host: string, have: Have) => void;
  /** A member goes by a rate it was told; null: it is forgotten, with the connection. */
  paced: (host: string, bytesPerSecond: number | null) => void;
  /** Whether a member is of another site. */
  isOutside: (host: string) => boolean;
};
const REDIAL_MS = 5_000;
/** Longer than the time between two reports. */
const GIVES_MS = 10_000;
type Peer = { channel: Channel; client: PeerClient };

export class Exchange {
  readonly #deps: ExchangeDeps;
  readonly #uplink: Uplink;
  readonly #backlog: Backlog;
  /** Background answers to hosts of other sites, all together. */
  readonly leaving: Pace;
  readonly #peers = new Map<string, Peer[]>();
  readonly #dials = new Map<string, Promise<Peer>>();
  /** Hosts that could not be dialled and are asked on the connection they opened. */
  readonly #behind = new Set<string>();
  readonly #paces = new Map<string, number>();
  readonly #notBeforeMs = new Map<string, number>();
  sentBytes = 0;

  constructor(deps: ExchangeDeps) {
    this.#deps = deps;
    this.#uplink = new Uplink(deps.clock);
    this.#backlog = new Backlog(deps.clock);
    this.leaving = new Pace(deps.clock);
  }

  /** Never throws: a peer that cannot be reached is a `failed` reply. */
  async ask(host: string, what: Question, { signal }: { signal: AbortSignal }): Promise<Reply> {
    try {
      const { client } = this.#own(host) ?? (await untilAborted(this.#reach(host), signal));
      return await client.ask(what, { signal });
    } catch (cause) {
      if (signal.aborted) return { ok: false, reason: "cancelled" };
      this.#deps.log.debug({ host, cause }, "peer not reached");
      return { ok: false, reason: "failed" };
    }
  }

  /** Says something to a host; false when there is no connection with room for it yet. */
  tell(host: string, frame: Frame): boolean {
    const peers = this.#peers.get(host);
    const peer = peers?.find((p) => !p.channel.full);
    peer?.channel.send(encodeFrame(frame));
    // Our own connection is the one on which nothing stands in the way.
    if (!peer?.channel.dialled && !this.#behind.has(host)) this.#connect(host);
    return peer !== undefined;
  }

  /** Opens a connection to a host that will have to be told and asked, if there is none. */
  meet(host: string): void {
    if (this.#own(host) === undefined) this.#connect(host);
  }

  /** Holds the background answers of a host to a rate, on this connection and those to come. */
  pace(host: string, bytesPerSecond: number): void {
    if (bytesPerSecond === PACE_MAX) this.#paces.delete(host);
    else this.#paces.set(host, bytesPerSecond);
    this.#own(host)?.channel.send(encodeFrame({ type: "pace", bytesPerSecond }));
  }

  /** All that came on the connections to a host that are open. */
  receivedBytes(host: string): number {
    return (this.#peers.get(host) ?? []).reduce((sum, p) => sum + p.channel.receivedBytes, 0);
  }

  /** Whether hosts of other sites wait for what may leave this one. */
  get gives(): boolean {
    return this.#deps.clock.monotonic() - this.leaving.waitedMs < GIVES_MS;
  }

  /** Takes a connection that was opened by either side. */
  opened(channel: Channel): void {
    const { serve, pool, log, clock, isOutside } = this.#deps;
    const leaving = isOutside(channel.host) ? this.leaving : null;
    const sent = (bytes: number) => {
      this.sentBytes += bytes;
    };
    const client = new PeerClient(channel, pool);
    const shared = { uplink: this.#uplink, backlog: this.#backlog };
    const server = new PeerServer(channel, { serve, pool, log, clock, ...shared, leaving, sent });
    const reader = new FrameReader({
      control: (frame) => {
        if (frame.type === "have") this.#deps.heard(channel.host, frame);
        else if (frame.type === "paced") this.#deps.paced(channel.host, frame.bytesPerSecond);
        else if (frame.type === "credit" || frame.type === "refuse") client.take(frame);
        else server.take(frame);
      },
      data: (id, total, offset, piece) => client.data(id, total, offset, piece),
    });
    channel.onBytes = (piece) => {
      try {
        reader.read(piece);
      } catch (cause) {
        if (!(cause instanceof FrameError)) throw cause;
        log.warn({ host: channel.host, cause }, "peer broke the chunk protocol");
        channel.abort();
      }
    };
    this.#add({ channel, client });
  }

  /** Drops what is under way with a host. */
  drop(host: string): void {
    this.#notBeforeMs.delete(host);
    for (const { channel } of this.#peers.get(host) ?? []) channel.abort();
  }

  #add(peer: Peer): void {
    const { channel, client } = peer;
    const { host } = channel;
    const all = [...(this.#peers.get(host) ?? []), peer];
    // Our own first: what we say on it waits behind nothing.
    this.#peers.set(
      host,
      all.sort((a, b) => Number(b.channel.dialled) - Number(a.channel.dialled)),
    );
    const bytesPerSecond = this.#paces.get(host);
    if (bytesPerSecond !== undefined) channel.send(encodeFrame({ type: "pace", bytesPerSecond }));
    channel.closed.then(() => {
      client.end();
      if (this.#own(host) === undefined) {
        this.#paces.delete(host);
        this.#deps.paced(host, null);
      }
      const rest = (this.#peers.get(host) ?? []).filter((p) => p !== peer);
      this.#behind.delete(host);
      if (rest.length > 0) this.#peers.set(host, rest);
      else this.#peers.delete(host);
    });
  }

  /** The connection on which that host is asked. */
  #own(host: string): Peer | undefined {
    const behind = this.#behind.has(host);
    return this.#peers.get(host)?.find((p) => (behind || p.channel.dialled) && p.channel.open);
  }

  /** Opens a connection before it is needed, not again soon after that failed. */
  #connect(host: string): void {
    const nowMs = this.#deps.clock.monotonic();
    if (this.#dials.has(host) || nowMs < (this.#notBeforeMs.get(host) ?? 0)) return;
    this.#notBeforeMs.set(host, nowMs + REDIAL_MS);
    this.#reach(host).catch((cause: unknown) => {
      this.#deps.log.debug({ host, cause }, "peer not reached");
    });
  }

  async #reach(host: string): Promise<Peer> {
    const known = this.#dials.get(host);
    if (known) return known;
    const dialling = this.#dial(host);
    this.#dials.set(host, dialling);
    try {
      return await dialling;
    } finally {
      this.#dials.delete(host);
    }
  }

  async #dial(host: string): Promise<Peer> {
    try {
      const channel = await this.#deps.dial(host);
      const peer = this.#peers.get(host)?.find((p) => p.channel === channel);
      if (peer) return peer;
      throw new Error("the connection ended at once");
    } catch (cause) {
      const theirs = this.#peers.get(host)?.find((p) => p.channel.open);
      if (!theirs) throw cause;
      this.#behind.add(host);
      return theirs;
    }
  }
}

/** What others wait for too goes on without who leaves. */
async function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) onAbort();
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
