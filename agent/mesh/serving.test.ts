import { randomBytes } from "node:crypto";
import { afterEach, expect, test } from "vitest";
import { SimulatedClock } from "../../test/support/clock.ts";
import { TestFleet, type TestHost, until, writeTree } from "./mesh.fixture.ts";
import { Serving } from "./serving.ts";
import { Signers } from "./signers.ts";
import { HotChunks } from "./store/hot-chunks.ts";

const ask = { foreground: true, priority: 1, signal: new AbortController().signal };
let fleet = new TestFleet();
afterEach(async () => {
  await fleet.close();
  fleet = new TestFleet();
});

/** Two versions at `a`, of which `fresh` bytes differ. */
async function versions(a: TestHost, fresh: number): Promise<[older: string, newer: string]> {
  const dir = await fleet.folder();
  const bytes = randomBytes(2 << 20);
  await writeTree(dir, { f: bytes });
  const older = await fleet.publish(a, dir, { version: "1" });
  randomBytes(fresh).copy(bytes, 1 << 20);
  await writeTree(dir, { f: bytes });
  const newer = await fleet.publish(a, dir, { version: "2" });
  return [older.hash, newer.hash];
}

test("serving: its publisher gives a large patch to one host first, to a request at once, a small one to all", async () => {
  const a = await fleet.start("a");
  const clock = new SimulatedClock();
  const { store } = a.mesh;
  const signers = new Signers(() => {});
  const of = (self: string) =>
    new Serving({ self, clock, store, hot: new HotChunks(clock), signers });
  const [older, newer] = await versions(a, 100_000);
  const [publisher, other] = [of("a"), of("b")];
  const first = await publisher.serve("patches", newer, older, false);
  expect(first).toBeInstanceOf(Uint8Array);
  expect(await publisher.serve("patches", newer, older, false)).toBe("busy");
  expect(await publisher.serve("patches", newer, older, true)).toEqual(first);
  expect(await other.serve("patches", newer, older, false)).toEqual(first);
  await clock.advance(1_000);
  expect(await publisher.serve("patches", newer, older, false)).toBe("busy");
  expect(await other.serve("patches", newer, older, false)).toEqual(first);
  await clock.advance(10_000);
  expect(await publisher.serve("patches", newer, older, false)).toEqual(first);

  const [before, after] = await versions(a, 100);
  for (let i = 0; i < 3; i++)
    expect(await publisher.serve("patches", after, before, false)).toBeInstanceOf(Uint8Array);
});

test("mesh: a patch goes from host to host (five hosts that have the version before)", async () => {
  const hosts: TestHost[] = [];
  for (const name of ["a", "b", "c", "d", "e"]) hosts.push(await fleet.start(name));
  fleet.enrol(hosts);
  const [a, ...others] = hosts;
  if (!a) throw new Error("no host");
  const [older, newer] = await versions(a, 40_000);
  await until(() => hosts.every((h) => h.mesh.connectedHosts().length === others.length));
  for (const { mesh } of others) await mesh.ensure(older, ask);
  const before = others.map((h) => h.mesh.counters().peerBytes);
  const ref = { name: "thing", version: "2" };
  for (const { mesh } of others) {
    mesh.setRate(1e9);
    mesh.setHold([{ orderId: "o", ref, manifestHash: newer, priority: 1, deadlineMs: 0 }]);
  }
  await until(() => others.every((h) => h.mesh.path(newer) !== null));
  const came = others.map((h, i) => h.mesh.counters().peerBytes - (before[i] ?? 0));
  expect(Math.max(...came)).toBeLessThan(90_000);
});
