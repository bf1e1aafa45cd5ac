/**
 * `open.ts [VERSIONS] [CHUNKS] [FILES]`: how long a store takes to open that holds VERSIONS whole
 * versions of CHUNKS chunks in FILES files each, and one that was being filled, all but a chunk
 * and with so much written as a kill leaves unsynced. Prints wall and CPU time.
 */
import { hash, randomBytes } from "node:crypto";
import { mkdir, mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Signers } from "../../../agent/mesh/signers.ts";
import { nodeDisk } from "../../../agent/mesh/store/disk.ts";
import { FileHandles } from "../../../agent/mesh/store/handles.ts";
import { Journal } from "../../../agent/mesh/store/journal.ts";
import { Store } from "../../../agent/mesh/store/store.ts";
import type { Chunk, ManifestFile } from "../../../shared/domain.ts";
import { keyFromSeed, signManifest } from "../../../shared/manifest.ts";
import { systemClock } from "../../../shared/runtime/clock.ts";
import { createLog } from "../../../shared/runtime/log.ts";

const VERSIONS = Number(process.argv[2] ?? 10);
const CHUNKS = Number(process.argv[3] ?? 10_000);
const FILES = Number(process.argv[4] ?? 1_000);
const CHUNK_BYTES = 262_144;
const UNSYNCED = 64;
const say = (line: string) => process.stdout.write(`${line}\n`);
const log = createLog({ name: "bench", level: "silent" });
const never = () => false;
const plenty = async () => ({ bavail: 1e9, bsize: 4096, blocks: 1e9 });
const disk = Object.assign({ ...nodeDisk }, { statfs: plenty });

function storeAt(dir: string): Store {
  const deps = { clock: systemClock, log, isProtected: never, isWithPeers: never, disk };
  return new Store(deps, { dir, quotaBytes: 1e15, reserveRatio: 0 });
}

function version(index: number, content: (chunk: number) => Uint8Array) {
  const files: ManifestFile[] = [];
  const each = Math.max(1, Math.floor(CHUNKS / FILES));
  for (let f = 0; f < FILES; f++) {
    const chunks: Chunk[] = Array.from({ length: each }, (_, i) => ({
      hash: hash("sha256", content(f * each + i), "hex"),
      bytes: CHUNK_BYTES,
    }));
    const path = `d${f % 50}/f${f}.bin`;
    files.push({ path, mode: 0o644, bytes: each * CHUNK_BYTES, chunks });
  }
  const bytes = files.reduce((sum, f) => sum + f.bytes, 0);
  const about = { createdMs: 0, originUrl: null, publisher: "h", name: "n" };
  const manifest = { ...about, version: `${index}`, files, bytes };
  return { manifest, signed: signManifest(manifest, keyFromSeed(new Uint8Array(32))) };
}

async function fill(dir: string): Promise<void> {
  const store = storeAt(dir);
  await store.open();
  for (let v = 0; v <= VERSIONS; v++) {
    const last = new Map(Array.from({ length: UNSYNCED }, (_, i) => [i, randomBytes(CHUNK_BYTES)]));
    const partial = v === VERSIONS;
    const { manifest, signed } = version(v, (chunk) =>
      partial ? (last.get(chunk) ?? Buffer.from(`${chunk}`)) : Buffer.from(`${v} ${chunk}`),
    );
    const tree = await store.add(signed, manifest, { foreground: true, priority: 1 });
    const root = partial ? tree.root : join(dir, "trees", signed.hash);
    for (const file of manifest.files) {
      await mkdir(dirname(join(root, file.path)), { recursive: true });
      const handle = await open(join(root, file.path), "w");
      await handle.truncate(file.bytes);
      await handle.close();
    }
    if (!partial) {
      await rm(tree.root, { recursive: true });
      continue;
    }
    for (const [position, bytes] of last) await tree.write(position, bytes);
    await store.close();
    await rm(join(dir, "state", signed.hash));
    const handles = new FileHandles(nodeDisk, { capacity: 1 });
    const journal = new Journal({ disk, handles }, join(dir, "state", signed.hash), signed.hash);
    const all = manifest.files.flatMap((f) => f.chunks).map((_, i) => i);
    journal.written(all.slice(UNSYNCED, -1));
    await journal.durable(all.length);
    journal.written(all.slice(0, UNSYNCED));
    await journal.commit();
    await handles.close();
  }
}

async function timed<T>(what: string, fn: () => Promise<T>): Promise<T> {
  const [wallMs, cpu] = [performance.now(), process.cpuUsage()];
  const result = await fn();
  const { user, system } = process.cpuUsage(cpu);
  const cpuMs = (user + system) / 1_000;
  say(`${what}: ${(performance.now() - wallMs).toFixed(0)} ms, CPU ${cpuMs.toFixed(0)} ms`);
  return result;
}

const dir = await mkdtemp(join(tmpdir(), "prestage-open-"));
try {
  await fill(dir);
  const store = storeAt(dir);
  const signers = new Signers(() => {});
  say(`${VERSIONS} versions of ${CHUNKS} chunks in ${FILES} files, and one that was being filled`);
  await timed("opened", () => store.open());
  await timed("signers", () => signers.load(store));
  const counts = [...store.all()].map((t) => t.have.count);
  say(`held: ${counts.reduce((sum, n) => sum + n, 0)} chunks`);
  await timed("files looked at and closed", () => store.close());
} finally {
  await nodeDisk.rm(dir, { recursive: true, force: true });
}
