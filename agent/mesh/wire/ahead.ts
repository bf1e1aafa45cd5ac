/**
 * How much of what is not urgent a connection is given before it has been sent. All of it stands in
 * front of a request's answer: on this connection, and on the link that it shares with the others.
 * So it is what the connection sends in some milliseconds, by what it sent lately. Refused: counting
 * what the receiver says that it got; a receiver that is late with that looks far away, and then the
 * link is idle.
 */
import type { Socket } from "node:net";
import type { Clock } from "../../../shared/runtime/clock.ts";
import { limitUnsent } from "../../../shared/runtime/unsent.ts";

/** Raised: a request's answer waits longer; lowered: a busy machine leaves its link idle. */
const AHEAD_MS = 15;
/** Less costs more than it is of use. */
const BYTES_MIN = 64 << 10;
const BYTES_MAX = 4 << 20;
const MEASURED_MS = 100;
/** What a lull in between takes of it at most. */
const KEPT_SHARE = 0.7;

export class Ahead {
  readonly #socket: Socket;
  readonly #clock: Clock;
  #bytes = BYTES_MIN;
  #limit = 0;
  #seen: { atMs: number; bytes: number };

  constructor(socket: Socket, clock: Clock) {
    this.#socket = socket;
    this.#clock = clock;
    this.#seen = { atMs: clock.monotonic(), bytes: socket.bytesWritten };
  }

  /** Something is about to be written; what is urgent has no limit. */
  before(urgent: boolean): void {
    this.#measure();
    const limit = urgent ? 0 : this.#bytes;
    if (limit === this.#limit) return;
    this.#limit = limit;
    limitUnsent(this.#socket, limit);
  }

  #measure(): void {
    const tookMs = this.#clock.monotonic() - this.#seen.atMs;
    if (tookMs < MEASURED_MS) return;
    const { bytesWritten } = this.#socket;
    const sent = ((bytesWritten - this.#seen.bytes) * AHEAD_MS) / tookMs;
    const bytes = Math.max(sent, this.#bytes * KEPT_SHARE);
    this.#bytes = Math.floor(Math.min(BYTES_MAX, Math.max(BYTES_MIN, bytes)));
    this.#seen.atMs += tookMs;
    this.#seen.bytes = bytesWritten;
  }
}
