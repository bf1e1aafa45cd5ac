import { hash } from "node:crypto";
import type { PathLike } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { keyFromSeed, signManifest } from "../../shared/manifest.ts";
import { systemClock } from "../../shared/runtime/clock.ts";
import { createLog } from "../../shared/runtime/log.ts";
import { nodeDisk } from "./store/disk.ts";
import { Store } from "./store/store.ts";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "prestage-moving-"));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const CHUNK = Buffer.from("a chunk");
const CHUNK_HASH = hash("sha256", CHUNK, "hex");
const chunk = { hash: CHUNK_HASH, bytes: CHUNK.length };
const manifest = {
  name: "n",
  version: "1",
  createdMs: 0,
  originUrl: null,
  publisher: "h",
  bytes: CHUNK.length,
  files: [{ path: "folder/file", mode: 0o644 as const, bytes: CHUNK.length, chunks: [chunk] }],
};

/** A store with a version that is complete; `onMoved` runs once it lies in its place. */
async function fullStore(onMoved: () => Promise<void>) {
  const disk = {
    ...nodeDisk,
    rename: async (from: PathLike, to: PathLike) => {
      await nodeDisk.rename(from, to);
      if (String(to).includes("/trees/")) await onMoved();
    },
  };
  const never = () => false;
  const log = createLog({ name: "store", level: "silent" });
  const store = new Store(
    { clock: systemClock, log, disk, isProtected: never, isWithPeers: never },
    { dir: join(dir, "mesh"), quotaBytes: 1e9, reserveRatio: 0 },
  );
  await store.open();
  const signed = signManifest(manifest, keyFromSeed(new Uint8Array(32)));
  const tree = await store.add(signed, manifest, { foreground: true, priority: 1 });
  await store.writeChunk(CHUNK_HASH, CHUNK, { foreground: true });
  return { store, tree };
}

test("store: a chunk is read while its version moves into place", async () => {
  const renamed = Promise.withResolvers<void>();
  const rest = Promise.withResolvers<void>();
  const { store, tree } = await fullStore(() => {
    renamed.resolve();
    return rest.promise;
  });
  const activated = store.activate(tree);
  await renamed.promise;
  const read = store.readChunk(CHUNK_HASH);
  setImmediate(() => rest.resolve());
  expect(await read).toEqual(CHUNK);
  expect(await activated).toBe(true);
  expect({ corrupt: store.corruptChunks, active: tree.active }).toEqual({
    corrupt: 0,
    active: true,
  });
  await store.close();
});

test("store: a chunk of a version that is dropped is gone, not corrupt", async () => {
  const { store, tree } = await fullStore(async () => {});
  await store.activate(tree);
  const [read] = await Promise.all([store.readChunk(CHUNK_HASH), store.remove(tree)]);
  expect(read === null || CHUNK.equals(read)).toBe(true);
  expect(store.corruptChunks).toBe(0);
  await store.close();
});
