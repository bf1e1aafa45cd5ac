import { randomBytes } from "node:crypto";
import { mkdir, readdir, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { temporaryDir } from "../../test/support/servers.ts";
import { obstacleTo, type RealServer, startRsyncd } from "../../test/support/source-servers.ts";
import { readAll, testSources } from "./sources.fixture.ts";

const obstacle = obstacleTo("rsync");
const { signal } = new AbortController();

describe.skipIf(obstacle)("rsync: a real daemon", () => {
  let folder: Awaited<ReturnType<typeof temporaryDir>>;
  let open: RealServer;
  let locked: RealServer;
  const model = randomBytes(1_500_000);
  const url = (path: string, server = open) => `rsync://127.0.0.1:${server.port}/data/${path}`;
  const own = (options: object = {}) =>
    testSources({ cacheDir: join(folder.dir, "cache"), ...options });

  beforeAll(async () => {
    folder = await temporaryDir();
    const root = join(folder.dir, "root");
    await mkdir(join(root, "m", "deep er"), { recursive: true });
    await writeFile(join(root, "m", "model.bin"), model);
    await writeFile(join(root, "m", "deep er", "ü [1].sh"), "run", { mode: 0o755 });
    open = await startRsyncd(join(folder.dir, "open"), root);
    locked = await startRsyncd(join(folder.dir, "locked"), root, "reader:s3cret-word\n");
  });
  afterAll(async () => {
    await open?.stop();
    await locked?.stop();
    await folder?.[Symbol.asyncDispose]();
  });

  test("gives a tree, one file, and ranges", async () => {
    const sources = own();
    for (const path of ["m/", "m"]) {
      const snapshot = await sources.snapshot(url(path), { signal });
      expect(snapshot.originUrl).toBe(url("m/"));
      const files = await readAll(snapshot);
      expect([...files.keys()]).toEqual(["deep er/ü [1].sh", "model.bin"]);
      expect(files.get("model.bin")?.equals(model)).toBe(true);
    }
    const one = await sources.snapshot(url("m/model.bin"), { signal });
    expect([one.originUrl, [...(await readAll(one)).keys()]]).toEqual([url("m/"), ["model.bin"]]);
    const { files } = await sources.snapshot(url("m/deep%20er/"), { signal });
    expect((await Array.fromAsync(files)).map((f) => [f.path, f.executable])).toEqual([
      ["ü [1].sh", true],
    ]);
    const ranges = [
      ["model.bin", 1_000_000, 70_000, model.subarray(1_000_000, 1_070_000).toString("hex")],
      ["deep er/ü [1].sh", 0, 3, Buffer.from("run").toString("hex")],
    ] as const;
    for (const [path, offset, bytes, wanted] of ranges) {
      const range = { originUrl: url("m/"), path, offset, bytes };
      const got = await sources.fetchRange(range, { signal });
      expect(Buffer.from(got).toString("hex")).toBe(wanted);
    }
    expect(await readdir(join(folder.dir, "cache", "rsync"))).toEqual(["files"]);
    await sources.close();
  });

  test("is of another revision when a file changes", async () => {
    const sources = own();
    const before = await sources.revision(url("m/"), { signal });
    expect(await sources.revision(url("m/"), { signal })).toBe(before);
    await utimes(join(folder.dir, "root", "m", "model.bin"), 1, 1);
    expect(await sources.revision(url("m/"), { signal })).not.toBe(before);
    await sources.close();
  });

  test("wants a password, which is never told", async () => {
    const settings = [{ url: url("", locked), auth: { scheme: "basic", env: "KEY" } }];
    const right = own({ settings, secrets: { KEY: "reader:s3cret-word" } });
    expect((await readAll(await right.snapshot(url("m/", locked), { signal }))).size).toBe(2);
    await right.close();
    for (const sources of [own(), own({ settings, secrets: { KEY: "reader:s3cret-wrong" } })]) {
      const cause = await sources.snapshot(url("m/", locked), { signal }).catch((c: unknown) => c);
      expect(cause).toMatchObject({ code: "FORBIDDEN" });
      expect(JSON.stringify(cause, Object.getOwnPropertyNames(cause))).not.toContain("s3cret");
      await sources.close();
    }
  });

  test.each([
    ["NOT_FOUND", () => url("nothing/")],
    ["NOT_FOUND", () => url("").replace("/data/", "/other/")],
    ["UNREACHABLE", () => "rsync://127.0.0.1:1/data/"],
  ])("ends in %s (%#)", async (code, at) => {
    const sources = own();
    await expect(sources.snapshot(at(), { signal })).rejects.toMatchObject({ code });
    await sources.close();
  });
});
