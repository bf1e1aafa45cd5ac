import { hash } from "node:crypto";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { SimulatedClock } from "../../../test/support/clock.ts";
import { nodeDisk } from "./disk.ts";
import { storeAt, version, WISH } from "./store.fixture.ts";
import type { Store } from "./store.ts";

const DAY_MS = 86_400_000;
const QUOTA_BYTES = 10 * 4096;
const STAGING = { foreground: false, priority: 100 };
/** So many files of a block each. */
const files = (name: string, count: number) =>
  version(
    Object.fromEntries(Array.from({ length: count }, (_, i) => [`${i}`, [`${name} ${i}`]])),
    name,
  );
const older = files("older", 6);
const wished = files("wished", 6);

let dir = "";
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "prestage-room-"));
});
afterEach(() => nodeDisk.rm(dir, { recursive: true, force: true }));

/** A store all alone, with a version that was used just now. */
async function alone(pins: Set<string>): Promise<{ store: Store; clock: SimulatedClock }> {
  const clock = new SimulatedClock(0);
  const isProtected = (id: string) => pins.has(id);
  const store = storeAt(dir, nodeDisk, { clock, quotaBytes: QUOTA_BYTES, isProtected });
  await store.open();
  const tree = await store.add(older.signed, older.manifest, WISH);
  for (let i = 0; i < 6; i++) {
    const text = `older ${i}`;
    await store.writeChunk(hash("sha256", text, "hex"), Buffer.from(text), WISH);
  }
  await store.activate(tree);
  await store.noteUsed(tree.hash);
  return { store, clock };
}

describe("room: on a host all alone, with its quota full", () => {
  test("staging is refused with bytes, quota and remedy; it has room when the other is long unused", async () => {
    const { store, clock } = await alone(new Set());
    const stage = () => store.add(wished.signed, wished.manifest, STAGING);
    await expect(stage()).rejects.toMatchObject({
      code: "DISK_FULL",
      details: { dir, bytes: 6 * 4096, usedBytes: 6 * 4096, quotaBytes: QUOTA_BYTES },
      message: expect.stringContaining(dir),
      remedy: expect.stringContaining("store.quotaBytes"),
    });
    expect(store.get(older.signed.hash)?.active).toBe(true);
    await clock.advance(30 * DAY_MS);
    await stage();
    expect(store.get(older.signed.hash)).toBe(undefined);
    await store.close();
  });

  test("staging of a higher class has room sooner, of a pinned version never", async () => {
    const pins = new Set([older.signed.hash]);
    const { store, clock } = await alone(pins);
    const stage = (priority: number) =>
      store.add(wished.signed, wished.manifest, { ...STAGING, priority });
    await clock.advance(30 * DAY_MS);
    await expect(stage(10_000)).rejects.toMatchObject({ code: "DISK_FULL" });
    pins.clear();
    await store.noteUsed(older.signed.hash);
    await clock.advance(2 * DAY_MS);
    await expect(stage(100)).rejects.toMatchObject({ code: "DISK_FULL" });
    await stage(100_000);
    expect(store.get(older.signed.hash)).toBe(undefined);
    await store.close();
  });

  test("what never came whole makes room at once", async () => {
    const { store } = await alone(new Set());
    await store.remove(store.get(older.signed.hash) ?? expect.fail("it is here"));
    await store.add(older.signed, older.manifest, STAGING);
    await store.add(wished.signed, wished.manifest, STAGING);
    expect([...store.all()].map((t) => t.hash)).toEqual([wished.signed.hash]);
    await store.close();
  });
});
