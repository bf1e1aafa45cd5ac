/** What the transfer core knows of one host it may fetch from, and how much it asks of it. */
import type { Bitmap } from "./bitmap.ts";

/** What one host said about one manifest. */
export type Known = {
  have: Bitmap;
  /** It fetches this manifest now, so it may be elected to go to the origin. */
  wanting: boolean;
  /** Positions it is fetching from the origin, and since when we know. */
  claims: Map<number, number>;
  /** When it last had more than before, or began. */
  progressMs: number;
};

const WINDOW_START = 8;
const WINDOW_MAX = 64;
const FLIGHT_BYTES_MAX = 8 << 20;
/** A request should be answered within this; the window follows it. */
const ANSWER_MS = 1500;
const BAD_CHUNKS_MAX = 2;
const MISSING_STREAK_MAX = 16;

export class Source {
  readonly host: string;
  /** In our site: asked before any origin, by everybody. */
  readonly local: boolean;
  readonly manifests = new Map<string, Known>();
  flights = 0;
  flightBytes = 0;
  shunned = false;
  backoffUntilMs = 0;
  /** When it last answered anything. */
  answeredMs = 0;
  #window = WINDOW_START;
  #bad = 0;
  #failures = 0;
  #missing = 0;
  #bytesPerMs = 1000;

  constructor(host: string, local: boolean) {
    this.host = host;
    this.local = local;
  }

  /** Whether it may be asked for one more chunk now. */
  free(nowMs: number): boolean {
    return this.usable(nowMs) && this.flights < this.#window && this.flightBytes < FLIGHT_BYTES_MAX;
  }

  usable(nowMs: number): boolean {
    return !this.shunned && nowMs >= this.backoffUntilMs;
  }

  /** Lower is sooner done. */
  costMs(bytes: number): number {
    return (this.flightBytes + bytes) / this.#bytesPerMs;
  }

  noteOk(bytes: number, tookMs: number): void {
    this.#failures = 0;
    this.#missing = 0;
    const rate = bytes / Math.max(1, tookMs);
    this.#bytesPerMs += (rate * Math.max(1, this.flights) - this.#bytesPerMs) * 0.2;
    if (tookMs > ANSWER_MS) this.#window = Math.max(2, this.#window - 1);
    else this.#window = Math.min(WINDOW_MAX, this.#window + 1);
  }

  noteFailed(nowMs: number): void {
    this.backoffUntilMs = nowMs + Math.min(30_000, 500 * 2 ** Math.min(this.#failures++, 6));
    this.#window = Math.max(2, this.#window >> 1);
  }

  noteBusy(nowMs: number): void {
    this.backoffUntilMs = nowMs + 200;
    this.#window = Math.max(2, this.#window >> 1);
  }

  /** A chunk it said it has and has not: once in a while is a race, always is a lie. */
  noteMissing(nowMs: number): void {
    if (++this.#missing < MISSING_STREAK_MAX) return;
    this.#missing = 0;
    this.backoffUntilMs = nowMs + 5_000;
  }

  /** True when that was one too many. */
  noteBad(): boolean {
    this.shunned ||= ++this.#bad >= BAD_CHUNKS_MAX;
    return this.shunned;
  }
}
