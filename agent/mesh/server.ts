/**
 * Answers one peer's requests on one connection, in order, foreground first. A peer may have so many
 * requests open as it was given credit for; more is a breach and ends the connection. A chunk is
 * read (and verified) while the one before it is on its way.
 */
import type { Clock } from "../../shared/runtime/clock.ts";
import type { Log } from "../../shared/runtime/log.ts";
import type { Channel } from "./channel.ts";
import {
  dataHead,
  encodeFrame,
  type Frame,
  FrameError,
  type Kind,
  PACE_MAX,
  SLICE_BYTES,
} from "./frames.ts";
import { Pace } from "./pace.ts";
import type { Uplink } from "./uplink.ts";

export const CREDIT_REQUESTS = 128;

export type Serve = (kind: Kind, hash: string, base: string | null) => Promise<Uint8Array | null>;
export type ServerDeps = {
  serve: Serve;
  log: Log;
  clock: Clock;
  uplink: Uplink;
  sent: (bytes: number) => void;
};
type Asked = Extract<Frame, { type: "request" }>;

export class PeerServer {
  readonly #channel: Channel;
  readonly #deps: ServerDeps;
  #queue: Asked[] = [];
  readonly #open = new Set<number>();
  readonly #pace: Pace;
  #running = false;

  constructor(channel: Channel, deps: ServerDeps) {
    this.#channel = channel;
    this.#deps = deps;
    this.#pace = new Pace(deps.clock);
    channel.send(encodeFrame({ type: "credit", requests: CREDIT_REQUESTS }));
  }

  /** Throws FrameError on a breach. */
  take(frame: Extract<Frame, { type: "request" | "cancel" | "pace" }>): void {
    if (frame.type === "pace") {
      this.#pace.set(frame.bytesPerSecond === PACE_MAX ? Infinity : frame.bytesPerSecond);
      return;
    }
    if (frame.type === "cancel") {
      this.#open.delete(frame.id);
      this.#queue = this.#queue.filter((r) => r.id !== frame.id);
      return;
    }
    if (this.#open.size >= CREDIT_REQUESTS) throw new FrameError("more requests than credit");
    this.#open.add(frame.id);
    const last = this.#queue.findLastIndex((r) => r.foreground || !frame.foreground);
    this.#queue.splice(last + 1, 0, frame);
    if (!this.#running) this.#run();
  }

  #run(): void {
    this.#running = true;
    this.#answerAll()
      .catch((cause: unknown) => {
        this.#deps.log.error({ host: this.#channel.host, cause }, "serving ended");
        this.#channel.abort();
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
      const { foreground } = asked;
      const end = this.#deps.uplink.begin(foreground);
      try {
        await this.#answer(asked, found);
      } finally {
        end();
      }
      this.#open.delete(asked.id);
      ahead ??= this.#readNext();
    }
  }

  #readNext(): { asked: Asked; bytes: Promise<Uint8Array | null> } | null {
    const asked = this.#queue.shift();
    if (!asked || !this.#channel.open) return null;
    const bytes = this.#deps.serve(asked.kind, asked.hash, asked.base).catch((cause: unknown) => {
      this.#deps.log.warn({ cause, kind: asked.kind }, "reading for a peer failed");
      return null;
    });
    return { asked, bytes };
  }

  async #answer({ id, foreground, kind }: Asked, bytes: Uint8Array | null): Promise<void> {
    if (!this.#open.has(id)) return;
    if (!bytes || bytes.length === 0) {
      this.#channel.send(encodeFrame({ type: "refuse", id, reason: "missing" }));
      return;
    }
    const paced = kind === "chunk" && !foreground;
    for (let at = 0; at < bytes.length && this.#open.has(id); ) {
      const limit = paced ? this.#pace.sliceBytes(SLICE_BYTES) : SLICE_BYTES;
      const slice = bytes.subarray(at, at + limit);
      if (paced) {
        await this.#deps.uplink.turn(slice.length);
        await this.#pace.wait(slice.length);
      }
      const open = await this.#channel.write(dataHead(id, bytes.length, at, slice.length), slice);
      if (!open) return;
      at += slice.length;
      this.#deps.sent(slice.length);
      if (foreground) this.#deps.uplink.passed(slice.length);
    }
  }
}
