import { mkdir, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";
import { temporaryDir } from "../../test/support/servers.ts";
import { readAll, testSources } from "./sources.fixture.ts";

const { signal } = new AbortController();
let folder: Awaited<ReturnType<typeof temporaryDir>>;
const url = (path: string) => pathToFileURL(join(folder.dir, path)).href;
const own = () => testSources({ settings: [{ url: url("share/") }] });

beforeEach(async () => {
  folder = await temporaryDir();
  await mkdir(join(folder.dir, "share/m/sub"), { recursive: true });
  await writeFile(join(folder.dir, "share/m/a"), "first");
  await writeFile(join(folder.dir, "share/m/sub/ü b"), "second", { mode: 0o755 });
  await writeFile(join(folder.dir, "private"), "hidden");
});
afterEach(() => folder[Symbol.asyncDispose]());

test("directory: its files, their ranges, and a revision that changes with them", async () => {
  const sources = own();
  const snapshot = await sources.snapshot(url("share/m"), { signal });
  expect([...(await readAll(snapshot))].map(([path, b]) => [path, b.toString()])).toEqual([
    ["a", "first"],
    ["sub/ü b", "second"],
  ]);
  const range = { originUrl: snapshot.originUrl, path: "sub/ü b", offset: 2, bytes: 3 };
  expect(Buffer.from(await sources.fetchRange(range, { signal })).toString()).toBe("con");
  expect(await sources.revision(url("share/m/"), { signal })).toBe(snapshot.revision);
  await writeFile(join(folder.dir, "share/m/a"), "other");
  expect(await sources.revision(url("share/m/"), { signal })).not.toBe(snapshot.revision);
  const past = { ...range, offset: 4, bytes: 9 };
  await expect(sources.fetchRange(past, { signal })).rejects.toMatchObject({ code: "CORRUPT" });
});

test("directory: nothing outside of what agent.yaml names (siblings, dots, links)", async () => {
  const sources = own();
  await mkdir(join(folder.dir, "shared"));
  for (const other of ["shared", "", "share/../shared"])
    await expect(sources.snapshot(url(other), { signal })).rejects.toMatchObject({
      code: "FORBIDDEN",
    });
  const range = { originUrl: url("share/m/"), offset: 0, bytes: 1 };
  for (const path of ["../../private", "link"]) {
    await symlink(join(folder.dir, "private"), join(folder.dir, "share/m/link")).catch(() => null);
    const got = sources.fetchRange({ ...range, path }, { signal });
    await expect(got).rejects.toMatchObject({ code: "NOT_FOUND" });
  }
  await expect(sources.snapshot(url("share/m"), { signal })).rejects.toMatchObject({
    code: "USAGE",
  });
  await rm(join(folder.dir, "share/m/link"));
});
