import { expect, test } from "vitest";
import { SimulatedClock } from "../../../test/support/clock.ts";
import { HotChunks } from "./hot-chunks.ts";

const MIB = 1 << 20;

function make() {
  const clock = new SimulatedClock();
  const hot = new HotChunks(clock);
  return { clock, hot, pool: hot.pool };
}

test("hot chunks: the latest are there, the oldest go first (more than it may hold)", () => {
  const { hot } = make();
  for (let i = 0; i < 40; i++) {
    hot.put(`c${i}`, new Uint8Array(MIB));
    hot.get("c0");
  }
  expect(hot.get("c39")?.length).toBe(MIB);
  expect(hot.get("c0")?.length).toBe(MIB);
  expect(hot.get("c1")).toBe(null);
});

test("hot chunks: nothing is held after some seconds without use", async () => {
  const { clock, hot } = make();
  hot.put("c", new Uint8Array(1));
  await clock.advance(6_000);
  hot.tick();
  expect(hot.get("c")).toBe(null);
});

test("hot chunks: memory goes back when the last who looks at it is done (dropped before)", async () => {
  const { clock, pool, hot } = make();
  hot.put("c", pool.take(MIB));
  const bytes = [hot.get("c"), hot.get("c")];
  await clock.advance(4_900);
  hot.put("d", new Uint8Array(33 * MIB));
  expect(pool.freeBytes).toBe(0);
  for (const shared of bytes) if (shared) pool.giveBack(shared);
  expect(pool.freeBytes).toBe(MIB);
});

test("hot chunks: a chunk that comes again replaces the one before, which is lent on", () => {
  const { pool, hot } = make();
  const [before, after] = [pool.take(MIB), pool.take(MIB)];
  hot.put("c", before);
  hot.get("c");
  hot.put("c", after);
  expect(hot.get("c")).toBe(after);
  expect(pool.freeBytes).toBe(0);
  pool.giveBack(before);
  expect(pool.freeBytes).toBe(MIB);
});
