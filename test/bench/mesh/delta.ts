/**
 * `delta.ts [FILES] [MIB] [HOSTS] [CHANGE]`: version 2 of a tree to hosts that have version 1, over
 * the real mesh, beside what rsync moves to one host and, one after the other, to all of them for
 * the same change (a real rsyncd, archive mode, its own byte counters; also with --checksum, as it
 * must be when times say nothing). Bytes are those of chunks, patches and manifests: what the seed
 * sent, what all sent, the most one took. CHANGE: only changes with this in their name.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { cp, mkdir, open, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { TestFleet, type TestHost, until } from "../../../agent/mesh/mesh.fixture.ts";

const FILES = Number(process.argv[2] ?? 1_000);
const MIB = Number(process.argv[3] ?? 200);
const HOSTS = Number(process.argv[4] ?? 8);
const ONLY = process.argv[5] ?? "";
let port = 18_730 + (process.pid % 1_000) * 10;
const say = (line: string) => process.stdout.write(`${line}\n`);
const nameOf = (i: number) => `d${i % 20}/file-${i}.bin`;
const bytesOf = Math.floor((MIB << 20) / FILES);

type Change = { what: string; apply: (dir: string) => Promise<void> };
const middle = Math.floor(FILES / 2);
async function edit(path: string, change: (bytes: Buffer) => Buffer): Promise<void> {
  await writeFile(path, change(await readFile(path)));
}
const many: Change[] = [
  {
    what: `one of ${FILES} files: one byte`,
    apply: (dir) =>
      edit(join(dir, nameOf(middle)), (b) => {
        b[b.length >> 1] = (b[b.length >> 1] ?? 0) ^ 1;
        return b;
      }),
  },
  {
    what: `one of ${FILES} files: all of it`,
    apply: (dir) => edit(join(dir, nameOf(middle)), (b) => randomBytes(b.length)),
  },
  {
    what: `one of ${FILES} files: 1 % appended`,
    apply: (dir) =>
      edit(join(dir, nameOf(middle)), (b) =>
        Buffer.concat([b, randomBytes(Math.ceil(b.length / 100))]),
      ),
  },
  {
    what: `twenty of ${FILES} files: a tenth of each`,
    apply: async (dir) => {
      for (let i = 0; i < 20; i++)
        await edit(join(dir, nameOf(i * Math.floor(FILES / 20))), (b) => {
          randomBytes(Math.ceil(b.length / 10)).copy(b, b.length >> 1);
          return b;
        });
    },
  },
  {
    what: `twenty of ${FILES} files: all of each`,
    apply: async (dir) => {
      for (let i = 0; i < 20; i++)
        await edit(join(dir, nameOf(i * Math.floor(FILES / 20))), (b) => randomBytes(b.length));
    },
  },
  {
    what: "a new file of 10 kB",
    apply: (dir) => writeFile(join(dir, "d3/new.bin"), randomBytes(10_000)),
  },
  {
    what: "a directory renamed",
    apply: (dir) => rename(join(dir, "d7"), join(dir, "e7")),
  },
];
const insertAt = (b: Buffer, at: number, bytes: number) =>
  Buffer.concat([b.subarray(0, at), randomBytes(bytes), b.subarray(at)]);
const big: Change[] = [
  {
    what: `one file of ${MIB} MiB: a byte inserted at the front`,
    apply: (dir) => edit(join(dir, "big.bin"), (b) => insertAt(b, 0, 1)),
  },
  {
    what: `one file of ${MIB} MiB: 1 MiB appended`,
    apply: (dir) => edit(join(dir, "big.bin"), (b) => insertAt(b, b.length, 1 << 20)),
  },
  {
    what: `one file of ${MIB} MiB: 100 bytes inserted in the middle`,
    apply: (dir) => edit(join(dir, "big.bin"), (b) => insertAt(b, b.length >> 1, 100)),
  },
  {
    what: `one file of ${MIB} MiB: 20 inserts of 1 kB`,
    apply: (dir) =>
      edit(join(dir, "big.bin"), (b) => {
        let out = b;
        for (let i = 1; i <= 20; i++) out = insertAt(out, Math.floor((b.length / 21) * i), 1_000);
        return out;
      }),
  },
];

async function writeMany(dir: string): Promise<void> {
  for (let i = 0; i < 20; i++) await mkdir(join(dir, `d${i}`), { recursive: true });
  for (let i = 0; i < FILES; i++) await writeFile(join(dir, nameOf(i)), randomBytes(bytesOf));
}
async function writeBig(dir: string): Promise<void> {
  const file = await open(join(dir, "big.bin"), "w");
  for (let i = 0; i < MIB; i++) await file.write(randomBytes(1 << 20));
  await file.close();
}

/** Bytes both ways, by rsync's own account. */
function rsync(to: string, options: string[]): number {
  const args = ["-a", "--stats", ...options, `rsync://127.0.0.1:${port}/v/`, to];
  const { stdout, stderr, status } = spawnSync("rsync", args, { encoding: "utf8" });
  if (status !== 0) throw new Error(stderr);
  const count = (what: string) =>
    Number(new RegExp(`Total bytes ${what}: ([\\d,]+)`).exec(stdout)?.[1]?.replaceAll(",", ""));
  return count("sent") + count("received");
}

