import { expect, test } from "vitest";
import { silentLog } from "../../../shared/runtime/log.ts";
import { SimulatedClock } from "../../../test/support/clock.ts";
import { BufferPool } from "../store/buffer-pool.ts";
import type { Channel } from "./channel.ts";
import { type AskFrame, type Frame, FrameReader } from "./frames.ts";
import { wireBytes } from "./overhead.ts";
import { Pace } from "./pace.ts";
import { PeerServer } from "./server.ts";
import { Uplink } from "./uplink.ts";

const CHUNK_BYTES = 256 << 10;

/** In small steps: between two timers a server does much. */
async function pass(clock: SimulatedClock, ms: number): Promise<void> {
  for (let i = 0; i < ms; i++) await clock.advance(1);
}

/** A server whose peer reads all at once; `sent` by request, and what else was said. */
function serving(leaving: Pace | null = null, clock = new SimulatedClock()) {
  const sent = new Map<number, number>();
  const said: Frame[] = [];
  const written: (() => void)[] = [];
  const pool = new BufferPool(clock);
  const closed = Promise.withResolvers<void>();
  const reader = new FrameReader({
    control: (frame) => void said.push(frame),
    data: (id, _total, _offset, piece) => void sent.set(id, (sent.get(id) ?? 0) + piece.length),
  });
  const channel = {
    host: "peer",
    open: true,
    closed: closed.promise,
    send: (frame: Uint8Array) => reader.read(frame),
    write: async (head: Uint8Array, data: Uint8Array, done: () => void) => {
      written.push(done);
      reader.read(head);
      reader.read(data);
      return true;
    },
  } as unknown as Channel;
  const server = new PeerServer(channel, {
    serve: async () => pool.take(CHUNK_BYTES),
    pool,
    log: silentLog,
    clock,
    uplink: new Uplink(clock),
    leaving: leaving,
    sent: () => {},
  });
  const ask = (id: number, foreground: boolean) => {
    const frame: AskFrame = {
      type: "request",
      id,
      kind: "chunk",
      foreground,
      hash: "",
      base: null,
    };
    server.take(frame);
  };
  return { server, sent, said, ask, clock, pool, written };
}

test("server: a request is answered at once (staging before it on the same connection is held)", async () => {
  const { server, sent, ask, clock } = serving();
  server.take({ type: "pace", bytesPerSecond: 1_000_000 });
  ask(1, false);
  await pass(clock, 50);
  server.take({ type: "pace", bytesPerSecond: 0 });
  await pass(clock, 50);
  const staged = sent.get(1) ?? 0;
  ask(2, true);
  await pass(clock, 50);
  expect(sent.get(2)).toBe(CHUNK_BYTES);
  expect(staged).toBeGreaterThan(0);
  expect(sent.get(1)).toBe(staged);
});

test("server: says from when on it goes by a rate, and goes by it", async () => {
  const { server, sent, said, ask, clock } = serving();
  server.take({ type: "pace", bytesPerSecond: 500_000 });
  expect(said).toContainEqual({ type: "paced", bytesPerSecond: 500_000 });
  for (let id = 1; id <= 8; id++) ask(id, false);
  await pass(clock, 2_000);
  const before = sent.values().reduce((sum, bytes) => sum + bytes, 0);
  await pass(clock, 1_000);
  const within = sent.values().reduce((sum, bytes) => sum + bytes, 0) - before;
  expect(wireBytes(within)).toBeLessThanOrEqual(500_000);
  expect(wireBytes(within)).toBeGreaterThan(0.93 * 500_000);
});

test("server: staging of another site's hosts shares what may leave this one, whatever they were told", async () => {
  const clock = new SimulatedClock();
  const leaving = new Pace(clock);
  leaving.set(400_000);
  const servers = [serving(leaving, clock), serving(leaving, clock)];
  for (const { ask } of servers) for (let id = 1; id <= 8; id++) ask(id, false);
  const total = () =>
    servers.reduce((sum, { sent }) => sum + sent.values().reduce((s, bytes) => s + bytes, 0), 0);
  await pass(clock, 1_000);
  const before = total();
  await pass(clock, 1_000);
  expect(wireBytes(total() - before)).toBeLessThanOrEqual(400_000);
  expect(wireBytes(total() - before)).toBeGreaterThan(0.9 * 400_000);
});

test("server: an answer's memory is free when the connection is done with all of it, not before", async () => {
  const { sent, ask, clock, pool, written } = serving();
  ask(1, true);
  await clock.advance(10);
  expect(sent.get(1)).toBe(CHUNK_BYTES);
  const [last, ...others] = written.reverse();
  for (const done of others) done();
  expect(pool.freeBytes).toBe(0);
  last?.();
  expect(pool.freeBytes).toBe(CHUNK_BYTES);
});
