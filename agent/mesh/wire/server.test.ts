import { expect, test } from "vitest";
import { silentLog } from "../../../shared/runtime/log.ts";
import { SimulatedClock } from "../../../test/support/clock.ts";
import { BufferPool } from "../store/buffer-pool.ts";
import { UNIT_REQUESTS } from "../transfer/backlog.ts";
import { Backlog } from "./backlog.ts";
import type { Channel } from "./channel.ts";
import { type AskFrame, type Frame, FrameReader, type Kind } from "./frames.ts";
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
function serving(
  leaving: Pace | null = null,
  clock = new SimulatedClock(),
  { backlog = new Backlog(clock), reads = Promise.resolve(true) } = {},
) {
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
    write: async (head: Uint8Array, data: Uint8Array, { sent: done }: { sent: () => void }) => {
      written.push(done);
      reader.read(head);
      reader.read(data);
      return reads;
    },
  } as unknown as Channel;
  const server = new PeerServer(channel, {
    serve: async () => pool.take(CHUNK_BYTES),
    pool,
    log: silentLog,
    clock,
    uplink: new Uplink(clock),
    backlog,
    leaving: leaving,
    sent: () => {},
  });
  const ask = (id: number, foreground: boolean, kind: Kind = "chunk") => {
    const frame: AskFrame = {
      type: "request",
      id,
      kind,
      foreground,
      hash: "",
      base: null,
    };
    server.take(frame);
  };
  const refused = () => said.filter((f) => f.type === "refuse" && f.reason === "busy").length;
  return { server, sent, said, ask, clock, pool, written, refused };
}

/** One server a peer, that share what this host can do. */
function peers(count: number, reads?: Promise<boolean>) {
  const clock = new SimulatedClock();
  const backlog = new Backlog(clock);
  const all = Array.from({ length: count }, () =>
    serving(null, clock, reads ? { backlog, reads } : { backlog }),
  );
  const askEach = () => {
    for (const { ask } of all) for (let id = 1; id <= UNIT_REQUESTS; id++) ask(id, false);
  };
  const refused = () => all.reduce((sum, peer) => sum + peer.refused(), 0);
  return { clock, backlog, all, askEach, refused };
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

test("server: staging that would wait behind much is refused as busy, at once, until others were answered", async () => {
  const { clock, backlog, askEach, refused } = peers(12);
  askEach();
  expect(refused()).toBeGreaterThan(0);
  const late = serving(null, clock, { backlog });
  late.ask(1, false);
  expect(late.refused()).toBe(1);
  await pass(clock, 20);
  late.ask(2, false);
  await pass(clock, 20);
  expect([late.refused(), late.sent.get(2)]).toEqual([1, CHUNK_BYTES]);
});

test("server: what is being sent does not stand in the way of more (every peer's turn has come)", async () => {
  const { all, clock, backlog } = peers(9, new Promise(() => {}));
  for (const { ask } of all) ask(1, false);
  const late = serving(null, clock, { backlog });
  late.ask(1, false);
  await pass(clock, 5);
  late.ask(2, false);
  await pass(clock, 5);
  expect([late.refused(), late.sent.get(2)]).toEqual([1, CHUNK_BYTES]);
});

test.each([
  ["a request that somebody waits for", true, "chunk"],
  ["what a version is", false, "manifest"],
] as const)("server: %s is never refused as busy", async (_, foreground, kind) => {
  const { clock, backlog, askEach, refused } = peers(12);
  askEach();
  expect(refused()).toBeGreaterThan(0);
  const { ask, refused: late } = serving(null, clock, { backlog });
  ask(1, foreground, kind);
  expect(late()).toBe(0);
});

test("server: who began a unit gets the rest of it, however many others ask meanwhile", () => {
  const { clock, backlog, askEach } = peers(12);
  const { ask, refused } = serving(null, clock, { backlog });
  ask(1, false);
  askEach();
  for (let id = 2; id <= UNIT_REQUESTS; id++) ask(id, false);
  expect(refused()).toBe(0);
  ask(UNIT_REQUESTS + 1, false);
  expect(refused()).toBe(1);
});

test("server: peers at a low rate, or that do not read, keep no other from being answered", async () => {
  const slow = peers(12);
  for (const { server } of slow.all) server.take({ type: "pace", bytesPerSecond: 1_000 });
  const stuck = peers(12, new Promise(() => {}));
  for (const { clock, backlog, askEach } of [slow, stuck]) {
    askEach();
    await pass(clock, 1_500);
    const { ask, refused, sent } = serving(null, clock, { backlog });
    for (let id = 1; id <= UNIT_REQUESTS; id++) ask(id, false);
    await pass(clock, 50);
    expect([refused(), sent.get(UNIT_REQUESTS)]).toEqual([0, CHUNK_BYTES]);
  }
});
