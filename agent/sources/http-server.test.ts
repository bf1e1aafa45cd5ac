/** HTTP sources against nginx. */
import { randomBytes } from "node:crypto";
import { mkdir, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { temporaryDir } from "../../test/support/servers.ts";
import { obstacleTo, type RealServer, startNginx } from "../../test/support/source-servers.ts";
import { readAll, testSources } from "./sources.fixture.ts";

const obstacle = obstacleTo("nginx");
const { signal } = new AbortController();

describe.skipIf(obstacle)("http: nginx", () => {
  let folder: Awaited<ReturnType<typeof temporaryDir>>;
  let nginx: RealServer;
  const model = randomBytes(1_200_000);
  const url = (path: string) => `http://127.0.0.1:${nginx.port}/${path}`;

  beforeAll(async () => {
    folder = await temporaryDir();
    const root = join(folder.dir, "root");
    await mkdir(join(root, "d", "sub dir"), { recursive: true });
    await writeFile(join(root, "d", "model.bin"), model);
    await writeFile(join(root, "d", "sub dir", "ü&1.txt"), "small");
    nginx = await startNginx(join(folder.dir, "nginx"), root, "reader:{PLAIN}s3cret-word\n");
  });
  afterAll(async () => {
    await nginx?.stop();
    await folder?.[Symbol.asyncDispose]();
  });

  test("gives a folder by its JSON listing, and ranges of it", async () => {
    const sources = testSources();
    const snapshot = await sources.snapshot(url("d/"), { signal });
    const files = await readAll(snapshot);
    expect([...files.keys()]).toEqual(["model.bin", "sub dir/ü&1.txt"]);
    expect(files.get("model.bin")?.equals(model)).toBe(true);
    const { originUrl } = snapshot;
    const range = { originUrl, path: "model.bin", offset: 1_000_000, bytes: 70_000 };
    const got = await sources.fetchRange(range, { signal });
    expect(Buffer.from(got).equals(model.subarray(1_000_000, 1_070_000))).toBe(true);
    await sources.close();
  });

  test.each(["d/", "d/model.bin"])("tells another revision when a file changes: %s", async (at) => {
    const sources = testSources();
    const before = await sources.revision(url(at), { signal });
    expect(await sources.revision(url(at), { signal })).toBe(before);
    await utimes(join(folder.dir, "root", "d", "model.bin"), 1, at.length);
    expect(await sources.revision(url(at), { signal })).not.toBe(before);
    await sources.close();
  });

  test("wants a password (auth_basic), which is never told", async () => {
    const settings = [{ url: url("private/"), auth: { scheme: "basic", env: "KEY" } }];
    const own = (secret: string) => testSources({ settings, secrets: { KEY: secret } });
    const right = own("reader:s3cret-word");
    expect((await readAll(await right.snapshot(url("private/d/"), { signal }))).size).toBe(2);
    await right.close();
    for (const sources of [testSources(), own("reader:s3cret-wrong")]) {
      const cause = await sources.snapshot(url("private/d/"), { signal }).catch((c: unknown) => c);
      expect(cause).toMatchObject({ code: "FORBIDDEN" });
      expect(JSON.stringify(cause, Object.getOwnPropertyNames(cause))).not.toContain("s3cret");
      await sources.close();
    }
  });

  test("says what to do about an HTML listing", async () => {
    const sources = testSources();
    await expect(sources.snapshot(url("html/d/"), { signal })).rejects.toMatchObject({
      remedy: expect.stringContaining("autoindex_format json"),
    });
    await sources.close();
  });
});
