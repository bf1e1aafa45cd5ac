import { createHash, randomBytes } from "node:crypto";
import { open, readFile, stat } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { verifyManifest } from "../../shared/manifest.ts";
import { systemClock } from "../../shared/runtime/clock.ts";
import { ranged, webServer } from "../sources/sources.fixture.ts";
import { holdOf, TestFleet, until, writeTree } from "./mesh.fixture.ts";
import { BufferPool } from "./store/buffer-pool.ts";

let fleet = new TestFleet();
afterEach(async () => {
  await fleet.close();
  fleet = new TestFleet();
});

/** Who still looked at bytes that were given back would see these in them. */
const take = BufferPool.prototype.take;
BufferPool.prototype.take = function scrambled(bytes) {
  return take.call(this, bytes).fill(0xdb);
};

const MiB = 1 << 20;
const never = new AbortController().signal;
const ask = { priority: 1, foreground: true, signal: never };
const sha = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

test("mesh: a version published here is activated there, byte for byte (32 MB, two hosts)", async () => {
  const [a, b] = [await fleet.start("a"), await fleet.start("b")];
  fleet.enrol([a, b]);
  const dir = await fleet.folder();
  const files = {
    "data/big.bin": randomBytes(32 * MiB),
    "data/small.txt": Buffer.from("hello"),
    empty: Buffer.alloc(0),
  };
  await writeTree(dir, files);
  const signed = await fleet.publish(a, dir);
  const path = await b.mesh.ensure(signed.hash, ask);
  for (const [file, bytes] of Object.entries(files))
    expect(sha(await readFile(join(path, file)))).toBe(sha(bytes));
  expect(b.mesh.counters()).toMatchObject({ originBytes: 0, refetchedChunks: 0, corruptChunks: 0 });
  expect(b.mesh.counters().peerBytes).toBe(32 * MiB + 5);
});

test("mesh: all of a site hold it and each chunk came once (four hosts, background)", async () => {
  const hosts = [];
  for (const name of ["a", "b", "c", "d"]) hosts.push(await fleet.start(name));
  fleet.enrol(hosts);
  const dir = await fleet.folder();
  await writeTree(dir, { "x.bin": randomBytes(30 * MiB) });
  const [a, ...others] = hosts;
  if (!a) throw new Error("no host");
  const signed = await fleet.publish(a, dir);
  for (const { mesh } of others) {
    mesh.setRate(1e9);
    mesh.setHold([holdOf(signed)]);
  }
  await until(() => others.every((h) => h.mesh.orderStates()[0]?.state === "done"));
  for (const { mesh } of others) {
    expect(mesh.counters()).toMatchObject({ peerBytes: 30 * MiB, refetchedChunks: 0 });
    expect(mesh.holdings()).toMatchObject([{ active: true, bytesHave: 30 * MiB }]);
  }
});

test("mesh: a stranger gets no stream and no byte (its peer id is not enrolled)", async () => {
  const [a, x] = [await fleet.start("a"), await fleet.start("x")];
  const dir = await fleet.folder();
  await writeTree(dir, { f: randomBytes(MiB) });
  const signed = await fleet.publish(a, dir);
  a.mesh.setMembers([a.member]);
  x.mesh.setMembers([a.member, x.member]);
  const stop = AbortSignal.timeout(2_500);
  await expect(x.mesh.ensure(signed.hash, { ...ask, signal: stop })).rejects.toThrow();
  expect(a.mesh.counters().sentBytes).toBe(0);
  expect(a.mesh.connectedHosts()).toEqual([]);
});

test("mesh: the live connection of a member that is revoked ends", async () => {
  const [a, b] = [await fleet.start("a"), await fleet.start("b")];
  fleet.enrol([a, b]);
  await until(() => a.mesh.connectedHosts().length === 1 && b.mesh.connectedHosts().length === 1);
  fleet.enrol([a], [a]);
  await until(() => b.mesh.connectedHosts().length === 0);
  expect(a.mesh.connectedHosts()).toEqual([]);
});

