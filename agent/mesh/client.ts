/** Asks one peer for chunks over one stream that stays open; many requests under way at once. */
import type { Stream } from "@libp2p/interface";
import { encodeFrame, type Frame, FrameError, FrameReader, type Kind } from "./frames.ts";
import { Outbox } from "./outbox.ts";

export type Reply =
  | { ok: true; bytes: Uint8Array }
  | { ok: false; reason: "missing" | "busy" | "failed" | "cancelled" };

type Pending = {
  bytesMax: number;
  buffer: Uint8Array | null;
  received: number;
  settle: (reply: Reply) => void;
};

const CREDIT_AT_FIRST = 64;
const HASH_ANSWER_BYTES_MAX = 12 << 20;

export class PeerClient {
  readonly #stream: Stream;
  readonly #outbox: Outbox;
  readonly #closed = new AbortController();
  readonly #pending = new Map<number, Pending>();
  #credit = CREDIT_AT_FIRST;
  #nextId = 1;

  constructor(stream: Stream, onClose: () => void) {
    this.#stream = stream;
    this.#outbox = new Outbox(stream, this.#closed.signal);
    const reader = new FrameReader({
      control: (frame) => this.#control(frame),
      data: (id, total, offset, piece) => this.#data(id, total, offset, piece),
    });
    stream.addEventListener("message", ({ data }) => {
      try {
        for (const piece of data instanceof Uint8Array ? [data] : data) reader.read(piece);
      } catch (cause) {
        if (!(cause instanceof FrameError)) throw cause;
        stream.abort(cause);
      }
    });
    stream.addEventListener("close", () => {
      this.#closed.abort(new Error("stream closed"));
      onClose();
      for (const pending of this.#pending.values()) pending.settle({ ok: false, reason: "failed" });
      this.#pending.clear();
    });
    stream.addEventListener("remoteCloseWrite", () => stream.abort(new Error("peer closed")));
  }

  get open(): boolean {
    return this.#stream.status === "open" && this.#stream.remoteWriteStatus === "writable";
  }

  /** `bytes`: the exact size of the answer; null when not known. Never throws. */
  ask(
    what: { kind: Kind; hash: string; bytes: number | null; foreground: boolean },
    { signal }: { signal: AbortSignal },
  ): Promise<Reply> {
    if (!this.open) return Promise.resolve({ ok: false, reason: "failed" });
    if (signal.aborted) return Promise.resolve({ ok: false, reason: "cancelled" });
    if (this.#pending.size >= this.#credit) return Promise.resolve({ ok: false, reason: "busy" });
    const id = this.#nextId++ >>> 0;
    const { promise, resolve } = Promise.withResolvers<Reply>();
    const onAbort = () => {
      this.#settle(id, { ok: false, reason: "cancelled" });
      this.#send({ type: "cancel", id });
    };
    signal.addEventListener("abort", onAbort, { once: true });
    this.#pending.set(id, {
      bytesMax: what.bytes ?? HASH_ANSWER_BYTES_MAX,
      buffer: what.bytes === null ? null : Buffer.allocUnsafeSlow(what.bytes),
      received: 0,
      settle: (reply) => {
        signal.removeEventListener("abort", onAbort);
        resolve(reply);
      },
    });
    const { kind, hash, foreground } = what;
    this.#send({ type: "request", id, kind, hash, foreground });
    return promise;
  }

  abort(reason: string): void {
    this.#stream.abort(new Error(reason));
  }

  #control(frame: Frame): void {
    if (frame.type === "credit") this.#credit = Math.min(frame.requests, 1024);
    else if (frame.type === "refuse") {
      const reason = frame.reason === "busy" ? "busy" : "missing";
      this.#settle(frame.id, { ok: false, reason });
    } else throw new FrameError("a request on a stream for answers");
  }

  /** Data of requests that were cancelled meanwhile is let pass. */
  #data(id: number, total: number, offset: number, piece: Uint8Array): void {
    const pending = this.#pending.get(id);
    if (!pending) return;
    if (total > pending.bytesMax) throw new FrameError("an answer longer than asked for");
    pending.buffer ??= Buffer.allocUnsafeSlow(total);
    if (total !== pending.buffer.length || offset !== pending.received)
      throw new FrameError("an answer of another length or out of order");
    pending.buffer.set(piece, offset);
    pending.received += piece.length;
    if (pending.received === total) this.#settle(id, { ok: true, bytes: pending.buffer });
  }

  #settle(id: number, reply: Reply): void {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    pending?.settle(reply);
  }

  #send(frame: Frame): void {
    if (!this.open) return;
    this.#outbox.send(encodeFrame(frame)).catch((cause: unknown) => {
      this.#stream.abort(cause instanceof Error ? cause : new Error("sending failed"));
    });
  }
}
