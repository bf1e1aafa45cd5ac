/**
 * Answers one peer's requests on one stream, in order, foreground first. A peer may have so many
 * requests open as it was given credit for; more is a breach and ends the stream. A chunk is read
 * (and verified) while the one before it is on its way.
 */
import type { Stream } from "@libp2p/interface";
import type { Log } from "../../shared/runtime/log.ts";
import {
  dataHead,
  encodeFrame,
  type Frame,
  FrameError,
  FrameReader,
  type Kind,
  SLICE_BYTES,
} from "./frames.ts";
import { Outbox } from "./outbox.ts";

export const CREDIT_REQUESTS = 128;

export type Serve = (kind: Kind, hash: string, host: string) => Promise<Uint8Array | null>;
type Asked = Extract<Frame, { type: "request" }>;

export class PeerServer {
  readonly #stream: Stream;
  readonly #host: string;
  readonly #deps: { serve: Serve; log: Log; sent: (bytes: number) => void };
  readonly #closed = new AbortController();
  readonly #outbox: Outbox;
  #queue: Asked[] = [];
  readonly #open = new Set<number>();
  #running = false;

  constructor(
    stream: Stream,
    host: string,
    deps: { serve: Serve; log: Log; sent: (bytes: number) => void },
  ) {
    this.#stream = stream;
    this.#host = host;
    this.#deps = deps;
    this.#outbox = new Outbox(stream, this.#closed.signal);
    const reader = new FrameReader({
      control: (frame) => this.#control(frame),
      data: () => this.#breach("data on a stream for requests"),
    });
    stream.addEventListener("message", ({ data }) => {
      try {
        for (const piece of data instanceof Uint8Array ? [data] : data) reader.read(piece);
      } catch (cause) {
        if (!(cause instanceof FrameError)) throw cause;
        this.#breach(cause.message);
      }
    });
    stream.addEventListener("close", () => this.#closed.abort(new Error("stream closed")));
    this.#send(encodeFrame({ type: "credit", requests: CREDIT_REQUESTS }));
  }

  #control(frame: Frame): void {
    if (frame.type === "cancel") {
      this.#open.delete(frame.id);
      this.#queue = this.#queue.filter((r) => r.id !== frame.id);
      return;
    }
    if (frame.type !== "request") {
      this.#breach("an answer on a stream for requests");
      return;
    }
    if (this.#open.size >= CREDIT_REQUESTS) {
      this.#breach("more requests than credit");
      return;
    }
    this.#open.add(frame.id);
    const last = this.#queue.findLastIndex((r) => r.foreground || !frame.foreground);
    this.#queue.splice(last + 1, 0, frame);
    if (!this.#running) this.#run();
  }

  #run(): void {
    this.#running = true;
    this.#answerAll()
      .catch((cause: unknown) => {
        if (!this.#closed.signal.aborted)
          this.#deps.log.debug({ host: this.#host, cause }, "serving ended");
        this.#stream.abort(cause instanceof Error ? cause : new Error("serving failed"));
      })
      .finally(() => {
        this.#running = false;
      });
  }

  async #answerAll(): Promise<void> {
    let ahead = this.#readNext();
    while (ahead) {
      const { asked, bytes } = ahead;
      const found = await bytes;
      ahead = this.#readNext();
      await this.#answer(asked, found);
      this.#open.delete(asked.id);
      ahead ??= this.#readNext();
    }
  }

  #readNext(): { asked: Asked; bytes: Promise<Uint8Array | null> } | null {
    const asked = this.#queue.shift();
    if (!asked) return null;
    const bytes = this.#deps.serve(asked.kind, asked.hash, this.#host).catch((cause: unknown) => {
      this.#deps.log.warn({ cause, kind: asked.kind }, "reading for a peer failed");
      return null;
    });
    return { asked, bytes };
  }

  async #answer({ id }: Asked, bytes: Uint8Array | null): Promise<void> {
    if (!this.#open.has(id)) return;
    if (!bytes || bytes.length === 0)
      return this.#outbox.send(encodeFrame({ type: "refuse", id, reason: "missing" }));
    for (let at = 0; at < bytes.length && this.#open.has(id); at += SLICE_BYTES) {
      const slice = bytes.subarray(at, at + SLICE_BYTES);
      await this.#outbox.send(dataHead(id, bytes.length, at, slice.length), slice);
      this.#deps.sent(slice.length);
    }
  }

  #send(frame: Uint8Array): void {
    this.#outbox.send(frame).catch(() => this.#closed.abort(new Error("stream closed")));
  }

  #breach(what: string): void {
    this.#deps.log.warn({ host: this.#host, what }, "peer broke the chunk protocol");
    this.#stream.abort(new FrameError(what));
  }
}
