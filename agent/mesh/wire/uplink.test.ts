import { expect, test } from "vitest";
import { SimulatedClock } from "../../../test/support/clock.ts";
import { Uplink } from "./uplink.ts";

const SLICE = 100_000;

/** Sends background slices for ever; gives how many bytes have gone. */
function background(uplink: Uplink, clock: SimulatedClock): () => number {
  let sent = 0;
  void (async () => {
    for (;;) {
      await uplink.turn(SLICE);
      sent += SLICE;
      await clock.sleep(1);
    }
  })();
  return () => sent;
}

test("uplink: background gets a small part while a foreground answer moves, all of it afterwards", async () => {
  const clock = new SimulatedClock();
  const uplink = new Uplink(clock);
  const end = uplink.begin();
  const sent = background(uplink, clock);
  let foreground = 0;
  for (let i = 0; i < 200; i++) {
    uplink.passed(SLICE);
    foreground += SLICE;
    await clock.advance(1);
  }
  expect(sent()).toBeGreaterThan(0);
  expect(sent()).toBeLessThan(0.05 * foreground);
  end();
  await clock.advance(150);
  const before = sent();
  await clock.advance(100);
  expect(sent() - before).toBeGreaterThan(50 * SLICE);
});

test("uplink: a foreground answer that its peer does not read holds nobody up for long", async () => {
  const clock = new SimulatedClock();
  const uplink = new Uplink(clock);
  uplink.begin();
  const sent = background(uplink, clock);
  await clock.advance(400);
  expect(sent()).toBe(0);
  await clock.advance(400);
  expect(sent()).toBeGreaterThan(SLICE);
});
