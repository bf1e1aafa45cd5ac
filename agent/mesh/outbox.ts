/** Writes to a libp2p stream in order and stops while its buffer is full. */
import type { Stream } from "@libp2p/interface";

export class Outbox {
  readonly #stream: Stream;
  readonly #signal: AbortSignal;
  #tail: Promise<void> = Promise.resolve();
  #waiting = 0;

  constructor(stream: Stream, signal: AbortSignal) {
    this.#stream = stream;
    this.#signal = signal;
  }

  /** Frames that wait for the peer to read. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Resolves when the stream has room again; rejects when it is closed. */
  send(...parts: Uint8Array[]): Promise<void> {
    this.#waiting++;
    this.#tail = this.#tail.then(() => this.#write(parts)).finally(() => this.#waiting--);
    return this.#tail;
  }

  async #write(parts: Uint8Array[]): Promise<void> {
    let room = true;
    for (const part of parts) room = this.#stream.send(part);
    if (!room) await this.#stream.onDrain({ signal: this.#signal });
  }
}
