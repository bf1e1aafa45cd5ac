/**
 * Work that one host of the fleet does for all, such as bringing an image in from its registry.
 * A claim ends by itself, so a host that dies holds nobody up; it is kept in memory only, because
 * a second host at the same work is waste and no harm.
 */
const CLAIMS_MAX = 10_000;

export class Claims {
  readonly #held = new Map<string, { host: string; untilMs: number }>();

  /** Whether the host has it now, until `nowMs + forMs`; 0 gives it back. */
  take(host: string, key: string, forMs: number, nowMs: number): boolean {
    const held = this.#held.get(key);
    if (held && held.host !== host && nowMs < held.untilMs) return false;
    this.#held.delete(key);
    if (forMs === 0) return true;
    this.#held.set(key, { host, untilMs: nowMs + forMs });
    if (this.#held.size > CLAIMS_MAX) this.#forget(nowMs);
    return true;
  }

  /** The lapsed ones, else the oldest. */
  #forget(nowMs: number): void {
    for (const [key, { untilMs }] of this.#held) if (untilMs <= nowMs) this.#held.delete(key);
    const oldest = this.#held.keys().next();
    if (this.#held.size > CLAIMS_MAX && !oldest.done) this.#held.delete(oldest.value);
  }
}
