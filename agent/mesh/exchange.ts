/**
 * Chunks between hosts: `/prestage/chunks/1`, one stream per peer and direction that is opened at
 * the first request and stays. Who asks opens it; answers come back on it.
 */
import type { Stream } from "@libp2p/interface";
import type { Log } from "../../shared/runtime/log.ts";
import { PeerClient, type Reply } from "./client.ts";
import type { Kind } from "./frames.ts";
import { PeerServer, type Serve } from "./server.ts";

export const CHUNK_PROTOCOL = "/prestage/chunks/1";

export type ExchangeDeps = {
  log: Log;
  /** A new stream to a member. Rejects when it cannot be reached. */
  open: (host: string) => Promise<Stream>;
  serve: Serve;
};

export class Exchange {
  readonly #deps: ExchangeDeps;
  readonly #clients = new Map<string, Promise<PeerClient>>();
  sentBytes = 0;

  constructor(deps: ExchangeDeps) {
    this.#deps = deps;
  }

  /** Never throws: a peer that cannot be reached is a `failed` reply. */
  async ask(
    host: string,
    what: { kind: Kind; hash: string; bytes: number | null; foreground: boolean },
    options: { signal: AbortSignal },
  ): Promise<Reply> {
    try {
      const client = await this.#client(host);
      return await client.ask(what, options);
    } catch (cause) {
      this.#deps.log.debug({ host, cause }, "peer not reached");
      return { ok: false, reason: "failed" };
    }
  }

  /** Takes an inbound stream of a member. */
  accept(stream: Stream, host: string): void {
    const { serve, log } = this.#deps;
    const sent = (bytes: number) => {
      this.sentBytes += bytes;
    };
    new PeerServer(stream, host, { serve, log, sent });
  }

  /** Drops what is under way with a host. */
  async drop(host: string): Promise<void> {
    const client = this.#clients.get(host);
    this.#clients.delete(host);
    await client?.then((c) => c.abort("dropped")).catch(() => null); // never opened: nothing to drop
  }

  async #client(host: string): Promise<PeerClient> {
    const known = this.#clients.get(host);
    if (known) return known;
    const opening = this.#deps.open(host).then(
      (stream) =>
        new PeerClient(stream, () => {
          if (this.#clients.get(host) === opening) this.#clients.delete(host);
        }),
    );
    this.#clients.set(host, opening);
    opening.catch(() => {
      if (this.#clients.get(host) === opening) this.#clients.delete(host);
    });
    return opening;
  }
}
