import { hash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { keyFromSeed, signManifest } from "../../shared/manifest.ts";
import { systemClock } from "../../shared/runtime/clock.ts";
import { silentLog } from "../../shared/runtime/log.ts";
import { nodeDisk } from "./disk.ts";
import { Store } from "./store.ts";

const WISH = { foreground: true, priority: 100 };

test("room: a version under way is used whole, and what it lacks is promised until it is there", async () => {
  const dir = await mkdtemp(join(tmpdir(), "prestage-room-"));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  const store = new Store(
    {
      clock: systemClock,
      log: silentLog,
      disk: nodeDisk,
      isProtected: () => true,
      isWithPeers: () => false,
    },
    { dir, quotaBytes: 1e9, reserveRatio: 0 },
  );
  await store.open();
  onTestFinished(() => store.close());
  const parts = [Buffer.alloc(5_000, "a"), Buffer.alloc(3_192, "b")];
  const chunks = parts.map((part) => ({ hash: hash("sha256", part, "hex"), bytes: part.length }));
  const manifest = {
    ...{ name: "n", version: "1", createdMs: 0, originUrl: null, publisher: "h", bytes: 8_192 },
    files: [{ path: "f", mode: 0o644 as const, bytes: 8_192, chunks }],
  };
  const signed = signManifest(manifest, keyFromSeed(new Uint8Array(32)));
  await store.add(signed, manifest, WISH);
  expect([store.usedBytes, store.room.promisedBytes()]).toEqual([8_192, 8_192]);
  await store.writeChunk(chunks[0]?.hash ?? "", parts[0] ?? Buffer.alloc(0), WISH);
  expect([store.usedBytes, store.room.promisedBytes()]).toEqual([8_192, 3_192]);
  await store.writeChunk(chunks[1]?.hash ?? "", parts[1] ?? Buffer.alloc(0), WISH);
  expect([store.usedBytes, store.room.promisedBytes()]).toEqual([8_192, 0]);
});
