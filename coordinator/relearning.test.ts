import { expect, test } from "vitest";
import { SimulatedClock } from "../test/support/clock.ts";
import { Relearning } from "./relearning.ts";

/** Past what it does at its start. */
async function running() {
  const clock = new SimulatedClock();
  const did: string[] = [];
  const ends = { forecasts: Promise.resolve(), known: true };
  const relearning = new Relearning({
    clock,
    freeze: () => void did.push("freeze"),
    forecasts: () => {
      did.push("forecasts");
      return ends.forecasts;
    },
    prices: async () => {
      did.push("prices");
      return ends.known;
    },
  });
  const stop = new AbortController();
  const done = relearning.run(stop.signal);
  await clock.advance(0);
  expect(did.splice(0)).toEqual(["prices"]);
  const end = () => {
    stop.abort();
    return done;
  };
  return { clock, did, ends, relearning, stop: end };
}

test("relearning: waits until no import is being taken in, then learns once for all", async () => {
  const { clock, did, relearning, stop } = await running();
  for (let i = 0; i < 2; i++) relearning.historyChanges();
  relearning.historyChanged();
  await clock.advance(10_000);
  expect(did.splice(0)).toEqual(["freeze", "freeze"]);
  relearning.historyChanged();
  await clock.advance(400);
  expect(did).toEqual([]);
  await clock.advance(1_000);
  expect(did).toEqual(["forecasts", "prices"]);
  await stop();
});

test("relearning: new workloads mean new prices only; again while nothing is known of them", async () => {
  const { clock, did, ends, relearning, stop } = await running();
  ends.known = false;
  relearning.workloadsChanged();
  await clock.advance(1_000);
  expect(did).toEqual(["prices"]);
  await clock.advance(5_000);
  ends.known = true;
  await clock.advance(30_000);
  expect(did.length).toBe(3);
  expect(did).not.toContain("forecasts");
  await stop();
});

test("relearning: what changes while it learns is learned after it", async () => {
  const { clock, did, ends, relearning, stop } = await running();
  const learned = Promise.withResolvers<void>();
  ends.forecasts = learned.promise;
  relearning.pastChanged();
  await clock.advance(1_000);
  relearning.pastChanged();
  await clock.advance(2_000);
  expect(did).toEqual(["forecasts"]);
  learned.resolve();
  await clock.advance(2_000);
  expect(did).toEqual(["forecasts", "prices", "forecasts", "prices"]);
  await stop();
});
