import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type MadeImage, makeImage } from "../../test/support/image.ts";
import {
  LOGIN,
  push,
  registryObstacle,
  startRegistry,
  type TestRegistry,
} from "../../test/support/registry.ts";
import { temporaryDir } from "../../test/support/servers.ts";
import { ownPlatform } from "./platforms.ts";
import { readAll, testSources } from "./sources.fixture.ts";

const obstacle = registryObstacle();
if (obstacle && process.env.CI === "true") throw new Error(`registry: ${obstacle}`);
const title = obstacle ? `container images (skipped: ${obstacle})` : "container images";
const signal = AbortSignal.timeout(600_000);
const own = `linux/${ownPlatform().architecture}`;
const other = own === "linux/s390x" ? "linux/amd64" : "linux/s390x";

const sourceWith = (settings: object[] = [], secrets: Record<string, string> = {}) =>
  testSources({ settings, secrets });

describe.skipIf(obstacle !== null)(title, () => {
  let temporary: Awaited<ReturnType<typeof temporaryDir>>;
  let registry: TestRegistry;
  let made: MadeImage;
  beforeAll(async () => {
    temporary = await temporaryDir();
    registry = await startRegistry(join(temporary.dir, "registry"));
    const layout = join(temporary.dir, "layout");
    const platforms = [own, other];
    made = await makeImage(layout, {
      tag: "v1",
      platforms,
      layerBytes: [400_000, 90_000],
      seed: 1,
    });
    await push(layout, "v1", `${registry.host}/team/app:v1`);
  });
  afterAll(async () => {
    await registry.stop();
    await temporary[Symbol.asyncDispose]();
  });

  test("become a layout of the host's own platform, or of all (a tag of an index)", async () => {
    const source = sourceWith();
    const url = `oci://${registry.host}/team/app:v1`;
    const one = await source.snapshot(url, { signal });
    expect(one.originUrl).toBe(`${url}@${made.digest}`);
    expect(await source.revision(url, { signal })).toBe(one.revision);
    const tree = await readAll(one);
    const [mine] = made.images;
    for (const digest of [made.digest, mine?.digest ?? "", ...(mine?.layers ?? [])])
      expect(tree.get(`blobs/${digest.replace(":", "/")}`)).toEqual(made.blobs.get(digest));
    // Index, manifest, config, two layers, and the two files of a layout.
    expect(tree.size).toBe(7);

    const all = await readAll(await source.snapshot(`${url}?platform=all`, { signal }));
    const digests = [...all.keys()].filter((path) => path.startsWith("blobs/")).sort();
    expect(digests).toEqual(
      [...made.blobs.keys()].map((d) => `blobs/${d.replace(":", "/")}`).sort(),
    );
    const none = await readAll(await source.snapshot(`${url}?platform=none`, { signal }));
    expect(none.size).toBe(3);
    await expect(source.snapshot(`${url}?platform=linux/mips`, { signal })).rejects.toMatchObject({
      code: "NOT_FOUND",
      remedy: expect.stringContaining(other),
    });
  });

  test("give any range of any file of the tree again, from the pinned origin", async () => {
    const source = sourceWith();
    const snapshot = await source.snapshot(`oci://${registry.host}/team/app:v1`, {
      signal,
    });
    const { originUrl } = snapshot;
    const tree = await readAll(snapshot);
    const fresh = sourceWith();
    for (const [path, bytes] of tree) {
      const offset = bytes.length >> 1;
      const part = { originUrl, path, offset, bytes: bytes.length - offset };
      expect(Buffer.from(await fresh.fetchRange(part, { signal }))).toEqual(bytes.subarray(offset));
    }
    const beyond = { originUrl, path: "index.json", offset: 0, bytes: 10_000 };
    await expect(fresh.fetchRange(beyond, { signal })).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  test("are told apart from what is not there, and named in the refusal", async () => {
    const source = sourceWith();
    for (const path of ["team/app:v9", "team/none:v1", `team/app@sha256:${"0".repeat(64)}`])
      await expect(
        source.snapshot(`oci://${registry.host}/${path}`, { signal }),
      ).rejects.toMatchObject({ code: "NOT_FOUND", message: expect.stringContaining("team/") });
  });

  for (const auth of ["basic", "token"] as const)
    test(`are read with a login by ${auth}, which appears in no error`, async () => {
      const guarded = await startRegistry(join(temporary.dir, auth), { auth });
      await push(join(temporary.dir, "layout"), "v1", `${guarded.host}/team/app:v1`);
      const url = `oci://${guarded.host}/team/app:v1`;
      const secret = `${LOGIN.user}:${LOGIN.password}`;
      const config = join(temporary.dir, `${auth}.json`);
      const encoded = Buffer.from(secret).toString("base64");
      await writeFile(config, JSON.stringify({ auths: { [guarded.host]: { auth: encoded } } }));
      const at = `oci://${guarded.host}`;
      const byVariable = sourceWith([{ url: at, auth: { scheme: "basic", env: "LOGIN" } }], {
        LOGIN: secret,
      });
      const byDocker = sourceWith([{ url: at, auth: { scheme: "docker", file: config } }]);
      for (const source of [byVariable, byDocker]) {
        const tree = await readAll(await source.snapshot(url, { signal }));
        expect(tree.size).toBe(7);
      }
      const wrong = sourceWith([{ url: at, auth: { scheme: "basic", env: "LOGIN" } }], {
        LOGIN: `${LOGIN.user}:not-this-one`,
      });
      for (const source of [sourceWith(), wrong]) {
        const failure: unknown = await source.snapshot(url, { signal }).catch((cause) => cause);
        expect(failure).toMatchObject({ code: "FORBIDDEN" });
        expect(JSON.stringify(failure, Object.getOwnPropertyNames(failure))).not.toMatch(
          /not-this-one|s3cret|Basic|Bearer/,
        );
      }
      expect(await readFile(config, "utf8")).toContain(encoded);
      await guarded.stop();
    });
});
