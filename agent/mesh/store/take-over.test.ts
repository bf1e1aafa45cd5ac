import { chmod, mkdir, mkdtemp, readdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Disk, nodeDisk, removeFolder } from "./disk.ts";
import { storeAt, version, WISH } from "./store.fixture.ts";

let dir = "";
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "prestage-take-over-"));
});
afterEach(() => removeFolder(nodeDisk, dir));

/** What a kill leaves of a version whose manifest is gone already: sealed. */
async function leave(folder: string): Promise<void> {
  await mkdir(join(dir, folder, "deep"), { recursive: true });
  await writeFile(join(dir, folder, "deep", "f"), "x", { mode: 0o444 });
  for (const path of [join(folder, "deep"), folder]) await chmod(join(dir, path), 0o555);
}

test("store: a start does not wait until left-overs are removed, staging does", async () => {
  const gone = Promise.withResolvers<void>();
  const rm: Disk["rm"] = async (...given) => {
    if (String(given[0]).includes("left-")) await gone.promise;
    return nodeDisk.rm(...given);
  };
  const lost = "ab".repeat(32);
  for (const folder of ["trees", "trash", "partial"]) await leave(join(folder, lost));
  await leave("trash/left-0");
  for (const folder of ["meta", "state"]) await mkdir(join(dir, folder));
  await writeFile(join(dir, "meta", `${lost}.json`), "{}");
  await writeFile(join(dir, "state", lost), "x");
  const store = storeAt(dir, Object.assign({ ...nodeDisk }, { rm }));
  await store.open();
  expect(await readdir(join(dir, "trees"))).toEqual([]);
  for (const folder of ["partial", "meta", "state"])
    expect(await readdir(join(dir, folder))).toEqual([]);
  expect(await readdir(join(dir, "trash"))).toHaveLength(4);
  const { signed, manifest } = version({ x: ["one"] }, "one");
  const added = store.add(signed, manifest, WISH);
  expect(store.get(signed.hash)).toBe(undefined);
  gone.resolve();
  await added;
  expect(await readdir(join(dir, "trash"))).toEqual([]);
  await store.close();
});

test("store: the newest version of a name is the one that was made last, also after a start", async () => {
  const before = storeAt(dir, nodeDisk);
  await before.open();
  const made = [7, 3, 9, 1].map((createdMs) =>
    version({ [`${createdMs}`]: ["x"] }, "n", createdMs),
  );
  for (const { signed, manifest } of made) {
    await before.add(signed, manifest, WISH);
    await before.writeChunk(manifest.files[0]?.chunks[0]?.hash ?? "", Buffer.from("x"), WISH);
    await before.activate(before.get(signed.hash) ?? expect.fail("it was added"));
  }
  await before.close();
  const store = storeAt(dir, nodeDisk);
  await store.open();
  expect([...store.all()].map((t) => t.manifest.createdMs)).toEqual([1, 3, 7, 9]);
  expect(store.newest(["n"])?.manifest.createdMs).toBe(9);
  await store.close();
});
