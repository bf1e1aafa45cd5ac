/**
 * One TLS connection with a member that has proven who it is. Control frames of one turn go out
 * together; data goes out while the socket has room, so that nothing piles up here.
 */
import type { TLSSocket } from "node:tls";
import type { Clock } from "../../../shared/runtime/clock.ts";
import { Ahead } from "./ahead.ts";
import { SLICE_BYTES } from "./frames.ts";

/** A peer that reads so little that this much control waits for it is of no use. */
const CONTROL_WAITING_BYTES_MAX = 4 << 20;

type Opened = { host: string; dialled: boolean; clock: Clock };

export class Channel {
  readonly host: string;
  /** Opened by this host: the peer's data comes on it, and nothing stands in our requests' way. */
  readonly dialled: boolean;
  readonly #socket: TLSSocket;
  readonly #ahead: Ahead;
  readonly #closed = Promise.withResolvers<void>();
  #control: Uint8Array[] = [];
  #drained: PromiseWithResolvers<void> | null = null;
  #movedBytes = -1;
  /** Takes what comes in; a piece is valid during the call only. */
  onBytes: (piece: Uint8Array) => void = () => {};

  constructor(socket: TLSSocket, { host, dialled, clock }: Opened) {
    this.#socket = socket;
    this.#ahead = new Ahead(socket, clock);
    this.host = host;
    this.dialled = dialled;
    socket.setNoDelay(true);
    socket.on("error", () => socket.destroy()); // what it was does not matter: it is closed
    socket.on("end", () => socket.destroy());
    socket.on("drain", () => this.#wake());
    socket.on("close", () => {
      this.#wake();
      this.#closed.resolve();
    });
  }

  get open(): boolean {
    return this.#socket.writable && !this.#socket.destroyed;
  }

  /** Resolves when the connection has ended. */
  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  /** Whether anything went in or out since the last call. */
  takeMoved(): boolean {
    const bytes = this.#socket.bytesRead + this.#socket.bytesWritten;
    const moved = bytes !== this.#movedBytes;
    this.#movedBytes = bytes;
    return moved;
  }

  get receivedBytes(): number {
    return this.#socket.bytesRead;
  }

  /** Whether data that is written now would wait. */
  get full(): boolean {
    return this.#socket.writableNeedDrain;
  }

  /** Sends a control frame at the end of this turn. */
  send(frame: Uint8Array): void {
    if (!this.open) return;
    if (this.#control.length === 0) queueMicrotask(() => this.#flush());
    this.#control.push(frame);
  }

  /**
   * Sends data; resolves to whether there is room for more, false when it has closed. `sent` is
   * called when nobody here looks at the data any more; never, when that is not sure.
   */
  async write(
    head: Uint8Array,
    data: Uint8Array,
    { urgent = false, sent = () => {} }: { urgent?: boolean; sent?: () => void } = {},
  ): Promise<boolean> {
    if (!this.open) return false;
    this.#ahead.before(urgent);
    this.#flush();
    // A small piece goes out as one: a packet less for both.
    if (data.length < SLICE_BYTES) this.#socket.cork();
    this.#socket.write(head);
    const room = this.#socket.write(data, (failure) => (failure ? null : sent()));
    this.#socket.uncork();
    if (!room) {
      this.#drained ??= Promise.withResolvers();
      await this.#drained.promise;
    }
    return this.open;
  }

  /** Reads no more from a connection the peer opened. */
  pause(): void {
    this.#socket.pause();
  }

  abort(): void {
    this.#socket.destroy();
  }

  #flush(): void {
    const [first, ...rest] = this.#control;
    this.#control = [];
    if (!first || !this.open) return;
    this.#socket.write(rest.length === 0 ? first : Buffer.concat([first, ...rest]));
    if (this.#socket.writableLength > CONTROL_WAITING_BYTES_MAX) this.abort();
  }

  #wake(): void {
    this.#drained?.resolve();
    this.#drained = null;
  }
}
