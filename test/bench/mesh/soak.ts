/**
 * Four hosts that swap versions for ever while one of them comes, goes and is revoked:
 * node --expose-gc test/bench/mesh/soak.ts MINUTES
 * Prints memory after a collection, descriptors, sockets and timers each minute; at the end the
 * slope of memory after warm-up. Exits with 1 when it grows by more than 1 MiB in 10 minutes.
 */
import { randomBytes } from "node:crypto";
import { readdirSync } from "node:fs";
import { TestFleet, type TestHost, until, writeTree } from "../../../agent/mesh/mesh.fixture.ts";
import { systemClock } from "../../../shared/runtime/clock.ts";

const MIB = 1 << 20;
const MINUTE_MS = 60_000;
/** So long chunks that came stay in memory for others. */
const HOT_MS = 6_000;
const minutes = Number(process.argv[2] ?? 20);
const collect = globalThis.gc;
if (!collect) throw new Error("run it with --expose-gc");
const say = (line: string) => process.stdout.write(`${line}\n`);
const fleet = new TestFleet();
const quotaBytes = 48 * MIB;

type Sample = { minute: number; mib: number; descriptors: number; resources: number };

/** A new version on every host that stays; older ones are evicted by the quota. */
async function round(at: TestHost, hosts: TestHost[], version: number): Promise<void> {
  const dir = await fleet.folder();
  await writeTree(dir, { "data.bin": randomBytes(6 * MIB), small: randomBytes(1000) });
  const signed = await fleet.publish(at, dir, { version: `${version}` });
  const ask = { priority: 1, foreground: true, signal: AbortSignal.timeout(MINUTE_MS) };
  await Promise.all(hosts.map(({ mesh }) => mesh.ensure(signed.hash, ask)));
  await fleet.forget(signed.hash, dir);
}

/** Comes with a new key, fetches, and is revoked or stops. */
async function visit(hosts: TestHost[], count: number): Promise<void> {
  const visitor = await fleet.start("visitor", { quotaBytes });
  fleet.enrol([...hosts, visitor]);
  await until(() => visitor.mesh.connectedHosts().length > 0);
  if (count % 2 === 0) fleet.enrol(hosts, [...hosts, visitor]);
  await fleet.stop(visitor);
  fleet.enrol(hosts);
}

async function sample(minute: number): Promise<Sample> {
  await systemClock.sleep(HOT_MS);
  collect?.();
  await systemClock.sleep(50);
  collect?.();
  const { heapUsed, external } = process.memoryUsage();
  const descriptors = readdirSync("/proc/self/fd").length;
  const resources = process.getActiveResourcesInfo().length;
  return { minute, mib: (heapUsed + external) / MIB, descriptors, resources };
}

/** MiB per 10 minutes by least squares, after the first quarter. */
function slope(all: readonly Sample[]): number {
  const some = all.slice(Math.floor(all.length / 4));
  const x = some.reduce((sum, s) => sum + s.minute, 0) / some.length;
  const y = some.reduce((sum, s) => sum + s.mib, 0) / some.length;
  const top = some.reduce((sum, s) => sum + (s.minute - x) * (s.mib - y), 0);
  const bottom = some.reduce((sum, s) => sum + (s.minute - x) ** 2, 0);
  return bottom === 0 ? 0 : (10 * top) / bottom;
}

const hosts: TestHost[] = [];
for (const name of ["a", "b", "c", "d"]) hosts.push(await fleet.start(name, { quotaBytes }));
fleet.enrol(hosts);
const samples: Sample[] = [];
const startMs = systemClock.monotonic();
let version = 0;
try {
  for (let minute = 0; minute < minutes; minute++) {
    const untilMs = startMs + (minute + 1) * MINUTE_MS;
    while (systemClock.monotonic() < untilMs) {
      const at = hosts[version % hosts.length];
      if (at) await round(at, hosts, version);
      if (version % 5 === 0) await visit(hosts, version);
      version++;
      await systemClock.sleep(500);
    }
    const now = await sample(minute + 1);
    samples.push(now);
    const { mib, descriptors, resources } = now;
    say(
      `${minute + 1} min: ${mib.toFixed(2)} MiB, ${descriptors} descriptors, ` +
        `${resources} sockets and timers, ${version} versions`,
    );
  }
  const growth = slope(samples);
  say(`memory after warm-up: ${growth.toFixed(2)} MiB per 10 minutes`);
  if (growth > 1) process.exitCode = 1;
} finally {
  await fleet.close();
}
