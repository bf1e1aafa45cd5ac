import { expect, test } from "vitest";
import { admit, newAdmission, RETRY_AFTER_MS_MAX } from "./admission.ts";

const limit = { ratePerSecond: 100, burst: 10 };

test("admission: lets a burst in and queues the rest in order (a whole fleet at once)", () => {
  let admission = newAdmission(limit, 0);
  const waitsMs: (number | null)[] = [];
  for (let i = 0; i < 1_000; i++) {
    const result = admit(admission, limit, 0);
    admission = result.admission;
    waitsMs.push(result.retryAfterMs);
  }
  expect(waitsMs.slice(0, 10)).toEqual(Array(10).fill(null));
  const queued = waitsMs.slice(10).map((ms) => ms ?? -1);
  expect(queued).toEqual(queued.toSorted((a, b) => a - b));
  expect(queued[0]).toBeCloseTo(10);
  expect(queued.at(-1)).toBeCloseTo(9_900);
});

test("admission: promises no wait beyond its ceiling, and forgets old promises", () => {
  let admission = newAdmission(limit, 0);
  for (let i = 0; i < 20_000; i++) admission = admit(admission, limit, 0).admission;
  expect(admit(admission, limit, 0).retryAfterMs).toBe(RETRY_AFTER_MS_MAX);
  expect(admit(admission, limit, 2 * RETRY_AFTER_MS_MAX).retryAfterMs).toBeNull();
});
