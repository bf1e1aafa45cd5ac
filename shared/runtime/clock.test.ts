import { expect, test } from "vitest";
import { SimulatedClock } from "../../test/support/clock.ts";
import { within } from "./clock.ts";

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
