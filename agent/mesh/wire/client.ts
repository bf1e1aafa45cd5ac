/** Asks one peer for chunks over one connection; many requests under way at once. */
import type { BufferPool } from "../store/buffer-pool.ts";
import type { Channel } from "./channel.ts";
import { encodeFrame, type Frame, FrameError, type Kind } from "./frames.ts";

export type Question = {
  kind: Kind;
  hash: string;
  /** A version that is here; null: none. */
  base?: string | null;
  /** The exact size of the answer; null when not known. */
  bytes: number | null;
  foreground: boolean;
};

export type Reply =
  /** The asker's own from now on, to give back to the pool or not. */
  | { ok: true; bytes: Uint8Array }
  /** `bad`: it began to give something of another length. */
  | { ok: false; reason: "missing" | "busy" | "failed" | "cancelled" | "bad" };

type Pending = {
  bytesMax: number;
  buffer: Uint8Array | null;
  received: number;
  settle: (reply: Reply) => void;
};

const CREDIT_AT_FIRST = 64;
const HASH_ANSWER_BYTES_MAX = 18 << 20;

export class PeerClient {
  readonly #channel: Channel;
  readonly #pool: BufferPool;
  readonly #pending = new Map<number, Pending>();
  #credit = CREDIT_AT_FIRST;
  #nextId = 1;

  constructor(channel: Channel, pool: BufferPool) {
    this.#channel = channel;
    this.#pool = pool;
  }

  /** Never throws. */
  ask(what: Question, { signal }: { signal: AbortSignal }): Promise<Reply> {
    if (!this.#channel.open) return Promise.resolve({ ok: false, reason: "failed" });
    if (signal.aborted) return Promise.resolve({ ok: false, reason: "cancelled" });
    if (this.#pending.size >= this.#credit) return Promise.resolve({ ok: false, reason: "busy" });
    const id = this.#nextId++ >>> 0;
    const { promise, resolve } = Promise.withResolvers<Reply>();
    const onAbort = () => {
      this.#settle(id, { ok: false, reason: "cancelled" });
      this.#channel.send(encodeFrame({ type: "cancel", id }));
    };
    signal.addEventListener("abort", onAbort, { once: true });
    this.#pending.set(id, {
      bytesMax: what.bytes ?? HASH_ANSWER_BYTES_MAX,
      buffer: what.bytes === null ? null : this.#pool.take(what.bytes),
      received: 0,
      settle: (reply) => {
        signal.removeEventListener("abort", onAbort);
        resolve(reply);
      },
    });
    const { kind, hash, base = null, foreground } = what;
    this.#channel.send(encodeFrame({ type: "request", id, kind, hash, base, foreground }));
    return promise;
  }

  take(frame: Extract<Frame, { type: "credit" | "refuse" }>): void {
    if (frame.type === "credit") this.#credit = Math.min(frame.requests, 1024);
    else {
      const reason = frame.reason === "busy" ? "busy" : "missing";
      this.#settle(frame.id, { ok: false, reason });
    }
  }

  /** The connection has ended. */
  end(): void {
    for (const id of [...this.#pending.keys()]) this.#settle(id, { ok: false, reason: "failed" });
  }

  /** Data of requests that were cancelled meanwhile is let pass. */
  data(id: number, total: number, offset: number, piece: Uint8Array): void {
    const pending = this.#pending.get(id);
    if (!pending) return;
    const size = pending.buffer?.length ?? total;
    if (total > pending.bytesMax || total !== size || offset !== pending.received) {
      this.#settle(id, { ok: false, reason: "bad" });
      throw new FrameError("an answer of another length or out of order");
    }
    pending.buffer ??= Buffer.allocUnsafeSlow(total);
    pending.buffer.set(piece, offset);
    pending.received += piece.length;
    if (pending.received === total) this.#settle(id, { ok: true, bytes: pending.buffer });
  }

  #settle(id: number, reply: Reply): void {
    const pending = this.#pending.get(id);
    if (!pending) return;
    this.#pending.delete(id);
    if (pending.buffer && !reply.ok) this.#pool.giveBack(pending.buffer);
    pending.settle(reply);
  }
}
