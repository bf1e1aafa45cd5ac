/** A request's body with a view to sending it more than once. */
import type { IncomingMessage } from "node:http";
import { Readable } from "node:stream";

/** Bodies up to this many bytes are read first, so that another upstream can be tried. */
const REPLAY_BYTES_MAX = 64 << 10;
const IDEMPOTENT = new Set(["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"]);

export class RequestBody {
  readonly #request: IncomingMessage;
  readonly #declaredBytes: number;
  readonly #chunked: boolean;
  #bytes: Buffer | null = null;

  constructor(request: IncomingMessage) {
    this.#request = request;
    this.#chunked = request.headers["transfer-encoding"] !== undefined;
    this.#declaredBytes = Number(request.headers["content-length"] ?? 0);
  }

  get #none(): boolean {
    return !this.#chunked && this.#declaredBytes === 0;
  }

  /** Reads a small body; leaves a large one to be streamed. Throws when the client goes. */
  async load(): Promise<void> {
    if (this.#bytes || this.#none || this.#chunked) return;
    if (!(this.#declaredBytes <= REPLAY_BYTES_MAX)) return;
    const chunks: Buffer[] = [];
    for await (const chunk of this.#request) chunks.push(chunk);
    this.#bytes = Buffer.concat(chunks);
  }

  /** What to send for one attempt; null for the request's own stream. */
  source(): Readable | null {
    return this.#bytes ? Readable.from([this.#bytes], { objectMode: false }) : null;
  }

  /**
   * Whether the request may be sent once more after an attempt that failed: the body must still be
   * whole, and either nothing was sent or the method is idempotent.
   */
  mayRepeat({ unsent }: { unsent: boolean }): boolean {
    const whole = this.#none || this.#bytes !== null || !this.#request.readableDidRead;
    return whole && (unsent || IDEMPOTENT.has(this.#request.method ?? ""));
  }
}
