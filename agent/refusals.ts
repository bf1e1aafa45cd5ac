/**
 * Peers the mesh turned away, told to the coordinator for its audit trail. Each peer at most once
 * a minute, and only a few at a time: knocking at the door must not become work.
 */
import { type Clock, every } from "../shared/runtime/clock.ts";
import type { Log } from "../shared/runtime/log.ts";
import { BoundedQueue } from "../shared/runtime/queue.ts";

const WAITING_MAX = 100;
const QUIET_MS = 60_000;
const PERIOD_MS = 1_000;

export class Refusals {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #tell: (peerId: string) => Promise<void>;
  readonly #waiting = new BoundedQueue<string>({ capacity: WAITING_MAX, overflow: "drop-newest" });
  #told = new Map<string, number>();

  constructor(deps: { clock: Clock; log: Log; tell: (peerId: string) => Promise<void> }) {
    this.#clock = deps.clock;
    this.#log = deps.log;
    this.#tell = deps.tell;
  }

  note(peerId: string): void {
    const nowMs = this.#clock.monotonic();
    if (nowMs - (this.#told.get(peerId) ?? Number.NEGATIVE_INFINITY) < QUIET_MS) return;
    if (this.#waiting.push(peerId)) this.#told.set(peerId, nowMs);
  }

  async run(signal: AbortSignal): Promise<void> {
    await every(this.#clock, PERIOD_MS, signal, async () => {
      for (const peerId of this.#waiting.drain())
        await this.#tell(peerId).catch((cause: unknown) => {
          this.#log.warn({ err: cause, peerId }, "refused peer not reported");
        });
      const nowMs = this.#clock.monotonic();
      this.#told = new Map([...this.#told].filter(([, atMs]) => nowMs - atMs < QUIET_MS));
    });
  }
}
