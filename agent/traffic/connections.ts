/** Keep-alive connections to environments and other routers that give up connecting in good time. */
import { Agent, type ClientRequestArgs } from "node:http";
import { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { Clock } from "../../shared/runtime/clock.ts";

/** Code of a connection that was not there in time: the request was not sent. */
export const CONNECT_TIMEOUT = "PRESTAGE_CONNECT_TIMEOUT";

/**
 * Free sockets go before a usual server's five seconds are over, so that a request seldom meets one
 * that is being closed.
 */
const FREE_SOCKET_MS = 4000;

export class Connections extends Agent {
  readonly #clock: Clock;
  readonly #connectMs: number;

  /** `connectMs`: how long a host that does not answer at all may hold a request up. */
  constructor(clock: Clock, { connectMs }: { connectMs: number }) {
    super({
      keepAlive: true,
      maxSockets: 1024,
      maxFreeSockets: 64,
      timeout: FREE_SOCKET_MS,
      scheduling: "lifo",
    });
    this.#clock = clock;
    this.#connectMs = connectMs;
  }

  override createConnection(
    options: ClientRequestArgs,
    callback?: (error: Error | null, stream: Duplex) => void,
  ): Duplex | null | undefined {
    const socket = super.createConnection(options, callback);
    if (!(socket instanceof Socket) || !socket.connecting) return socket;
    const cancel = this.#clock.after(this.#connectMs, () => {
      const message = `no connection within ${this.#connectMs} ms`;
      socket.destroy(Object.assign(new Error(message), { code: CONNECT_TIMEOUT }));
    });
    socket.once("connect", cancel);
    socket.once("close", cancel);
    return socket;
  }
}
