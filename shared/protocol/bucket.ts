/** A token bucket as a value: so many at once, so many per second. */
export type BucketLimit = { readonly ratePerSecond: number; readonly burst: number };
export type Bucket = { tokens: number; atMs: number };

export function fullBucket(limit: BucketLimit, nowMs: number): Bucket {
  return { tokens: limit.burst, atMs: nowMs };
}

/** The bucket after time has passed and, if it holds one, a token was taken. */
export function take(
  bucket: Bucket,
  limit: BucketLimit,
  nowMs: number,
): { taken: boolean; bucket: Bucket } {
  const elapsedMs = Math.max(0, nowMs - bucket.atMs);
  const tokens = Math.min(limit.burst, bucket.tokens + (elapsedMs / 1_000) * limit.ratePerSecond);
  // A token short by a rounding error is a token: else a caller waiting for it would spin.
  const taken = tokens >= 1 - 1e-9;
  const atMs = Math.max(bucket.atMs, nowMs);
  return { taken, bucket: { tokens: taken ? Math.max(0, tokens - 1) : tokens, atMs } };
}

/** When the next token is there, on the clock of `nowMs`. */
export function nextTokenMs(bucket: Bucket, limit: BucketLimit): number {
  if (bucket.tokens >= 1) return bucket.atMs;
  return bucket.atMs + ((1 - bucket.tokens) / limit.ratePerSecond) * 1_000;
}
