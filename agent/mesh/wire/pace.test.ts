import { expect, test } from "vitest";
import { SimulatedClock } from "../../../test/support/clock.ts";
import { Pace } from "./pace.ts";

test("pace: no second holds more than the rate (it was idle before, timers come late)", async () => {
  const clock = new SimulatedClock();
  const pace = new Pace(clock);
  const rate = 5e6;
  pace.set(rate);
  await clock.advance(10_000);
  const sent: { atMs: number; bytes: number }[] = [];
  void (async () => {
    for (;;) {
      const bytes = pace.sliceBytes(128 << 10);
      await pace.wait(bytes);
      sent.push({ atMs: clock.monotonic(), bytes });
      // A late timer.
      if (sent.length % 7 === 0) await clock.sleep(6);
    }
  })();
  await clock.advance(5_000);
  const total = sent.reduce((sum, s) => sum + s.bytes, 0);
  expect(total).toBeGreaterThan(0.97 * 5 * rate);
  for (const { atMs } of sent) {
    const within = sent.filter((s) => s.atMs >= atMs && s.atMs < atMs + 1_000);
    expect(within.reduce((sum, s) => sum + s.bytes, 0)).toBeLessThanOrEqual(rate);
  }
});

test("pace: who waits goes by the rate that is set meanwhile (held, then let go)", async () => {
  const clock = new SimulatedClock();
  const pace = new Pace(clock);
  pace.set(0);
  const gone: number[] = [];
  for (let i = 0; i < 3; i++) void pace.wait(1_000).then(() => gone.push(i));
  await clock.advance(60_000);
  expect(gone).toEqual([]);
  pace.set(100_000);
  await clock.advance(100);
  expect(gone).toEqual([0, 1, 2]);
});

test("pace: who is called back while he waits takes nothing, and holds nobody up", async () => {
  const clock = new SimulatedClock();
  const pace = new Pace(clock);
  pace.set(0);
  const stop = new AbortController();
  const first = pace.wait(1_000, stop.signal);
  let second = false;
  void pace.wait(1_000).then(() => {
    second = true;
  });
  stop.abort(new Error("not needed"));
  await expect(first).rejects.toThrow("not needed");
  pace.set(100_000);
  await clock.advance(25);
  expect(second).toBe(true);
});
