/** A real, small file system: an ext4 in a file, mounted by loop; where that may not be, a tmpfs. */
import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { holdOf, TestFleet, until, writeTree } from "./mesh.fixture.ts";

const MiB = 1 << 20;
const FLOOR_MIB = 64;
const SIZE_MIB = 160;
const sha = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

const top = await mkdtemp(join(tmpdir(), "prestage-full-"));
const disk = join(top, "disk");
await mkdir(disk);
const mounted = await mount();
const refused = mounted ? "" : "no file system can be mounted here (needs root)";

async function mount(): Promise<boolean> {
  const image = join(top, "image");
  await writeFile(image, "");
  await truncate(image, SIZE_MIB * MiB);
  const ways = [
    ["mkfs.ext4", ["-q", "-m", "0", "-O", "^has_journal", image], ["-o", "loop", image, disk]],
    ["true", [], ["-t", "tmpfs", "-o", `size=${SIZE_MIB}m`, "tmpfs", disk]],
  ] as const;
  for (const [make, made, given] of ways)
    try {
      execFileSync(make, made, { stdio: "ignore" });
      execFileSync("mount", given, { stdio: "ignore" });
      return true;
    } catch {
      // the next way
    }
  return false;
}

describe("mesh: on a disk that is full", () => {
  let fleet = new TestFleet();
  afterEach(async () => {
    await fleet.close();
    fleet = new TestFleet();
    if (mounted) execFileSync("umount", [disk]);
    await rm(top, { recursive: true, force: true });
  });

  test("an order fails with the place and the remedy, and goes on when there is space (no restart)", {
    timeout: 120_000,
    skip: !mounted && process.env.CI !== "true",
  }, async () => {
    expect(refused).toBe("");
    const filler = join(disk, "filler");
    const fill = (mib: number) => execFileSync("fallocate", ["-l", `${mib}M`, filler]);
    const [a, b] = [await fleet.start("a"), await fleet.start("b", { dir: join(disk, "store") })];
    fleet.enrol([a, b]);
    const dir = await fleet.folder();
    const files = { x: randomBytes(20 * MiB), "d/y": randomBytes(5 * MiB) };
    await writeTree(dir, files);
    const signed = await fleet.publish(a, dir);

    await until(() => b.mesh.connectedHosts().length > 0);
    b.mesh.setRate(5e6);
    b.mesh.setHold([holdOf(signed)]);
    await until(() => b.mesh.counters().verifiedChunks > 5);
    fill(SIZE_MIB - FLOOR_MIB - 5);
    await until(() => b.mesh.orderStates()[0]?.code === "DISK_FULL");
    const wait = AbortSignal.timeout(20_000);
    const waited = b.mesh.ensure(signed.hash, { priority: 1, foreground: true, signal: wait });
    await expect(waited).rejects.toMatchObject({
      code: "DISK_FULL",
      message: expect.stringContaining(join(disk, "store")),
      remedy: expect.stringContaining("Free space"),
    });
    await rm(filler);
    b.mesh.setRate(1e9);
    await until(() => b.mesh.orderStates()[0]?.state === "done");
    for (const [path, bytes] of Object.entries(files))
      expect(sha(await readFile(join(b.mesh.path(signed.hash) ?? "", path)))).toBe(sha(bytes));
    expect(b.mesh.counters()).toMatchObject({ refetchedChunks: 0, corruptChunks: 0 });
  });
});
