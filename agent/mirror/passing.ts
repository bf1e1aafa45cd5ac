/**
 * Blobs that are just being brought in, as they pass, for engines that asked for them before they
 * began. Who is too slow is left behind, so that nobody holds the bringing up, and reads the rest
 * from the mesh.
 */
const AHEAD_BYTES_MAX = 16 << 20;

export class Passing {
  readonly #listeners = new Map<string, Set<Listener>>();
  readonly #begun = new Set<string>();

  /** The same pieces; whoever listens for the blob gets a copy. */
  async *through(digest: string, pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    this.#begun.add(digest);
    const listeners = this.#listeners.get(digest) ?? [];
    try {
      for await (const piece of pieces) {
        for (const listener of listeners) listener.take(piece);
        yield piece;
      }
    } finally {
      for (const listener of listeners) listener.end();
      this.#begun.delete(digest);
    }
  }

  /**
   * From the blob's first byte on: all of it, or as much as came in time; nothing when it had begun
   * already. Ends when `instead` settles, too.
   */
  async *listen(digest: string, instead: Promise<unknown>): AsyncGenerator<Uint8Array> {
    if (this.#begun.has(digest)) return;
    const listener = new Listener();
    const others = this.#listeners.get(digest) ?? new Set();
    this.#listeners.set(digest, others.add(listener));
    const end = () => listener.end();
    instead.then(end, end);
    try {
      yield* listener.pieces();
    } finally {
      listener.end();
      others.delete(listener);
      if (others.size === 0 && this.#listeners.get(digest) === others)
        this.#listeners.delete(digest);
    }
  }
}

class Listener {
  #queue: Uint8Array[] = [];
  #bytes = 0;
  #ended = false;
  #wake: () => void = () => {};

  take(piece: Uint8Array): void {
    if (this.#ended) return;
    if (this.#bytes + piece.length > AHEAD_BYTES_MAX) {
      this.end();
      return;
    }
    this.#queue.push(Uint8Array.from(piece));
    this.#bytes += piece.length;
    this.#wake();
  }

  end(): void {
    this.#ended = true;
    this.#wake();
  }

  async *pieces(): AsyncGenerator<Uint8Array> {
    for (;;) {
      const piece = this.#queue.shift();
      if (piece) {
        this.#bytes -= piece.length;
        yield piece;
      } else if (this.#ended) return;
      else
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
    }
  }
}
