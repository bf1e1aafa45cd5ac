import { expect, test } from "vitest";
import { SimulatedClock } from "../../test/support/clock.ts";
import { HotChunks } from "./hot-chunks.ts";

const MIB = 1 << 20;

test("hot chunks: the latest are there, the oldest go first (more than it may hold)", () => {
  const hot = new HotChunks(new SimulatedClock());
  for (let i = 0; i < 40; i++) {
    hot.put(`c${i}`, new Uint8Array(MIB));
    hot.get("c0");
  }
  expect(hot.get("c39")?.length).toBe(MIB);
  expect(hot.get("c0")?.length).toBe(MIB);
  expect(hot.get("c1")).toBe(null);
});

test("hot chunks: nothing is held after some seconds without use", async () => {
  const clock = new SimulatedClock();
  const hot = new HotChunks(clock);
  hot.put("c", new Uint8Array(1));
  await clock.advance(6_000);
  hot.tick();
  expect(hot.get("c")).toBe(null);
});
