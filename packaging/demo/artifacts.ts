/** The files of the demo's artifacts: one folder of code per workload, one of data per category. */
import { createCipheriv, createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { copyFile, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { Random } from "../../shared/runtime/random.ts";

export const ARTIFACT_VERSION = "1";
const DATA_BYTES_MIN = 8e6;
const DATA_BYTES_MAX = 64e6;
const BLOCK_BYTES = 1 << 20;

/** One artifact's folder under the origin's root; the folder has the artifact's name. */
export type DemoArtifact = { name: string; bytes: number };
export type DemoWorkload = {
  name: string;
  categories: { name: string; data: DemoArtifact }[];
  code: DemoArtifact;
};

/** Which artifacts there will be; 8 to 64 MB, more small than large. Writes nothing. */
export function planArtifacts(
  series: readonly { workload: string; category: string }[],
  random: Random,
): DemoWorkload[] {
  const byName = new Map<string, DemoWorkload>();
  for (const { workload, category } of series) {
    const code = { name: `${workload}-code`, bytes: 2_000 };
    const planned = byName.get(workload) ?? { name: workload, categories: [], code };
    const size = random.fork(`size/${workload}/${category}`).next() ** 2;
    const bytes = Math.round(DATA_BYTES_MIN * (DATA_BYTES_MAX / DATA_BYTES_MIN) ** size);
    planned.categories.push({
      name: category,
      data: { name: `${workload}-${category}-data`, bytes },
    });
    byName.set(workload, planned);
  }
  return [...byName.values()];
}

export function artifactsOf(workloads: readonly DemoWorkload[]): DemoArtifact[] {
  return workloads.flatMap((w) => [w.code, ...w.categories.map((c) => c.data)]);
}

export const totalBytes = (workloads: readonly DemoWorkload[]) =>
  artifactsOf(workloads).reduce((sum, a) => sum + a.bytes, 0);

export async function writeArtifacts(
  root: string,
  workloads: readonly DemoWorkload[],
  {
    seed,
    signal,
    progress,
  }: { seed: string; signal: AbortSignal; progress: (bytes: number) => void },
): Promise<void> {
  for (const workload of workloads) {
    signal.throwIfAborted();
    await writeCode(join(root, workload.code.name), workload.name);
    for (const { data } of workload.categories) {
      await writeData(join(root, data.name), data, `${seed}/${data.name}`, signal);
      progress(data.bytes);
    }
  }
}

const SERVER_FILE = new URL("workload-server.mjs", import.meta.url);

async function writeCode(folder: string, workload: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  await copyFile(SERVER_FILE, join(folder, "server.mjs"));
  await writeFile(join(folder, "about.json"), JSON.stringify({ workload }));
}

async function writeData(
  folder: string,
  { bytes }: DemoArtifact,
  seed: string,
  signal: AbortSignal,
): Promise<void> {
  await mkdir(folder, { recursive: true });
  const hash = createHash("sha256");
  const blocks = Readable.from(randomBlocks(seed, bytes, (block) => hash.update(block)));
  await pipeline(blocks, createWriteStream(join(folder, "data.bin")), { signal });
  const about = { bytes, sha256: hash.digest("hex") };
  await writeFile(join(folder, "about.json"), JSON.stringify(about));
}

/** Bytes that no compressor or deduplication can shrink: an AES-CTR key stream of the seed. */
export function* randomBlocks(
  seed: string,
  bytes: number,
  seen: (block: Buffer) => void = () => {},
): Generator<Buffer> {
  const key = createHash("sha256").update(seed).digest();
  const cipher = createCipheriv("aes-256-ctr", key, Buffer.alloc(16));
  for (let left = bytes; left > 0; left -= BLOCK_BYTES) {
    const block = cipher.update(Buffer.alloc(Math.min(BLOCK_BYTES, left)));
    seen(block);
    yield block;
  }
}
