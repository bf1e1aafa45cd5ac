/**
 * `many-files.ts [FILES] [BYTES]`: a tree of many small files, published, staged to a host, one of
 * them changed and staged again, over the real mesh: seconds and the most memory of each step (of
 * both hosts, which share this process), beside a plain copy of the tree in the same run.
 */
import { spawnSync } from "node:child_process";
import { randomFillSync } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { TestFleet, until } from "../../../agent/mesh/mesh.fixture.ts";

const FILES = Number(process.argv[2] ?? 200_000);
const BYTES = Number(process.argv[3] ?? 2_000);
const say = (line: string) => process.stdout.write(`${line}\n`);
const folderOf = (i: number) => `node_modules/@scope-${i % 40}/package-${Math.floor(i / 60)}/dist`;

async function timed<T>(what: string, work: () => Promise<T>): Promise<T> {
  let mostBytes = 0;
  const look = setInterval(() => {
    mostBytes = Math.max(mostBytes, process.memoryUsage.rss());
  }, 20);
  const [startMs, cpu] = [performance.now(), process.cpuUsage()];
  const result = await work();
  const { user, system } = process.cpuUsage(cpu);
  clearInterval(look);
  const ms = performance.now() - startMs;
  say(
    `${what.padEnd(28)} ${(ms / 1000).toFixed(1).padStart(6)} s, ` +
      `${((user + system) / 1e6).toFixed(1).padStart(6)} s of a core, ` +
      `${((ms / FILES) * 1000).toFixed(0).padStart(5)} µs a file, ` +
      `${Math.round(mostBytes / 2 ** 20)} MiB`,
  );
  return result;
}

function write(dir: string): void {
  const bytes = Buffer.alloc(BYTES);
  for (let i = 0; i < FILES; i++) {
    const folder = join(dir, folderOf(i));
    mkdirSync(folder, { recursive: true });
    randomFillSync(bytes);
    writeFileSync(join(folder, `module-${i}.js`), bytes);
  }
}

const fleet = new TestFleet();
try {
  const dir = await fleet.folder();
  write(dir);
  const copy = await fleet.folder();
  await timed("cp -r and sync", async () => {
    spawnSync("cp", ["-r", dir, copy]);
    spawnSync("sync", ["-f", copy]);
  });
  const [a, b] = [await fleet.start("a"), await fleet.start("b")];
  fleet.enrol([a, b]);
  await until(() => b.mesh.connectedHosts().length === 1);
  b.mesh.setRate(1e9);
  const stage = async (version: string, hash: string) => {
    const ref = { name: "thing", version };
    b.mesh.setHold([{ orderId: version, ref, manifestHash: hash, priority: 1, deadlineMs: 0 }]);
    await until(() => b.mesh.path(hash) !== null, 600_000);
  };
  const one = await timed("published", () => fleet.publish(a, dir, { version: "1" }));
  say(`  the manifest has ${(one.body.length / 1e6).toFixed(1)} MB`);
  await timed("staged at another host", () => stage("1", one.hash));
  writeFileSync(join(dir, folderOf(FILES >> 1), `module-${FILES >> 1}.js`), "changed");
  const two = await timed("published, a file changed", () =>
    fleet.publish(a, dir, { version: "2" }),
  );
  const sent = a.mesh.counters().sentBytes;
  await timed("staged at another host", () => stage("2", two.hash));
  say(`  for which ${((a.mesh.counters().sentBytes - sent) / 1e3).toFixed(1)} kB were sent`);
} finally {
  await fleet.close();
}