test("mesh: a chunk that rotted on disk is never served (two holders)", async () => {
  const [a, b, c] = [await fleet.start("a"), await fleet.start("b"), await fleet.start("c")];
  fleet.enrol([a, b, c]);
  const dir = await fleet.folder();
  const bytes = randomBytes(4 * MiB);
  await writeTree(dir, { f: bytes });
  const signed = await fleet.publish(a, dir);
  await b.mesh.ensure(signed.hash, ask);
  const file = await open(join(a.mesh.path(signed.hash) ?? "", "f"), "r+");
  await file.write(Buffer.from("rot"), 0, 3, 2 * MiB);
  await file.close();
  const path = await c.mesh.ensure(signed.hash, ask);
  expect(sha(await readFile(join(path, "f")))).toBe(sha(bytes));
  expect(c.mesh.counters()).toMatchObject({ corruptChunks: 0, refetchedChunks: 0 });
});

test("mesh: one fetch per chunk from the origin for the whole site (three hosts, background)", async () => {
  const dir = await fleet.folder();
  await writeTree(dir, { "a b/f.bin": randomBytes(12 * MiB) });
  const ranges: string[] = [];
  const content = await readFile(join(dir, "a b/f.bin"));
  const server = createServer((request, response) => {
    const range = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? "");
    const [from, to] = [Number(range?.[1]), Number(range?.[2])];
    ranges.push(`${request.url} ${from}`);
    response.writeHead(206, { "content-range": `bytes ${from}-${to}/${content.length}` });
    response.end(content.subarray(from, to + 1));
  }).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as AddressInfo;
  try {
    const hosts = [await fleet.start("a"), await fleet.start("b"), await fleet.start("c")];
    fleet.enrol(hosts);
    const [a] = hosts;
    if (!a) throw new Error("no host");
    const originUrl = `http://127.0.0.1:${port}/base/`;
    const signed = await fleet.publish(a, dir, { originUrl, keep: false });
    for (const { mesh } of hosts) {
      mesh.setRate(1e9);
      mesh.setHold([holdOf(signed)]);
    }
    await until(() => hosts.every((h) => h.mesh.orderStates()[0]?.state === "done"));
    expect(new Set(ranges).size).toBe(ranges.length);
    expect(ranges.every((r) => r.startsWith("/base/a%20b/f.bin "))).toBe(true);
    const origin = hosts.reduce((sum, h) => sum + h.mesh.counters().originBytes, 0);
    expect(origin).toBe(12 * MiB);
    expect(hosts.filter((h) => h.mesh.counters().originBytes > 0).length).toBeGreaterThan(1);
  } finally {
    server.close();
    server.closeAllConnections();
  }
});

test("mesh: staging stops at rate 0, within the bytes of a second, and goes on afterwards", async () => {
  const [a, b] = [await fleet.start("a"), await fleet.start("b")];
  fleet.enrol([a, b]);
  const rate = 2e6;
  const dir = await fleet.folder();
  await writeTree(dir, { f: randomBytes(16 * MiB) });
  const signed = await fleet.publish(a, dir);
  b.mesh.setRate(rate);
  b.mesh.setHold([holdOf(signed)]);
  await until(() => b.mesh.counters().peerBytes > 0);
  b.mesh.setRate(0);
  const { peerBytes } = b.mesh.counters();
  // In 1.7 s twice as many would have come.
  await systemClock.sleep(1_700);
  expect(b.mesh.counters().peerBytes - peerBytes).toBeLessThan(rate);
  b.mesh.setRate(1e9);
  await until(() => b.mesh.orderStates()[0]?.state === "done");
  expect(b.mesh.counters().refetchedChunks).toBe(0);
});

