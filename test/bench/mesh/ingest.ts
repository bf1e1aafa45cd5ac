/**
 * `ingest.ts [MIB] [SMALL_FILES]`: a directory into the real store (cut, hashed, written, synced,
 * activated), beside a plain SHA-256 of the same bytes in the same run; once as one big file, once
 * as many small ones, and once more the unchanged directory. MiB/s by the clock, and per second of
 * processor time of this process.
 */
import { createHash, randomBytes } from "node:crypto";
import { mkdir, mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { listDirectory, openDirectory } from "../../../agent/mesh/store/directory.ts";
import { nodeDisk } from "../../../agent/mesh/store/disk.ts";
import { ingest } from "../../../agent/mesh/store/ingest.ts";
import { Store } from "../../../agent/mesh/store/store.ts";
import { keyFromSeed, signManifest } from "../../../shared/manifest.ts";
import { systemClock } from "../../../shared/runtime/clock.ts";
import { createLog } from "../../../shared/runtime/log.ts";

const MIB = Number(process.argv[2] ?? 512);
const SMALL_FILES = Number(process.argv[3] ?? 1_000);
const top = await mkdtemp(join(tmpdir(), "prestage-ingest-bench-"));
const key = keyFromSeed(new Uint8Array(32));
const say = (line: string) => process.stdout.write(`${line}\n`);

/** After a plain write that is gone again, so that each finds memory that was in use before. */
async function timed(work: () => Promise<unknown>): Promise<{ wallMs: number; cpuMs: number }> {
  await plainWrite(join(top, "warm"));
  await nodeDisk.syncAll(top);
  const [startMs, cpu] = [performance.now(), process.cpuUsage()];
  await work();
  const { user, system } = process.cpuUsage(cpu);
  return { wallMs: performance.now() - startMs, cpuMs: (user + system) / 1000 };
}

function report(what: string, { wallMs, cpuMs }: { wallMs: number; cpuMs: number }): void {
  const rate = (ms: number) => ((MIB / ms) * 1000).toFixed(0).padStart(5);
  say(`${what.padEnd(34)} ${rate(wallMs)} MiB/s  ${rate(cpuMs)} MiB/s a core`);
}

async function writeNoise(path: string, bytes: number): Promise<void> {
  const noise = randomBytes(Math.min(bytes, 8 << 20));
  const file = await open(path, "w");
  for (let done = 0; done < bytes; done += noise.length) {
    noise.writeDoubleLE(done + Math.random(), 0);
    for (let at = 0; at < noise.length; at += 65_536) noise.writeDoubleLE(done + at, at);
    await file.write(noise, 0, Math.min(noise.length, bytes - done));
  }
  await file.close();
}

async function plainWrite(path: string): Promise<void> {
  const block = randomBytes(4 << 20);
  const file = await open(path, "w");
  for (let done = 0; done < MIB; done += 4) await file.write(block);
  await file.datasync();
  await file.close();
  await rm(path);
}

async function plainHash(path: string): Promise<void> {
  const file = await open(path);
  const hash = createHash("sha256");
  const block = Buffer.allocUnsafe(4 << 20);
  for (;;) {
    const { bytesRead } = await file.read(block, 0, block.length, null);
    if (bytesRead === 0) break;
    hash.update(block.subarray(0, bytesRead));
  }
  hash.digest();
  await file.close();
}

let published = 0;
async function publish(dir: string, store: Store): Promise<unknown> {
  const version = String(published++);
  const about = { name: "bench", version, originUrl: null, keep: true };
  const signal = new AbortController().signal;
  return ingest(
    openDirectory(await listDirectory(dir)),
    { ...about, bytesMax: Number.MAX_SAFE_INTEGER, signal, progress: () => {} },
    {
      store,
      sign: (manifest) => signManifest(manifest, key),
      note: () => {},
      pin: () => () => {},
      publisher: "bench",
      createdMs: published,
    },
  );
}

try {
  const store = new Store(
    {
      clock: systemClock,
      log: createLog({ name: "bench", level: "silent" }),
      disk: nodeDisk,
      isProtected: () => true,
      isWithPeers: () => false,
    },
    { dir: join(top, "store"), quotaBytes: Number.MAX_SAFE_INTEGER, reserveRatio: 0 },
  );
  await mkdir(join(top, "store"));
  await store.open();
  await mkdir(join(top, "big"));
  await writeNoise(join(top, "big", "model.bin"), MIB << 20);
  for (let i = 0; i < SMALL_FILES; i++) {
    const folder = join(top, "small", String(i % 50));
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, String(i)), randomBytes(Math.floor((MIB << 20) / SMALL_FILES)));
  }
  const small = `${SMALL_FILES} files`;
  await plainHash(join(top, "big", "model.bin"));
  report("plain SHA-256", await timed(() => plainHash(join(top, "big", "model.bin"))));
  report("plain write and fdatasync", await timed(() => plainWrite(join(top, "plain"))));
  report("ingest, one file", await timed(() => publish(join(top, "big"), store)));
  report(`ingest, ${small}`, await timed(() => publish(join(top, "small"), store)));
  report("again, one file unchanged", await timed(() => publish(join(top, "big"), store)));
  report(`again, ${small} unchanged`, await timed(() => publish(join(top, "small"), store)));
  report("plain SHA-256", await timed(() => plainHash(join(top, "big", "model.bin"))));
  const [logical, used] = [store.logicalBytes, store.usedBytes].map((b) => Math.round(b / 2 ** 20));
  say(`${logical} MiB of versions take ${used} MiB of disk`);
  await store.close();
} finally {
  await rm(top, { recursive: true, force: true });
}
