import fc from "fast-check";
import { expect, test } from "vitest";
import { SimulatedClock } from "../../../test/support/clock.ts";
import { BufferPool } from "./buffer-pool.ts";

const MIB = 1 << 20;

test("buffer pool: nobody gets bytes that somebody else has (any order of taking and giving)", () => {
  const step = fc.record({ bytes: fc.integer({ min: 1, max: 3 * MIB }), back: fc.nat() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const pool = new BufferPool(new SimulatedClock());
      const out: Uint8Array[] = [];
      for (const { bytes, back } of steps) {
        const taken = pool.take(bytes);
        expect(taken.length).toBe(bytes);
        expect(out.some((other) => other.buffer === taken.buffer)).toBe(false);
        out.push(taken);
        if (back % 3 === 0) continue;
        const [given] = out.splice(back % out.length, 1);
        if (given) for (let times = back % 3; times > 0; times--) pool.giveBack(given);
      }
    }),
  );
});

test("buffer pool: what several look at is free when the last is done", () => {
  const pool = new BufferPool(new SimulatedClock());
  const bytes = pool.take(MIB);
  pool.share(bytes);
  pool.share(bytes.subarray(5, 9));
  pool.giveBack(bytes);
  pool.giveBack(bytes);
  expect(pool.freeBytes).toBe(0);
  pool.giveBack(bytes.subarray(5, 9));
  expect(pool.freeBytes).toBe(MIB);
});

test("buffer pool: what was given back is used again (sizes as chunks have them)", () => {
  const pool = new BufferPool(new SimulatedClock());
  const first = pool.take(300_000);
  pool.giveBack(first);
  expect(pool.take(310_000).buffer).toBe(first.buffer);
  expect(pool.freeBytes).toBe(0);
});

test("buffer pool: it keeps no more than it may, and nothing when nothing moves", async () => {
  const clock = new SimulatedClock();
  const pool = new BufferPool(clock);
  const taken = Array.from({ length: 40 }, () => pool.take(MIB));
  for (const bytes of taken) pool.giveBack(bytes);
  expect(pool.freeBytes).toBe(32 * MIB);
  await clock.advance(4_000);
  pool.tick();
  expect(pool.freeBytes).toBe(32 * MIB);
  await clock.advance(2_000);
  pool.tick();
  expect(pool.freeBytes).toBe(0);
});

test("buffer pool: bytes of somebody else are not taken in", () => {
  const pool = new BufferPool(new SimulatedClock());
  pool.giveBack(Buffer.allocUnsafeSlow(MIB));
  expect(pool.freeBytes).toBe(0);
});