test("mesh: an order over the quota fails with DISK_FULL; unneeded versions make room, and count as wasted", async () => {
  const a = await fleet.start("a");
  const b = await fleet.start("b", { quotaBytes: 5 * MiB });
  fleet.enrol([a, b]);
  b.mesh.setRate(1e9);
  const versions = [];
  for (const [version, size] of [
    ["1", 3],
    ["2", 3],
    ["3", 6],
  ] as const) {
    const dir = await fleet.folder();
    await writeTree(dir, { f: randomBytes(size * MiB) });
    versions.push(await fleet.publish(a, dir, { version }));
  }
  const [one, two, three] = versions;
  if (!one || !two || !three) throw new Error("no versions");
  b.mesh.setHold([holdOf(one)]);
  await until(() => b.mesh.path(one.hash) !== null);
  b.mesh.setHold([holdOf(one), holdOf(two)]);
  await until(() => b.mesh.orderStates().some((o) => o.code === "DISK_FULL"));
  const refused = b.mesh.orderStates().find((o) => o.code === "DISK_FULL");
  expect(refused?.detail).toMatch(/no room for 3 MiB in .*3 MiB of the quota of 5 MiB/);
  b.mesh.setHold([holdOf(two)]);
  await until(() => b.mesh.path(two.hash) !== null);
  expect(b.mesh.path(one.hash)).toBe(null);
  expect(b.mesh.counters().wastedBytes).toBe(3 * MiB);
  await expect(b.mesh.ensure(three.hash, ask)).rejects.toMatchObject({ code: "DISK_FULL" });
});

test("mesh: a version shares the chunks of an older one (a few bytes in the middle changed)", async () => {
  const [a, b] = [await fleet.start("a"), await fleet.start("b")];
  fleet.enrol([a, b]);
  const [one, two] = [await fleet.folder(), await fleet.folder()];
  const bytes = randomBytes(8 * MiB);
  await writeTree(one, { f: bytes });
  await writeTree(two, {
    g: Buffer.concat([bytes.subarray(0, 4e6), Buffer.from("new"), bytes.subarray(4e6)]),
  });
  const first = await fleet.publish(a, one);
  const second = await fleet.publish(a, two, { version: "2" });
  await b.mesh.ensure(first.hash, ask);
  await b.mesh.ensure(second.hash, ask);
  expect(b.mesh.counters().peerBytes).toBeLessThan(11 * MiB);
});

test("mesh: the manifest comes from a peer when the coordinator is away; other sites are asked", async () => {
  const a = await fleet.start("a", { site: "north" });
  const b = await fleet.start("b", { site: "south" });
  const c = await fleet.start("c", { site: "south" });
  fleet.enrol([a, b, c]);
  const dir = await fleet.folder();
  await writeTree(dir, { f: randomBytes(2 * MiB) });
  const signed = await fleet.publish(a, dir);
  await b.mesh.ensure(signed.hash, ask);
  fleet.manifests.clear();
  await c.mesh.ensure(signed.hash, ask);
  expect(c.mesh.counters().peerBytes).toBe(2 * MiB);
});

test("mesh: one site goes to the origin, and the others follow it (three sites)", async () => {
  const dir = await fleet.folder();
  await writeTree(dir, { f: randomBytes(12 * MiB) });
  const server = await webServer(ranged(await readFile(join(dir, "f"))));
  const [north, south, east] = [
    await fleet.start("a", { site: "north" }),
    await fleet.start("b", { site: "south" }),
    await fleet.start("c", { site: "east" }),
  ];
  const hosts = [north, south, east];
  fleet.enrol(hosts);
  fleet.elsewhere = async (host, site, wants) =>
    wants.map(({ id }) => ({
      id,
      origin: site === "south",
      ahead: false,
      hosts: hosts.map((h) => h.host).filter((name) => name !== host),
    }));
  const signed = await fleet.publish(north, dir, { originUrl: `${server.url}/d/`, keep: false });
  for (const { mesh } of hosts) {
    mesh.setRate(1e9);
    mesh.setHold([holdOf(signed)]);
  }
  await until(() => hosts.every(({ mesh }) => mesh.path(signed.hash) !== null), 20_000);
  const from = hosts.map(({ mesh }) => mesh.counters());
  expect(from.map((c) => c.originBytes)).toEqual([0, 12 * MiB, 0]);
  expect(from.map((c) => c.peerBytes)).toEqual([12 * MiB, 0, 12 * MiB]);
  await server.close();
});

