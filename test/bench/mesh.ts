/**
 * One seeder to one fetcher over the real mesh (TLS, hashing, disk, activation) against the same
 * bytes over a bare TCP connection of node:net, in one process and one run. Prints the ratio.
 */
import { randomBytes } from "node:crypto";
import type { AddressInfo } from "node:net";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { TestFleet, until, writeTree } from "../../agent/mesh/mesh.fixture.ts";

const MIB = Number(process.argv[2] ?? 128);
const bytes = randomBytes(MIB << 20);

async function rawTcp(): Promise<number> {
  const server = createServer((socket) => socket.end(bytes)).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const startMs = performance.now();
  const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
  let got = 0;
  for await (const piece of socket) got += piece.length;
  const tookMs = performance.now() - startMs;
  server.close();
  if (got !== bytes.length) throw new Error("bytes are missing");
  return tookMs;
}

async function overMesh(): Promise<number> {
  const fleet = new TestFleet();
  try {
    const [a, b] = [await fleet.start("a"), await fleet.start("b")];
    fleet.enrol([a, b]);
    const dir = await fleet.folder();
    await writeTree(dir, { [join("data", "x.bin")]: bytes });
    const signed = await fleet.publish(a, dir);
    await until(() => b.mesh.connectedHosts().length === 1);
    const startMs = performance.now();
    const signal = AbortSignal.timeout(120_000);
    await b.mesh.ensure(signed.hash, { priority: 1, foreground: true, signal });
    return performance.now() - startMs;
  } finally {
    await fleet.close();
  }
}

const rate = (ms: number) => (MIB / ms) * 1000;
await rawTcp();
const rows: { mesh: number; tcp: number }[] = [];
for (let i = 0; i < 3; i++) rows.push({ mesh: rate(await overMesh()), tcp: rate(await rawTcp()) });
for (const { mesh, tcp } of rows) {
  const line = `${mesh.toFixed(0)} MiB/s mesh, ${tcp.toFixed(0)} MiB/s TCP, ratio ${(mesh / tcp).toFixed(3)}`;
  process.stdout.write(`${line}\n`);
}