async function daemon(top: string, served: string): Promise<ChildProcess> {
  port++;
  const config = `use chroot = no\nport = ${port}\naddress = 127.0.0.1\n[v]\npath = ${served}\n`;
  await writeFile(join(top, "rsyncd.conf"), `pid file = ${join(top, "pid")}\n${config}`);
  const child = spawn(
    "rsync",
    ["--daemon", "--no-detach", `--config=${join(top, "rsyncd.conf")}`],
    {
      stdio: "inherit",
    },
  );
  for (let i = 0; i < 100; i++) {
    if (spawnSync("rsync", [`rsync://127.0.0.1:${port}/`]).status === 0) return child;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("rsyncd does not answer");
}

async function measure(write: (dir: string) => Promise<void>, changes: Change[]): Promise<void> {
  for (const { what, apply } of changes.filter((c) => c.what.includes(ONLY))) {
    const fleet = new TestFleet();
    const top = await fleet.folder();
    const served = join(top, "served");
    await mkdir(served);
    await write(served);
    const child = await daemon(top, served);
    try {
      const [plain, checked] = [join(top, "plain/"), join(top, "checked/")];
      for (const copy of [plain, checked])
        await cp(served, copy, { recursive: true, preserveTimestamps: true });
      const hosts: TestHost[] = [];
      for (let i = 0; i <= HOSTS; i++) hosts.push(await fleet.start(`h${i}`));
      fleet.enrol(hosts);
      const [seed, ...others] = hosts;
      if (!seed) throw new Error("no seed");
      let orderedMs = 0;
      const orders = async (version: string) => {
        const signed = await fleet.publish(seed, served, { version });
        await until(() => others.every((h) => h.mesh.connectedHosts().length > 0));
        const ref = { name: "thing", version };
        orderedMs = performance.now();
        const order = { ref, manifestHash: signed.hash, priority: 1, deadlineMs: 0 };
        for (const { mesh } of others) {
          mesh.setRate(1e9);
          mesh.setHold([{ orderId: `o${version}`, ...order }]);
        }
        await until(() => others.every((h) => h.mesh.path(signed.hash) !== null), 120_000);
        return signed;
      };
      await orders("1");
      const sent = () => hosts.map((h) => h.mesh.counters().sentBytes);
      const taken = () => others.map((h) => h.mesh.counters().peerBytes);
      const before = { sent: sent(), taken: taken(), resolved: fleet.resolved };
      await apply(served);
      const signed = await orders("2");
      const tookMs = performance.now() - orderedMs;
      const out = sent().map((b, i) => b - (before.sent[i] ?? 0));
      const most = Math.max(...taken().map((b, i) => b - (before.taken[i] ?? 0)));
      const all = out.reduce((sum, b) => sum + b, 0);
      const whole = (fleet.resolved - before.resolved) * JSON.stringify(signed).length;
      const peer = { plain: rsync(plain, []), checked: rsync(checked, ["--checksum"]) };
      const kB = (bytes: number) => `${(bytes / 1000).toFixed(1)} kB`;
      const ratio = (bytes: number) => (bytes / peer.plain).toFixed(2);
      say(`${what} (${Math.round(tookMs)} ms)`);
      say(
        `  mesh: from the seed ${kB((out[0] ?? 0) + whole)}, all ${HOSTS} hosts ` +
          `${kB(all + whole)}, the most one took of chunks ${kB(most)}, of these ` +
          `manifests from the coordinator ${kB(whole)}; reused on a host ` +
          `${(100 - (most / (MIB << 20)) * 100).toFixed(3)} %`,
      );
      say(
        `  rsync to one: ${kB(peer.plain)} (--checksum ${kB(peer.checked)}), to all ` +
          `${kB(HOSTS * peer.plain)}; over rsync to one: the seed ` +
          `${ratio((out[0] ?? 0) + whole)}, a host ${ratio((all + whole) / HOSTS)}, all ` +
          `hosts ${ratio(all + whole)}`,
      );
    } finally {
      child.kill();
      await fleet.close();
      await rm(top, { recursive: true, force: true });
    }
  }
}

await measure(writeMany, many);
await measure(writeBig, big);
