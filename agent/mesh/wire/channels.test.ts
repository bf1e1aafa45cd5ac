import { randomBytes, X509Certificate } from "node:crypto";
import { afterEach, expect, test } from "vitest";
import type { Member } from "../../../shared/domain.ts";
import { systemClock } from "../../../shared/runtime/clock.ts";
import { silentLog } from "../../../shared/runtime/log.ts";
import { until } from "../mesh.fixture.ts";
import type { Channel } from "./channel.ts";
import { bulkAddresses, Channels } from "./channels.ts";
import { credentialsOf, peerIdOfCertificate } from "./credentials.ts";

type End = {
  channels: Channels;
  member: Member;
  opened: Channel[];
  bytes: number[];
  refused: string[];
};
let ends: End[] = [];
afterEach(async () => {
  for (const { channels } of ends) await channels.stop();
  ends = [];
});

async function listening(host: string): Promise<End> {
  const seed = randomBytes(32);
  const { cert } = await credentialsOf(seed);
  const peerId = peerIdOfCertificate(new X509Certificate(cert)) ?? "";
  const [opened, bytes, refused]: [Channel[], number[], string[]] = [[], [], []];
  const channels = new Channels({
    identity: { seed, peerId },
    clock: systemClock,
    log: silentLog,
    opened: (channel) => {
      channel.onBytes = (piece) => void bytes.push(...piece);
      opened.push(channel);
    },
    refused: (id) => void refused.push(id),
  });
  await channels.start({ host: "127.0.0.1", port: 0, insist: true });
  const meshAddresses = bulkAddresses(["/ip4/127.0.0.1/tcp/1"], channels.port);
  const member = { host, site: "lab", peerId, meshAddresses, routerUrl: null };
  const end = { channels, member, opened, bytes, refused };
  ends.push(end);
  return end;
}

test("channels: members know one another by their host key, and bytes go both ways", async () => {
  const [a, b] = [await listening("a"), await listening("b")];
  for (const { channels } of [a, b]) channels.setMembers([a.member, b.member]);
  const channel = await a.channels.dial("b");
  channel.send(Uint8Array.of(1, 2));
  channel.send(Uint8Array.of(3));
  await channel.write(Uint8Array.of(4), Uint8Array.of(5, 6));
  await until(() => b.bytes.length === 6);
  expect(b.bytes).toEqual([1, 2, 3, 4, 5, 6]);
  expect([channel.host, b.opened[0]?.host]).toEqual(["b", "a"]);
  b.opened[0]?.send(Uint8Array.of(7));
  await until(() => a.bytes.length === 1);
});

test("channels: a stranger is refused and gets no byte (it knows a member's address and key)", async () => {
  const [a, x] = [await listening("a"), await listening("x")];
  a.channels.setMembers([a.member]);
  x.channels.setMembers([a.member]);
  const channel = await x.channels.dial("a");
  channel.send(Uint8Array.of(1));
  await channel.closed;
  await until(() => a.refused.length === 1);
  expect(a.refused).toEqual([x.member.peerId]);
  expect([a.opened, a.bytes, x.bytes]).toEqual([[], [], []]);
});

test("channels: nobody else answers for a member (another host at its address)", async () => {
  const [a, b, x] = [await listening("a"), await listening("b"), await listening("x")];
  for (const { channels } of [a, x]) channels.setMembers([a.member, b.member, x.member]);
  const moved = { ...b.member, meshAddresses: x.member.meshAddresses };
  a.channels.setMembers([moved, x.member]);
  await expect(a.channels.dial("b")).rejects.toMatchObject({ code: "UNREACHABLE" });
  expect(a.opened).toEqual([]);
});

test("channels: the live connection of a revoked member ends on both sides", async () => {
  const [a, b] = [await listening("a"), await listening("b")];
  for (const { channels } of [a, b]) channels.setMembers([a.member, b.member]);
  const channel = await b.channels.dial("a");
  await until(() => a.opened.length === 1);
  a.channels.setMembers([a.member]);
  await channel.closed;
  expect(a.opened[0]?.open).toBe(false);
});

