import fc from "fast-check";
import { expect, test } from "vitest";
import { RateLimit } from "./rate-limit.ts";

const SECOND_MS = 1_000;
/** No more than 40 ms of the lowest rate. */
const PASS_BYTES_MAX = 1_500;
type Pass = { atMs: number; bytes: number };
type Set = { atMs: number; rate: number };

const anyStep = fc.oneof(
  { weight: 1, arbitrary: fc.record({ rate: fc.constantFrom(0, 75e3, 300e3, 1e6) }) },
  {
    weight: 6,
    arbitrary: fc.record({
      waitMs: fc.oneof(fc.integer({ min: 0, max: 30 }), fc.integer({ min: 0, max: 3_000 })),
      bytes: fc.integer({ min: 1, max: PASS_BYTES_MAX }),
      times: fc.integer({ min: 1, max: 60 }),
    }),
  },
);

/** Plays it; who wants to pass does so as soon as it may, but not for longer than a while. */
function play(steps: readonly (typeof anyStep extends fc.Arbitrary<infer T> ? T : never)[]) {
  const passes: Pass[] = [];
  const sets: Set[] = [{ atMs: 0, rate: 1e6 }];
  let nowMs = 0;
  const limit = new RateLimit(nowMs);
  limit.set(1e6, nowMs);
  for (const step of steps) {
    if ("rate" in step) {
      limit.set(step.rate, nowMs);
      sets.push({ atMs: nowMs, rate: step.rate });
      continue;
    }
    nowMs += step.waitMs;
    for (let i = 0; i < step.times; i++) {
      for (let tries = 0; tries < 20; tries++) {
        const waitMs = limit.waitMs(step.bytes, nowMs);
        if (waitMs <= 0) {
          limit.pass(step.bytes, nowMs);
          passes.push({ atMs: nowMs, bytes: step.bytes });
          break;
        }
        nowMs += Math.min(waitMs, 20);
      }
    }
  }
  return { passes, sets };
}

function allowed(sets: readonly Set[], fromMs: number): { bytes: number; highest: number } {
  let [bytes, highest] = [0, 0];
  const toMs = fromMs + SECOND_MS;
  sets.forEach(({ atMs, rate }, i) => {
    const [from, to] = [Math.max(atMs, fromMs), Math.min(sets[i + 1]?.atMs ?? Infinity, toMs)];
    if (to < from) return;
    bytes += (rate * (to - from)) / 1000;
    highest = Math.max(highest, rate);
  });
  return { bytes, highest };
}

function within(passes: readonly Pass[], fromMs: number): number {
  let bytes = 0;
  for (const p of passes) if (p.atMs >= fromMs && p.atMs <= fromMs + SECOND_MS) bytes += p.bytes;
  return bytes;
}

test("rate limit: no second holds more than the rates in it allow, and what was saved up (any changes)", () => {
  fc.assert(
    fc.property(fc.array(anyStep, { maxLength: 60 }), (steps) => {
      const { passes, sets } = play(steps);
      for (const { atMs } of passes) {
        const { bytes, highest } = allowed(sets, atMs);
        expect(within(passes, atMs)).toBeLessThanOrEqual(bytes + 0.04 * highest + 1e-3);
      }
    }),
  );
});

test("rate limit: no second holds more than one rate allows (it stays, late and early comers)", () => {
  const asks = anyStep.filter((s) => "bytes" in s);
  fc.assert(
    fc.property(fc.array(asks, { maxLength: 60 }), (steps) => {
      const { passes } = play(steps);
      for (const { atMs } of passes) expect(within(passes, atMs)).toBeLessThanOrEqual(1e6);
    }),
  );
});

test("rate limit: nearly all of the rate is used (timers come up to 15 ms late)", () => {
  const limit = new RateLimit(0);
  limit.set(1e6, 0);
  let [nowMs, passed] = [0, 0];
  for (let i = 0; nowMs < 10_000; i++) {
    const waitMs = limit.waitMs(5_000, nowMs);
    if (waitMs > 0) nowMs += waitMs + ((i * 7) % 16);
    else {
      limit.pass(5_000, nowMs);
      passed += 5_000;
    }
  }
  expect(passed).toBeGreaterThan(0.95 * 10e6);
});

test("rate limit: what is larger than a second's bytes passes, one a second (a very low rate)", () => {
  const limit = new RateLimit(0);
  limit.set(100, 0);
  const passedMs: number[] = [];
  for (let nowMs = 0; nowMs < 30_000; nowMs += 10)
    if (limit.waitMs(1_000, nowMs) <= 0) {
      limit.pass(1_000, nowMs);
      passedMs.push(nowMs);
    }
  expect(passedMs.length).toBeGreaterThan(2);
  expect(passedMs.length).toBeLessThanOrEqual(4);
});
