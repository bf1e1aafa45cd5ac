/**
 * Token buckets by key: each key may do `burst` things at once and `ratePerSecond` for long. At
 * most `keys` are remembered; when there are more, the fullest (least active) are forgotten first.
 */
import type { Clock } from "./clock.ts";

type Bucket = { tokens: number; atMs: number };

export class KeyedBuckets {
  readonly #clock: Clock;
  readonly #ratePerMs: number;
  readonly #burst: number;
  readonly #keys: number;
  readonly #buckets = new Map<string, Bucket>();
  refused = 0;

  constructor(clock: Clock, options: { ratePerSecond: number; burst: number; keys?: number }) {
    this.#clock = clock;
    this.#ratePerMs = options.ratePerSecond / 1000;
    this.#burst = options.burst;
    this.#keys = options.keys ?? 10_000;
  }

  get size(): number {
    return this.#buckets.size;
  }

  /** False when the key has used up its share for now. */
  take(key: string): boolean {
    const atMs = this.#clock.monotonic();
    const tokens = this.#tokens(this.#buckets.get(key), atMs);
    if (tokens < 1) {
      this.refused++;
      return false;
    }
    if (!this.#buckets.has(key) && this.#buckets.size >= this.#keys) this.#forget(atMs);
    this.#buckets.set(key, { tokens: tokens - 1, atMs });
    return true;
  }

  #tokens(bucket: Bucket | undefined, atMs: number): number {
    if (!bucket) return this.#burst;
    return Math.min(this.#burst, bucket.tokens + (atMs - bucket.atMs) * this.#ratePerMs);
  }

  /** Drops a tenth of the keys, those that are closest to full. */
  #forget(atMs: number): void {
    const fullestFirst = [...this.#buckets]
      .map(([key, bucket]) => ({ key, tokens: this.#tokens(bucket, atMs) }))
      .sort((a, b) => b.tokens - a.tokens);
    const drop = Math.max(1, Math.ceil(this.#keys / 10));
    for (const { key } of fullestFirst.slice(0, drop)) this.#buckets.delete(key);
  }
}