test("channels: writing waits for a peer that does not read, and ends with the connection", async () => {
  const [a, b] = [await listening("a"), await listening("b")];
  for (const { channels } of [a, b]) channels.setMembers([a.member, b.member]);
  const channel = await a.channels.dial("b");
  await until(() => b.opened.length === 1);
  let written = 0;
  let waits = false;
  const writing = (async () => {
    const piece = new Uint8Array(1 << 20);
    while (await channel.write(Uint8Array.of(0), piece)) written++;
    waits = true;
  })();
  const reader = b.opened[0];
  if (!reader) throw new Error("not connected");
  // A reader that is stuck: its event loop goes on, its socket is not read.
  reader.onBytes = () => reader.pause();
  let before = -1;
  for (; before !== written; await systemClock.sleep(200)) before = written;
  expect(channel.full).toBe(true);
  expect(waits).toBe(false);
  channel.abort();
  await writing;
});

test("channels: a port in use is given up for another unless one insists", async () => {
  const a = await listening("a");
  const deps = { identity: { seed: randomBytes(32), peerId: "p" }, clock: systemClock };
  const other = new Channels({ ...deps, log: silentLog, opened: () => {}, refused: () => {} });
  const at = { host: "127.0.0.1", port: a.channels.port };
  await expect(other.start({ ...at, insist: true })).rejects.toMatchObject({
    code: "ADDRESS_UNUSABLE",
  });
  await other.start({ ...at, insist: false });
  expect(other.port).not.toBe(at.port);
  await other.stop();
});

test("channels: none of many that come within a second is refused (200 hosts after a restart)", {
  timeout: 120_000,
}, async () => {
  const seed = await listening("seed");
  const others: End[] = [];
  for (let i = 0; i < 200; i++) others.push(await listening(`h${i}`));
  const members = [seed, ...others].map((end) => end.member);
  for (const { channels } of [seed, ...others]) channels.setMembers(members);
  const dialled = await Promise.all(others.map(({ channels }) => channels.dial("seed")));
  await until(() => seed.opened.length === 200);
  expect(dialled.every((channel) => channel.open)).toBe(true);
  expect(seed.refused).toEqual([]);
});

test("channels: a small piece of data comes in one record with what stands before it", async () => {
  const [a, b] = [await listening("a"), await listening("b")];
  for (const { channels } of [a, b]) channels.setMembers([a.member, b.member]);
  const channel = await a.channels.dial("b");
  await until(() => b.opened.length === 1);
  const [pieces, opened] = [[] as number[], b.opened[0]];
  if (opened) opened.onBytes = (piece) => void pieces.push(piece.length);
  await channel.write(new Uint8Array(17), new Uint8Array(4 << 10));
  await until(() => pieces.length > 0);
  expect(pieces).toEqual([17 + (4 << 10)]);
});

test.runIf(process.platform === "linux")(
  "channels: little of what is not urgent waits in a connection, more of what is (a peer that does not read)",
  async () => {
    const [a, b] = [await listening("a"), await listening("b")];
    for (const { channels } of [a, b]) channels.setMembers([a.member, b.member]);
    const channel = await a.channels.dial("b");
    await until(() => b.opened.length === 1);
    b.opened[0]?.pause();
    const taken = async (urgent: boolean) => {
      let pieces = 0;
      const writing = async () => {
        while (await channel.write(Uint8Array.of(0), new Uint8Array(64 << 10), { urgent }))
          pieces++;
      };
      writing();
      for (let seen = -1, same = 0; same < 20; seen = pieces) {
        await systemClock.sleep(5);
        same = seen === pieces ? same + 1 : 0;
      }
      return pieces;
    };
    const little = await taken(false);
    expect(await taken(true)).toBeGreaterThan(little);
  },
);
