/**
 * How many agents are let in per second. Those beyond are told when to come again, in the order
 * they asked, so that a fleet that lost its coordinator comes back as a queue and not as a wave.
 */
import { type Bucket, type BucketLimit, fullBucket, take } from "../../shared/protocol/bucket.ts";

export const RETRY_AFTER_MS_MAX = 60_000;

export type Admission = {
  readonly bucket: Bucket;
  /** The time up to which places have been promised. */
  readonly promisedMs: number;
};

export function newAdmission(limit: BucketLimit, nowMs: number): Admission {
  return { bucket: fullBucket(limit, nowMs), promisedMs: nowMs };
}

/** Lets one in, or says how long it should wait. */
export function admit(
  admission: Admission,
  limit: BucketLimit,
  nowMs: number,
): { admission: Admission; retryAfterMs: number | null } {
  const { taken, bucket } = take(admission.bucket, limit, nowMs);
  if (taken) return { admission: { ...admission, bucket }, retryAfterMs: null };
  const nextMs = Math.max(admission.promisedMs, nowMs) + 1_000 / limit.ratePerSecond;
  const promisedMs = Math.min(nextMs, nowMs + RETRY_AFTER_MS_MAX);
  return { admission: { bucket, promisedMs }, retryAfterMs: promisedMs - nowMs };
}
