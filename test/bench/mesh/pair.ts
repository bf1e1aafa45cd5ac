/**
 * One seeder to one fetcher, a process each on this machine, over the real mesh: encrypted, verified,
 * to disk, activated. node test/bench/mesh/pair.ts [MIB] [--delay MS]
 * Prints the rate, and that of bare TCP between the same processes, written to a file. The delay is
 * a round trip, made by a proxy in a process of its own that hands on late what it gets.
 */
import { type ChildProcess, fork } from "node:child_process";
import { hash } from "node:crypto";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { parseArgs } from "node:util";
import { TestFleet, until } from "../../../agent/mesh/mesh.fixture.ts";
import type { Seeded } from "./pair-ends.ts";

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { delay: { type: "string", default: "0" } },
});
const mib = Number(positionals[0] ?? 512);
const delayMs = Number(values.delay);
const ENDS = new URL("pair-ends.ts", import.meta.url).pathname;

async function start<T>(...args: (string | number)[]): Promise<[ChildProcess, T]> {
  const child = fork(ENDS, args.map(String));
  const [said] = await once(child, "message");
  return [child, said as T];
}

/** The same ports, behind the proxy. */
async function behindProxy(seeded: Seeded): Promise<[ChildProcess | null, Seeded]> {
  if (delayMs === 0) return [null, seeded];
  const portOf = (address: string) => Number(/\/tcp\/(\d+)/.exec(address)?.[1]);
  const { member, tcpPort } = seeded;
  const ports = [...member.meshAddresses.map(portOf), tcpPort];
  const [child, own] = await start<number[]>("proxy", delayMs / 2, ...ports);
  const meshAddresses = member.meshAddresses.map((a, i) =>
    a.replace(/\/tcp\/\d+/, `/tcp/${own[i]}`),
  );
  return [child, { ...seeded, member: { ...member, meshAddresses }, tcpPort: own.at(-1) ?? 0 }];
}

const [seeder, direct] = await start<Seeded>("seeder", mib);
const [proxy, { member, signed, digest, tcpPort }] = await behindProxy(direct);
const fleet = new TestFleet();
try {
  const fetcher = await fleet.start("fetcher");
  seeder.send({ ...fetcher.member, meshAddresses: [] });
  fleet.manifests.set(signed.hash, signed);
  fetcher.mesh.setMembers([member, fetcher.member]);
  await until(() => fetcher.mesh.connectedHosts().length === 1);
  const rate = (sinceMs: number) => (mib * 1000) / (performance.now() - sinceMs);

  let sinceMs = performance.now();
  const signal = AbortSignal.timeout(300_000);
  const path = await fetcher.mesh.ensure(signed.hash, { priority: 1, foreground: true, signal });
  const mesh = rate(sinceMs);
  if (hash("sha256", await readFile(join(path, "x.bin"))) !== digest)
    throw new Error("wrong bytes");

  sinceMs = performance.now();
  const copy = join(await fleet.folder(), "copy");
  await pipeline(connect(tcpPort, "127.0.0.1"), createWriteStream(copy, { flush: true }));
  const tcp = rate(sinceMs);
  process.stdout.write(
    `${mib} MiB, round trip ${delayMs} ms: ${mesh.toFixed(0)} MiB/s mesh, ` +
      `${tcp.toFixed(0)} MiB/s bare TCP to a synced file, ratio ${(mesh / tcp).toFixed(2)}\n`,
  );
} finally {
  await fleet.close();
  seeder.disconnect();
  proxy?.disconnect();
}
