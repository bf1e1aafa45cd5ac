/**
 * Answers one peer's requests on one connection: foreground and background each in order, side by
 * side, so that a request does not wait behind staging that is held back. A peer may have so many
 * requests open as it was given credit for; more is a breach and ends the connection. A chunk is
 * read (and verified) while the one before it is on its way.
 */
import type { Clock } from "../../../shared/runtime/clock.ts";
import type { Log } from "../../../shared/runtime/log.ts";
import type { BufferPool } from "../store/buffer-pool.ts";
import type { Asker, Backlog } from "./backlog.ts";
import type { Channel } from "./channel.ts";
import {
  DATA_FRAME_HEAD_BYTES,
  dataHead,
  encodeFrame,
  type Frame,
  FrameError,
  type Kind,
  PACE_MAX,
  type Refusal,
  SLICE_BYTES,
} from "./frames.ts";
import { wireBytes } from "./overhead.ts";
import { Pace } from "./pace.ts";
import type { Uplink } from "./uplink.ts";

export const CREDIT_REQUESTS = 128;

/** Bytes to give back to the pool; null: not here; busy: not now. */
export type Served = Uint8Array | null | "busy";
export type Serve = (
  kind: Kind,
  hash: string,
  base: string | null,
  foreground: boolean,
) => Promise<Served>;
export type ServerDeps = {
  serve: Serve;
  pool: BufferPool;
  log: Log;
  clock: Clock;
  uplink: Uplink;
  backlog: Backlog;
  /** What staging of hosts of other sites may take of this one's link; null: the peer is of ours. */
  leaving: Pace | null;
  sent: (bytes: number) => void;
};
type Asked = Extract<Frame, { type: "request" }>;
/** Requests of one urgency, the first to be answered next. */
type Lane = { queue: Asked[]; running: boolean };

export class PeerServer {
  readonly #channel: Channel;
  readonly #deps: ServerDeps;
  readonly #foreground: Lane = { queue: [], running: false };
  readonly #background: Lane = { queue: [], running: false };
  /** What is to be done when a request has ended. */
  readonly #open = new Map<number, () => void>();
  readonly #pace: Pace;
  readonly #asker: Asker;

  constructor(channel: Channel, deps: ServerDeps) {
    this.#channel = channel;
    this.#deps = deps;
    this.#pace = new Pace(deps.clock);
    this.#asker = deps.backlog.join();
    channel.send(encodeFrame({ type: "credit", requests: CREDIT_REQUESTS }));
    channel.closed.then(() => {
      for (const id of [...this.#open.keys()]) this.#end(id);
      this.#pace.set(Number.POSITIVE_INFINITY);
      deps.backlog.leave(this.#asker);
    });
  }

  /** Throws FrameError on a breach. */
  take(frame: Extract<Frame, { type: "request" | "cancel" | "pace" }>): void {
    if (frame.type === "pace") {
      const { bytesPerSecond } = frame;
      this.#pace.set(bytesPerSecond === PACE_MAX ? Number.POSITIVE_INFINITY : bytesPerSecond);
      this.#channel.send(encodeFrame({ type: "paced", bytesPerSecond }));
      return;
    }
    const lanes = [this.#foreground, this.#background];
    if (frame.type === "cancel") {
      this.#end(frame.id);
      for (const lane of lanes) lane.queue = lane.queue.filter((r) => r.id !== frame.id);
      return;
    }
    if (this.#open.size >= CREDIT_REQUESTS) throw new FrameError("more requests than credit");
    const lane = frame.foreground ? this.#foreground : this.#background;
    const { uplink, backlog } = this.#deps;
    if (frame.foreground) this.#open.set(frame.id, uplink.begin());
    else if (frame.kind !== "chunk") this.#open.set(frame.id, () => {});
    else if (backlog.refuses(this.#asker)) {
      this.#refuse(frame.id, "busy");
      return;
    } else {
      this.#asker.open++;
      this.#open.set(frame.id, () => this.#asker.open--);
    }
    // Small, and the asker goes by it.
    if (frame.kind === "holdings") lane.queue.unshift(frame);
    else lane.queue.push(frame);
    if (!lane.running) this.#run(lane);
  }

  #run(lane: Lane): void {
    lane.running = true;
    this.#answerAll(lane)
      .catch((cause: unknown) => {
        this.#deps.log.error({ host: this.#channel.host, cause }, "serving ended");
        this.#channel.abort();
      })
      .finally(() => {
        lane.running = false;
      });
  }

  async #answerAll(lane: Lane): Promise<void> {
    let ahead = this.#readNext(lane);
    while (ahead) {
      const { asked, bytes } = ahead;
      const found = await bytes;
      ahead = this.#readNext(lane);
      await this.#answer(asked, found);
      this.#end(asked.id);
      ahead ??= this.#readNext(lane);
    }
  }

  #readNext(lane: Lane): { asked: Asked; bytes: Promise<Served> } | null {
    const asked = lane.queue.shift();
    if (!asked || !this.#channel.open) return null;
    const { kind, hash, base, foreground } = asked;
    const bytes = this.#deps.serve(kind, hash, base, foreground).catch((cause: unknown) => {
      this.#deps.log.warn({ cause, kind }, "reading for a peer failed");
      return null;
    });
    return { asked, bytes };
  }

  async #answer({ id, foreground }: Asked, bytes: Served): Promise<void> {
    if (!bytes || bytes === "busy" || bytes.length === 0) {
      if (this.#open.has(id)) this.#refuse(id, bytes === "busy" ? bytes : "missing");
      return;
    }
    const { pool } = this.#deps;
    const sent = () => pool.giveBack(bytes);
    if (!foreground) this.#begun(id);
    // Each slice is shared until the connection is done with it.
    for (let at = 0, open = true; open && at < bytes.length && this.#open.has(id); ) {
      const slice = bytes.subarray(at, at + (foreground ? SLICE_BYTES : this.#sliceBytes()));
      if (!foreground) await this.#turn(slice.length);
      pool.share(bytes);
      const head = dataHead(id, bytes.length, at, slice.length);
      if (!foreground) this.#asker.writingMs = this.#deps.clock.monotonic();
      open = await this.#channel.write(head, slice, { urgent: foreground, sent });
      if (!foreground) this.#asker.writingMs = null;
      if (!open) break;
      at += slice.length;
      this.#deps.sent(slice.length);
      if (foreground) this.#deps.uplink.passed(slice.length);
    }
    pool.giveBack(bytes);
  }

  #sliceBytes(): number {
    const { leaving } = this.#deps;
    return this.#pace.sliceBytes(leaving ? leaving.sliceBytes(SLICE_BYTES) : SLICE_BYTES);
  }

  /** Waits until so much of a background answer may go. */
  async #turn(bytes: number): Promise<void> {
    const { uplink, leaving } = this.#deps;
    await uplink.turn(bytes);
    const onWire = wireBytes(DATA_FRAME_HEAD_BYTES + bytes);
    this.#asker.paced = true;
    if (leaving) await leaving.wait(onWire);
    await this.#pace.wait(onWire);
    this.#asker.paced = false;
  }

  /** What is being sent keeps nobody waiting any more. */
  #begun(id: number): void {
    const end = this.#open.get(id);
    if (!end) return;
    end();
    this.#open.set(id, () => {});
  }

  #refuse(id: number, reason: Refusal): void {
    this.#channel.send(encodeFrame({ type: "refuse", id, reason }));
  }

  #end(id: number): void {
    const end = this.#open.get(id);
    this.#open.delete(id);
    end?.();
  }
}
