import { createHash, randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { holdOf, TestFleet, until, writeTree } from "./mesh.fixture.ts";

let fleet = new TestFleet();
afterEach(async () => {
  await fleet.close();
  fleet = new TestFleet();
});

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
  const t = performance.now();
  const path = await b.mesh.ensure(signed.hash, ask);
  console.log("took", performance.now() - t);
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
