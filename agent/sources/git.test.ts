import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdir, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { temporaryDir } from "../../test/support/servers.ts";
import {
  obstacleTo,
  type RealServer,
  startGitDaemon,
  startGitHttp,
} from "../../test/support/source-servers.ts";
import { readAll, testSources } from "./sources.fixture.ts";

const obstacle = obstacleTo("git");
const { signal } = new AbortController();
const SECRET = "s3cret of git";
const AUTHORIZATION = `Basic ${Buffer.from(`reader:${SECRET}`).toString("base64")}`;

describe.skipIf(obstacle)("git: real servers", () => {
  let folder: Awaited<ReturnType<typeof temporaryDir>>;
  let servers: RealServer[];
  const model = randomBytes(2_000_000);

  const git = async (...args: string[]) => {
    const identity = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main"];
    const cwd = join(folder.dir, "work");
    return (await promisify(execFile)("git", [...identity, ...args], { cwd })).stdout.trim();
  };
  const commit = async (files: Record<string, string | Buffer>) => {
    for (const [path, content] of Object.entries(files)) {
      const file = join(folder.dir, "work", path);
      await mkdir(dirname(file), { recursive: true });
      await writeFile(file, content, { mode: path.endsWith(".sh") ? 0o755 : 0o644 });
    }
    await git("add", "-A");
    await git("commit", "-qm", "x");
    await git("push", "-q", "../repos/r.git", "HEAD:main", "--tags");
    return git("rev-parse", "HEAD");
  };
  const daemon = () => `git://127.0.0.1:${servers[0]?.port}/r.git`;
  const http = () => `git+http://127.0.0.1:${servers[1]?.port}/r.git`;
  const locked = () => `git+http://127.0.0.1:${servers[2]?.port}/r.git`;
  const own = (name: string, settings: unknown[] = [], secret = `reader:${SECRET}`) =>
    testSources({ cacheDir: join(folder.dir, name), settings, secrets: { KEY: secret } });

  beforeAll(async () => {
    folder = await temporaryDir();
    await mkdir(join(folder.dir, "work"));
    await mkdir(join(folder.dir, "repos"));
    await git("init", "-q");
    await git("init", "-q", "--bare", "../repos/r.git");
    await git("--git-dir=../repos/r.git", "config", "uploadpack.allowFilter", "true");
    await commit({
      "weights/a b.bin": model,
      "weights/weights/ü.txt": "nested",
      "weights/empty": "",
      "run.sh": "#!/bin/sh\n",
    });
    await git("tag", "v0");
    await git("push", "-q", "../repos/r.git", "--tags");
    const root = join(folder.dir, "repos");
    servers = [
      await startGitDaemon(root),
      await startGitHttp(root),
      await startGitHttp(root, AUTHORIZATION),
    ];
  });
  afterAll(async () => {
    for (const server of servers ?? []) await server.stop();
    await folder?.[Symbol.asyncDispose]();
  });

  test("give a tree pinned to its commit, later too (daemon, http-backend)", async () => {
    const before = await git("rev-parse", "HEAD");
    for (const [i, url] of [daemon(), http()].entries()) {
      const sources = own(`pinned-${i}`);
      const snapshot = await sources.snapshot(`${url}?ref=main&path=weights`, { signal });
      expect(snapshot.revision).toBe(before);
      expect(snapshot.originUrl).toBe(`${url}?ref=${before}&path=weights`);
      const files = await readAll(snapshot);
      expect([...files.keys()].sort()).toEqual(["a b.bin", "empty", "weights/ü.txt"]);
      expect(files.get("a b.bin")?.equals(model)).toBe(true);
      await sources.close();
    }
    await git("tag", "-a", "v1", "-m", "first");
    const after = await commit({ "weights/a b.bin": "changed" });
    const elsewhere = own("elsewhere");
    const originUrl = `${http()}?ref=${before}&path=weights`;
    const range = { originUrl, path: "a b.bin", offset: 500_000, bytes: 70_000 };
    const got = await elsewhere.fetchRange(range, { signal });
    expect(Buffer.from(got).equals(model.subarray(500_000, 570_000))).toBe(true);
    const revision = (ref: string) => elsewhere.revision(`${http()}?ref=${ref}`, { signal });
    expect([await revision("main"), await revision("v1"), await revision("HEAD")]).toEqual([
      after,
      before,
      after,
    ]);
    await elsewhere.close();
  });

  test("give one file, and the whole with its modes", async () => {
    const sources = own("whole");
    const one = await sources.snapshot(`${http()}?path=weights/weights/ü.txt`, { signal });
    expect(one.originUrl).toMatch(/path=weights%2Fweights$/);
    expect([...(await readAll(one)).keys()]).toEqual(["ü.txt"]);
    const all = await sources.snapshot(http(), { signal });
    const modes = await Array.fromAsync(all.files, (f) => {
      return Array.fromAsync(f.read({ signal })).then(() => `${f.path} ${f.executable}`);
    });
    expect(modes).toContain("run.sh true");
    expect(modes).toContain("weights/a b.bin false");
    await sources.close();
  });

  test("may be left in the middle of a file", async () => {
    const sources = own("left");
    const { files } = await sources.snapshot(`${http()}?ref=v0&path=weights/a b.bin`, { signal });
    for await (const file of files) {
      for await (const piece of file.read({ signal })) {
        expect(piece.length).toBeLessThan(model.length);
        break;
      }
      break;
    }
    await sources.close();
  });

  test("bring only what is new of a later commit", async () => {
    const sources = own("later");
    await readAll(await sources.snapshot(`${http()}?ref=v1`, { signal }));
    await commit({ "weights/small.txt": "small" });
    const said = servers[1]?.said().length ?? 0;
    const files = await readAll(await sources.snapshot(`${http()}?ref=main`, { signal }));
    expect(files.get("weights/small.txt")?.toString()).toBe("small");
    expect(servers[1]?.said().slice(said)).not.toContain("dumb");
    await sources.close();
  });

  test("want credentials, which nothing repeats", async () => {
    const settings = [{ url: locked(), auth: { scheme: "basic", env: "KEY" } }];
    const right = own("right", settings);
    expect((await readAll(await right.snapshot(locked(), { signal }))).size).toBeGreaterThan(3);
    await right.close();
    for (const sources of [own("none"), own("wrong", settings, "reader:wr0ng-s3cret")]) {
      const cause = await sources.snapshot(locked(), { signal }).catch((c: unknown) => c);
      expect(cause).toMatchObject({ code: "FORBIDDEN" });
      expect(JSON.stringify(cause, Object.getOwnPropertyNames(cause))).not.toContain("s3cret");
      await sources.close();
    }
    const { stdout } = await promisify(execFile)("grep", ["-rlE", SECRET, folder.dir]).catch(
      (cause: { stdout: string }) => cause,
    );
    expect(stdout).toBe("");
  });

  test.each([
    ["NOT_FOUND", "?ref=nothing"],
    ["NOT_FOUND", "?path=nothing"],
    ["USAGE", "?ref=--upload-pack=touch%20x"],
    ["USAGE", "?path=../../etc"],
  ])("refuse with %s: %s", async (code, query) => {
    const sources = own("refused");
    await expect(sources.snapshot(`${http()}${query}`, { signal })).rejects.toMatchObject({ code });
    await sources.close();
  });

  test("refuse what no version can hold (LFS pointers, links)", async () => {
    const sources = own("odd");
    const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${"0".repeat(64)}\nsize 9\n`;
    await commit({ "lfs/model.bin": pointer });
    const lfs = await sources.snapshot(`${http()}?path=lfs`, { signal });
    await expect(readAll(lfs)).rejects.toMatchObject({
      code: "USAGE",
      message: expect.stringContaining("model.bin is a pointer of Git LFS"),
    });
    await symlink("/etc/passwd", join(folder.dir, "work", "link"));
    await commit({});
    await expect(sources.snapshot(http(), { signal })).rejects.toMatchObject({ code: "USAGE" });
    await rm(join(folder.dir, "work", "link"));
    await commit({});
    await sources.close();
  });

  test("lie on a disk only where agent.yaml says so (git+file)", async () => {
    const url = `git+file://${folder.dir}/repos/r.git`;
    const closed = own("closed");
    await expect(closed.revision(url, { signal })).rejects.toMatchObject({ code: "FORBIDDEN" });
    const open = own("open", [{ url: `git+file://${folder.dir}/` }]);
    expect(await open.revision(url, { signal })).toBe(await git("rev-parse", "HEAD"));
    await open.close();
    await closed.close();
  });
});