test("mesh: a holder that comes back is asked for the manifest while the coordinator stays away", async () => {
  const [a, b] = [await fleet.start("a"), await fleet.start("b")];
  const dir = await fleet.folder();
  await writeTree(dir, { f: randomBytes(MiB) });
  const signed = await fleet.publish(a, dir);
  fleet.manifests.clear();
  fleet.enrol([b]);
  fleet.awayMs = 200;
  const whole = b.mesh.ensure(signed.hash, ask);
  await until(() => fleet.resolved > 1);
  fleet.enrol([a, b]);
  await whole;
  expect(b.mesh.counters().peerBytes).toBe(MiB);
});

test("mesh: an edit in the middle of a big file moves little more than the edit (two hosts)", async () => {
  const [a, b] = [await fleet.start("a"), await fleet.start("b")];
  fleet.enrol([a, b]);
  const dir = await fleet.folder();
  const bytes = randomBytes(8 * MiB);
  await writeTree(dir, { f: bytes });
  const first = await fleet.publish(a, dir);
  await b.mesh.ensure(first.hash, ask);
  const before = a.mesh.counters().sentBytes;
  const edited = Buffer.concat([bytes.subarray(0, 4e6), Buffer.from("new"), bytes.subarray(4e6)]);
  await writeTree(dir, { f: edited });
  const second = await fleet.publish(a, dir, { version: "2" });
  await until(() => b.mesh.connectedHosts().length > 0);
  const path = await b.mesh.ensure(second.hash, ask);
  expect(sha(await readFile(join(path, "f")))).toBe(sha(edited));
  expect(a.mesh.counters().sentBytes - before).toBeLessThan(20_000);
  expect(b.mesh.counters()).toMatchObject({ refetchedChunks: 0, corruptChunks: 0 });
});

test("mesh: versions share the disk of equal files, nobody may write to them, and what is new is told", async () => {
  const [a, b] = [await fleet.start("a"), await fleet.start("b")];
  fleet.enrol([a, b]);
  const dir = await fleet.folder();
  await writeTree(dir, { big: randomBytes(2 * MiB), "d/small": Buffer.from("one") });
  const first = await fleet.publish(a, dir);
  await writeTree(dir, { "d/small": Buffer.from("two") });
  const second = await fleet.publish(a, dir, { version: "2" });
  const paths = [
    await b.mesh.ensure(first.hash, ask),
    await b.mesh.ensure(second.hash, ask),
    a.mesh.path(first.hash) ?? "",
    a.mesh.path(second.hash) ?? "",
  ];
  const inodes = await Promise.all(paths.map(async (path) => (await stat(join(path, "big"))).ino));
  expect(inodes[0]).toBe(inodes[1]);
  expect(inodes[2]).toBe(inodes[3]);
  for (const path of paths) {
    expect((await stat(join(path, "d/small"))).mode & 0o777).toBe(0o444);
    expect((await stat(join(path, "d"))).mode & 0o777).toBe(0o555);
  }
  for (const { mesh } of [a, b]) {
    expect(mesh.store.logicalBytes).toBe(4 * MiB + 6);
    expect(mesh.store.usedBytes).toBe(2 * MiB + 2 * 4096);
  }
  expect(b.mesh.counters().peerBytes).toBeLessThan(2 * MiB + 100);
  const manifest = verifyManifest(second);
  const { all, toName, toHost } = a.mesh.store.novelty(manifest, second.hash);
  expect(all.bytes).toBe(2 * MiB + 3);
  expect([toName, toHost]).toEqual([
    { bytes: 3, chunks: 1 },
    { bytes: 3, chunks: 1 },
  ]);
});
