import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  CORRECTION_MAX,
  corrected,
  correction,
  emptyRecord,
  FADE_HALF_MS,
  fadedTo,
  type LatencyRecord,
  observed,
} from "./affinity-correction.ts";

function afterRequests(latencies: readonly number[], start: LatencyRecord = emptyRecord(0)) {
  return latencies.reduce(
    (record, latencyMs, i) =>
      observed(record, { latencyMs, expectedMs: 20, failed: false }, start.atMs + i),
    start,
  );
}

describe("the correction", () => {
  test("takes a slow host below a worse one within five requests (5 times the latency)", () => {
    const slow = { score: 0.8, record: emptyRecord(0) };
    const rival = 0.45;
    let requests = 0;
    while (requests < 20 && corrected(slow.score, slow.record).score >= rival) {
      requests++;
      slow.record = afterRequests([100], slow.record);
    }
    expect(requests).toBeLessThanOrEqual(5);
    const recovered = afterRequests([20, 20, 20, 20, 20], slow.record);
    expect(corrected(slow.score, recovered).score).toBeGreaterThan(rival);
  });

  test("stays within its bound and keeps scores in 0..1 (any latencies)", () => {
    const request = fc.record({
      latencyMs: fc.double({ min: 0, max: 1e9, noNaN: true }),
      expectedMs: fc.option(fc.double({ min: 0, max: 1e9, noNaN: true })),
      failed: fc.boolean(),
    });
    fc.assert(
      fc.property(
        fc.array(request, { maxLength: 50 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (requests, score) => {
          const record = requests.reduce((r, q, i) => observed(r, q, i), emptyRecord(0));
          expect(Math.abs(correction(record))).toBeLessThanOrEqual(CORRECTION_MAX);
          const moved = corrected(score, record);
          expect(moved.score).toBeGreaterThanOrEqual(0);
          expect(moved.score).toBeLessThanOrEqual(1);
          expect(Math.abs(moved.correction)).toBeLessThanOrEqual(CORRECTION_MAX);
        },
      ),
    );
  });

  test("never rises when a request is slower (monotone in latency)", () => {
    const latency = fc.double({ min: 0.1, max: 1e5, noNaN: true });
    fc.assert(
      fc.property(fc.array(latency, { maxLength: 10 }), latency, latency, (before, a, b) => {
        const record = afterRequests(before);
        const faster = correction(afterRequests([Math.min(a, b)], record));
        expect(faster).toBeGreaterThanOrEqual(correction(afterRequests([Math.max(a, b)], record)));
      }),
    );
  });

  test("raises a host that is faster than expected", () => {
    expect(correction(afterRequests([5, 5, 5]))).toBeGreaterThan(0.1);
  });

  test("fades without requests, so that a host that lost its place is tried again", () => {
    const slow = afterRequests([100, 100, 100, 100]);
    const later = fadedTo(slow, slow.atMs + FADE_HALF_MS);
    expect(correction(later)).toBeCloseTo(-0.25 * (slow.log2Ratio / 2), 9);
    expect(correction(fadedTo(slow, slow.atMs + 10 * FADE_HALF_MS))).toBeCloseTo(0, 2);
  });

  test("one bad request does not make a good host the worst (a single outlier)", () => {
    expect(correction(afterRequests([20, 20, 100_000]))).toBeGreaterThan(-0.31);
  });

  test("failures push as hard as the slowest answer, and are counted", () => {
    const failed = { latencyMs: 1, expectedMs: 20, failed: true };
    const record = observed(observed(emptyRecord(0), failed, 0), failed, 0);
    expect(correction(record)).toBeCloseTo(-0.48, 2);
    expect(record.failures).toBe(2);
    expect(fadedTo(record, FADE_HALF_MS).failures).toBe(1);
  });

  test("sees a host become slow by its own past (nothing expected)", () => {
    let record = emptyRecord(0);
    const ask = (latencyMs: number) => {
      record = observed(record, { latencyMs, expectedMs: null, failed: false }, 0);
    };
    for (let i = 0; i < 20; i++) ask(10);
    expect(correction(record)).toBeCloseTo(0, 6);
    for (let i = 0; i < 5; i++) ask(150);
    expect(correction(record)).toBeLessThan(-0.45);
  });
});
