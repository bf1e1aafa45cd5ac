import fc from "fast-check";
import { expect, test } from "vitest";
import { fullBucket, nextTokenMs, take } from "./bucket.ts";

const limits = fc.record({
  ratePerSecond: fc.double({ min: 0.1, max: 100, noNaN: true }),
  burst: fc.integer({ min: 1, max: 50 }),
});
const gaps = fc.array(fc.integer({ min: 0, max: 2_000 }), { maxLength: 200 });

test("bucket: never more than burst plus rate times time (any arrivals)", () => {
  fc.assert(
    fc.property(limits, gaps, (limit, gapsMs) => {
      let bucket = fullBucket(limit, 0);
      let nowMs = 0;
      let count = 0;
      for (const gapMs of gapsMs) {
        nowMs += gapMs;
        const result = take(bucket, limit, nowMs);
        bucket = result.bucket;
        if (result.taken) count++;
        expect(count).toBeLessThanOrEqual(
          limit.burst + (nowMs / 1_000) * limit.ratePerSecond + 1e-6,
        );
      }
    }),
  );
});

test("bucket: a token is there when it said so, also after a clock that went back", () => {
  fc.assert(
    fc.property(limits, gaps, (limit, gapsMs) => {
      let bucket = fullBucket(limit, 1_000);
      let nowMs = 1_000;
      for (const gapMs of gapsMs) {
        nowMs += gapMs - 500;
        bucket = take(bucket, limit, nowMs).bucket;
        expect(take(bucket, limit, nextTokenMs(bucket, limit)).taken).toBe(true);
      }
    }),
  );
});
