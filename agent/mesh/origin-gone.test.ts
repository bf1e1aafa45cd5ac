/** The origin goes, or gives something else, while hosts fetch from it. */
import { randomBytes } from "node:crypto";
import { afterEach, expect, test } from "vitest";
import { ranged, webServer } from "../sources/sources.fixture.ts";
import { holdOf, TestFleet, until, writeTree } from "./mesh.fixture.ts";

const MIB = 1 << 20;
const WITHIN_MS = 60_000;
const ask = { foreground: true, priority: 1, signal: new AbortController().signal };
let fleet = new TestFleet();
afterEach(async () => {
  await fleet.close();
  fleet = new TestFleet();
});

/** Two hosts that want what only an origin has, and what that serves after the first `good` answers. */
async function wanting(good: number, then: Parameters<typeof ranged>[0] | null) {
  const content = randomBytes(8 * MIB);
  const dir = await fleet.folder();
  await writeTree(dir, { f: content });
  const right = ranged(content);
  const server = await webServer((request, response) => {
    if (server.requests.length <= good) right(request, response);
    else if (then) ranged(then)(request, response);
    else request.socket.destroy();
  });
  const hosts = [await fleet.start("a"), await fleet.start("b")];
  fleet.enrol(hosts);
  const [a] = hosts;
  if (!a) throw new Error("no host");
  const signed = await fleet.publish(a, dir, { originUrl: `${server.url}/d/`, keep: false });
  for (const { mesh } of hosts) {
    mesh.setRate(1e9);
    mesh.setHold([holdOf(signed)]);
  }
  const orders = () => hosts.map(({ mesh }) => mesh.orderStates()[0]);
  const failed = () => orders().every((order) => order?.state === "failed");
  return { server, right, hosts, signed, orders, failed };
}

test("mesh: an order fails and says why when the origin is gone half-way, and ends when it is back", {
  timeout: 3 * WITHIN_MS,
}, async () => {
  const { server, right, orders, failed } = await wanting(4, null);
  await until(failed, WITHIN_MS);
  const { host } = new URL(server.url);
  const detail = expect.stringContaining(host);
  for (const order of orders()) expect(order).toMatchObject({ code: "UNAVAILABLE" });
  expect(orders()).toContainEqual(expect.objectContaining({ detail }));
  server.state.handler = right;
  await until(() => orders().every((order) => order?.state === "done"), WITHIN_MS);
  await server.close();
});

test("mesh: who waits is told that the origin changed since it was published", {
  timeout: 2 * WITHIN_MS,
}, async () => {
  const { server, hosts, signed } = await wanting(4, randomBytes(8 * MIB));
  const [a] = hosts;
  await expect(a?.mesh.ensure(signed.hash, ask)).rejects.toMatchObject({
    code: "UNAVAILABLE",
    message: expect.stringContaining("origin changed since it was published"),
    remedy: expect.stringContaining("publish"),
  });
  await server.close();
});
