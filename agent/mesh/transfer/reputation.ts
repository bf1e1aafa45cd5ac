/**
 * Which peers lie, and for how long they are left alone. A lie is a chunk whose bytes are not what
 * was asked for (wrong content, wrong length), or having said of so many chunks in a row that they
 * are there and refusing each. The second cuts a peer off; each time it comes back it has one lie
 * left, and is cut off four times as long. Pure: time comes in as a value.
 *
 * Refused: banning for good. A host with bad memory or a disk that was replaced is of use again,
 * and an admin revokes the hostile ones.
 */
export const LIES_MAX = 2;
/** Chunks in a row that it said it has and refused: once in a while that is a race. */
export const REFUSALS_PER_LIE = 16;
export const SHUN_MS = 60_000;
export const SHUN_GROWTH = 4;
export const SHUN_MS_MAX = 6 * 3_600_000;
/** Without a lie for so long, a peer is as good as new. */
export const FORGET_MS = 24 * 3_600_000;

type Lies = {
  /** Since it was last let back in. */
  fresh: number;
  total: number;
  refusals: number;
  /** How often it was cut off. */
  strikes: number;
  lastMs: number;
  /** Null while it is not cut off. */
  untilMs: number | null;
};
/** A peer that lied, for people. */
export type Liar = {
  host: string;
  lies: number;
  strikes: number;
  lastMs: number;
  untilMs: number | null;
};

export class Reputation {
  readonly #lies = new Map<string, Lies>();

  /** A chunk that is not what was asked for. True when the peer is cut off with it. */
  lied(host: string, nowMs: number): boolean {
    const lies = this.#of(host, nowMs);
    lies.total++;
    lies.fresh++;
    lies.lastMs = nowMs;
    if (lies.untilMs !== null || lies.fresh < LIES_MAX) return false;
    const forMs = Math.min(SHUN_MS_MAX, SHUN_MS * SHUN_GROWTH ** lies.strikes);
    lies.strikes++;
    lies.untilMs = nowMs + forMs;
    return true;
  }

  /** A chunk it had said it has. True when it is cut off with it. */
  refused(host: string, nowMs: number): boolean {
    const lies = this.#of(host, nowMs);
    if (++lies.refusals < REFUSALS_PER_LIE) return false;
    lies.refusals = 0;
    return this.lied(host, nowMs);
  }

  /** A right chunk. */
  delivered(host: string): void {
    const lies = this.#lies.get(host);
    if (!lies) return;
    lies.refusals = 0;
    if (lies.total === 0) this.#lies.delete(host);
  }

  /** Peers whose time is over, each told once; each has one lie left. */
  released(nowMs: number): string[] {
    const hosts: string[] = [];
    for (const [host, lies] of this.#lies) {
      if (lies.untilMs !== null && nowMs >= lies.untilMs) {
        lies.untilMs = null;
        lies.fresh = LIES_MAX - 1;
        hosts.push(host);
      }
      if (lies.untilMs === null && nowMs - lies.lastMs >= FORGET_MS) this.#lies.delete(host);
    }
    return hosts;
  }

  /** Most lies first. */
  liars(): Liar[] {
    return [...this.#lies]
      .filter(([, { total }]) => total > 0)
      .map(([host, { total, strikes, lastMs, untilMs }]) => {
        return { host, lies: total, strikes, lastMs, untilMs };
      })
      .sort((a, b) => b.lies - a.lies || (a.host < b.host ? -1 : 1));
  }

  #of(host: string, nowMs: number): Lies {
    const known = this.#lies.get(host);
    if (known) return known;
    const clean = { fresh: 0, total: 0, refusals: 0, strikes: 0, lastMs: nowMs, untilMs: null };
    this.#lies.set(host, clean);
    return clean;
  }
}
