import { expect, test } from "vitest";
import { SimulatedClock } from "../../test/support/clock.ts";
import { inSlices, systemClock, within } from "./clock.ts";

/** Ends when its signal does. */
const waits = (signal: AbortSignal) =>
  new Promise<string>((resolve) => {
    signal.addEventListener("abort", () => resolve(signal.reason.message));
  });

test("within: what is waited for ends by the clock, or with the signal if that is sooner", async () => {
  const clock = new SimulatedClock();
  const { signal } = new AbortController();
  const late = within(clock, 1_000, signal, waits);
  const asked = new AbortController();
  const stopped = within(clock, 1_000, asked.signal, waits);
  await clock.advance(500);
  asked.abort(new Error("stopped"));
  expect(await stopped).toBe("stopped");
  await clock.advance(500);
  expect(await late).toBe("no answer in time");
  expect(await within(clock, 1_000, signal, async () => "done")).toBe("done");
});

test.each([false, true])(
  "slices: others have their turn in between, and may end it (%j)",
  async (stops) => {
    const clock = new SimulatedClock();
    let workMs = 0;
    const busy = { ...systemClock, monotonic: () => workMs, sleep: clock.sleep.bind(clock) };
    const stop = new AbortController();
    let done = 0;
    function* steps(): Generator<void> {
      for (; done < 10; done++) {
        workMs += 30;
        yield;
      }
    }
    const work = inSlices(busy, 100, stop.signal, steps());
    const ended = stops ? expect(work).rejects.toThrow("stopped") : work;
    expect(done).toBe(3); // the fourth is over, and its turn
    if (stops) stop.abort(new Error("stopped"));
    await clock.advance(0);
    await ended;
    expect(done).toBe(stops ? 3 : 10);
  },
);
