import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { seededRandom } from "../../shared/runtime/random.ts";
import { afterPoll, NEVER_POLLED, type PollResult, type PollState } from "./poll.ts";

const at = { nowMs: 1_000, pollMs: 900_000 };
const failed: PollResult = { ok: false, code: "UNREACHABLE", message: "x", retryAfterMs: null };

describe("poll", () => {
  test("a good look clears the error and is followed in its time, or later when told", () => {
    const state: PollState = {
      ...NEVER_POLLED,
      failures: 3,
      error: { code: "TIMEOUT", message: "" },
    };
    const random = seededRandom(1);
    const good = afterPoll(state, { ok: true, maxAgeMs: null }, { ...at, random });
    expect(good.state).toEqual({ failures: 0, triedMs: 1_000, okMs: 1_000, error: null });
    const longer = afterPoll(state, { ok: true, maxAgeMs: 7_200_000 }, { ...at, random });
    expect(longer.waitMs).toBeGreaterThan(6_400_000);
  });

  test("failures wait longer and longer, never over an hour or the usual time; the last good time stays", () => {
    let state: PollState = { ...NEVER_POLLED, okMs: 5 };
    const random = seededRandom(1);
    const waits = Array.from({ length: 20 }, () => {
      const next = afterPoll(state, failed, { ...at, random });
      state = next.state;
      return next.waitMs;
    });
    expect(waits[0]).toBeLessThan(10_000);
    expect(Math.max(...waits)).toBeGreaterThan(100_000);
    expect(Math.max(...waits)).toBeLessThan(1.01 * 900_000);
    expect(state).toMatchObject({ failures: 20, okMs: 5, error: { code: "UNREACHABLE" } });
  });

  test("a server's wish to be left alone is heard, for a day at most", () => {
    const random = seededRandom(1);
    const waitMs = (retryAfterMs: number) =>
      afterPoll(NEVER_POLLED, { ...failed, retryAfterMs }, { ...at, random }).waitMs;
    expect(waitMs(3_600_000)).toBe(3_600_000);
    expect(waitMs(1e12)).toBe(86_400_000);
  });

  test("waits are never short of a few seconds or the usual time, and finite", () => {
    fc.assert(
      fc.property(
        fc.nat(60),
        fc.integer({ min: 1_000, max: 1e9 }),
        fc.nat(),
        (failures, pollMs, seed) => {
          const random = seededRandom(seed);
          const { waitMs } = afterPoll({ ...NEVER_POLLED, failures }, failed, {
            nowMs: 0,
            pollMs,
            random,
          });
          expect(waitMs).toBeGreaterThanOrEqual(Math.min(2_500, pollMs / 2));
          expect(waitMs).toBeLessThan(3_700_000);
        },
      ),
    );
  });
});
