/**
 * What members have asked this host for in the background and not got yet, over all connections.
 * Only who takes what it gets keeps others waiting: a peer that was told a low rate, or does not
 * read, may have much open, and this host's link is idle all the same.
 */
import type { Clock } from "../../../shared/runtime/clock.ts";
import { refuses, unitsOf } from "../transfer/backlog.ts";

/** What was written to a peer is not taken for so long: it does not read. */
const NOT_READ_MS = 1_000;

export type Asker = {
  /** Chunks. */
  open: number;
  /** Since when a piece of an answer waits to be taken; null: none does. */
  writingMs: number | null;
  /** It waits for what may be sent to this peer by now. */
  paced: boolean;
};

export class Backlog {
  readonly #clock: Clock;
  readonly #askers = new Set<Asker>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** One more connection; `leave` it when it has ended. */
  join(): Asker {
    const asker: Asker = { open: 0, writingMs: null, paced: false };
    this.#askers.add(asker);
    return asker;
  }

  leave(asker: Asker): void {
    this.#askers.delete(asker);
  }

  /** Whether one more request of that peer is to go to another host. */
  refuses(asker: Asker): boolean {
    const nowMs = this.#clock.monotonic();
    let units = 0;
    for (const { open, writingMs, paced } of this.#askers)
      if (!paced && (writingMs === null || nowMs - writingMs < NOT_READ_MS)) units += unitsOf(open);
    return refuses({ units, own: asker.open });
  }
}
