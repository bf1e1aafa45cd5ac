import { mkdtemp, readdir, readlink, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { nodeDisk } from "./disk.ts";
import { FileHandles } from "./handles.ts";

test("handles: no file stays open after close (readers under way, readers that come late)", async () => {
  const dir = await mkdtemp(join(tmpdir(), "prestage-handles-"));
  const openHere = async () => {
    const fds = await readdir("/proc/self/fd");
    const links = await Promise.all(
      fds.map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => "")),
    );
    return links.filter((l) => l.startsWith(`${dir}/`)).length;
  };
  try {
    const handles = new FileHandles(nodeDisk, { capacity: 3 });
    const paths = Array.from({ length: 8 }, (_, i) => join(dir, `f${i}`));
    for (const path of paths) await writeFile(path, "x");
    const size = (path: string) =>
      handles.use(path, "read", async (f) => {
        await new Promise(setImmediate);
        return (await f.stat()).size;
      });
    await Promise.all(paths.map(size));
    expect(await openHere()).toBeLessThanOrEqual(3);
    await expect(handles.use(join(dir, "none"), "read", async () => 1)).rejects.toThrow("ENOENT");
    const late = paths.map(size);
    await handles.closeUnder(dir);
    await handles.close();
    await Promise.all(late);
    await Promise.all(paths.map(size));
    expect(await openHere()).toBe(0);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});
