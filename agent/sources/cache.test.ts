import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { temporaryDir } from "../../test/support/servers.ts";
import { FileCache } from "./cache.ts";

let folder: Awaited<ReturnType<typeof temporaryDir>>;
beforeEach(async () => {
  folder = await temporaryDir();
});
afterEach(() => folder[Symbol.asyncDispose]());

const cache = (bytesMax: number) => new FileCache({ dir: join(folder.dir, "c"), bytesMax });
const part = { offset: 1, bytes: 3 };

test("cache: fetches a file once, for all who want it at once and later", async () => {
  let fetched = 0;
  const files = cache(100);
  const get = () =>
    files.range("k", part, async (path) => {
      fetched++;
      await writeFile(path, "0123456789");
    });
  const got = await Promise.all([get(), get(), get()]);
  expect(got.map((b) => Buffer.from(b).toString())).toEqual(["123", "123", "123"]);
  await get();
  expect(fetched).toBe(1);
});

test("cache: stays within its limit, the least recently used go first, also after a restart", async () => {
  const write = async (path: string) => writeFile(path, "x".repeat(40));
  const files = cache(100);
  await files.range("a", part, write);
  await files.range("b", part, write);
  await files.range("a", part, write);
  await files.range("c", part, write);
  expect(files.bytes).toBe(80);
  let again = 0;
  const counted = async (path: string) => {
    again++;
    await write(path);
  };
  const later = cache(100);
  await later.range("a", part, counted);
  await later.range("c", part, counted);
  expect(again).toBe(0);
  await later.range("b", part, counted);
  expect([again, later.bytes]).toEqual([1, 80]);
});

test("cache: keeps nothing of a fetch that failed or was too large", async () => {
  const files = cache(100);
  const failing = files.range("k", part, async (path) => {
    await writeFile(path, "half");
    throw new Error("broke off");
  });
  await expect(failing).rejects.toThrow("broke off");
  const large = files.range("k", part, (path) => writeFile(path, "x".repeat(101)));
  await expect(large).rejects.toMatchObject({ code: "TOO_LARGE" });
  expect(await readdir(join(folder.dir, "c"))).toEqual([]);
});
