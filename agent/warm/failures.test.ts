import { expect, test } from "vitest";
import { seededRandom } from "../../shared/runtime/random.ts";
import { Failures } from "./failures.ts";

const options = {
  restartsMax: 2,
  steadyMs: 10_000,
  pauseMs: 5000,
  pauseMsMax: 300_000,
  keysMax: 3,
};
const what = { code: "ENVIRONMENT_FAILED" as const, message: "no", details: {}, readyForMs: 0 };

test("failures: some restarts with backoff, then failed, with pauses that grow to a limit", () => {
  const failures = new Failures(seededRandom(1), options);
  const answers = Array.from({ length: 12 }, () => failures.record("k", what, 0));
  expect(answers.map((answer) => answer.failed)).toEqual([
    false,
    false,
    ...Array.from({ length: 10 }, () => true),
  ]);
  for (const { retryInMs } of answers.slice(0, 2)) {
    expect(retryInMs).toBeGreaterThanOrEqual(125);
    expect(retryInMs).toBeLessThan(1000);
  }
  expect(answers.slice(2, 6).map((answer) => answer.retryInMs)).toEqual([5e3, 1e4, 2e4, 4e4]);
  expect(answers.at(-1)?.retryInMs).toBe(300_000);
});

test("failures: a pass ends the pause, but a new failure soon after counts on", () => {
  const failures = new Failures(seededRandom(1), options);
  for (let i = 0; i < 3; i++) failures.record("k", what, 0);
  expect(failures.paused("k", 1000)).toMatchObject({ waitMs: 4000, message: "no" });
  expect(failures.failed("k")).not.toBeNull();
  failures.passed("k");
  expect([failures.paused("k", 1000), failures.failed("k")]).toEqual([null, null]);
  expect(failures.record("k", what, 0).failed).toBe(true);
});

test("failures: one that stayed ready long enough starts anew", () => {
  const failures = new Failures(seededRandom(1), options);
  for (let i = 0; i < 5; i++) failures.record("k", what, 0);
  expect(failures.record("k", { ...what, readyForMs: 10_000 }, 0).failed).toBe(false);
});

test("failures: remembers a bounded number of keys, the latest", () => {
  const failures = new Failures(seededRandom(1), { ...options, restartsMax: 0 });
  for (const key of ["a", "b", "c", "a", "d"]) failures.record(key, what, 0);
  expect(["a", "b", "c", "d"].map((key) => failures.failed(key) !== null)).toEqual([
    true,
    false,
    true,
    true,
  ]);
});
