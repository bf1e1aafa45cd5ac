import { randomBytes } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { AwsClient } from "aws4fetch";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { temporaryDir } from "../../test/support/servers.ts";
import { obstacleTo, type RealServer, startS3 } from "../../test/support/source-servers.ts";
import { readAll, testSources, webServer } from "./sources.fixture.ts";

const obstacle = obstacleTo("versitygw");
const { signal } = new AbortController();
const SECRET = "s3cret/of+the+store";
const keys = { access: "reader", secret: SECRET, region: "eu-lab-1" };

describe.skipIf(obstacle)("s3: a real store", () => {
  let server: RealServer;
  let folder: Awaited<ReturnType<typeof temporaryDir>>;
  const model = randomBytes(3_000_000);
  const put = async (key: string, bytes: Buffer) => {
    const path = join(folder.dir, "weights", key);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, bytes);
  };
  const own = (over: object = {}, secret = `reader:${SECRET}`) =>
    testSources({
      settings: [
        {
          url: "s3://weights/",
          endpoint: `http://127.0.0.1:${server.port}`,
          region: "eu-lab-1",
          auth: { scheme: "aws", env: "KEYS" },
          ...over,
        },
      ],
      secrets: { KEYS: secret },
    });

  beforeAll(async () => {
    folder = await temporaryDir();
    await put("llama/model.bin", model);
    await put("llama/a b+c/ü(1)&'.txt", Buffer.from("named oddly"));
    await put("other.bin", Buffer.from("other"));
    server = await startS3(folder.dir, keys);
  });
  afterAll(async () => {
    await server?.stop();
    await folder?.[Symbol.asyncDispose]();
  });

  test("gives all below a prefix, and ranges of it", async () => {
    const sources = own();
    for (const url of ["s3://weights/llama/", "s3://weights/llama"]) {
      const snapshot = await sources.snapshot(url, { signal });
      expect(snapshot.originUrl).toBe("s3://weights/llama/");
      const files = await readAll(snapshot);
      expect([...files.keys()].sort()).toEqual(["a b+c/ü(1)&'.txt", "model.bin"]);
      expect(files.get("model.bin")?.equals(model)).toBe(true);
    }
    const originUrl = "s3://weights/llama/";
    const range = { originUrl, path: "model.bin", offset: 1_000_000, bytes: 70_000 };
    const got = await sources.fetchRange(range, { signal });
    expect(Buffer.from(got).equals(model.subarray(1_000_000, 1_070_000))).toBe(true);
    const odd = { originUrl, path: "a b+c/ü(1)&'.txt", offset: 6, bytes: 5 };
    expect(Buffer.from(await sources.fetchRange(odd, { signal })).toString()).toBe("oddly");
    await sources.close();
  });

  test("gives one object, its folder as the origin", async () => {
    const sources = own();
    const snapshot = await sources.snapshot("s3://weights/llama/model.bin", { signal });
    expect(snapshot.originUrl).toBe("s3://weights/llama/");
    expect([...(await readAll(snapshot)).keys()]).toEqual(["model.bin"]);
    await sources.close();
  });

  test("is of another revision when an object changes, comes or goes", async () => {
    const sources = own();
    const revision = () => sources.revision("s3://weights/moving/", { signal });
    const client = new AwsClient({
      accessKeyId: "reader",
      secretAccessKey: SECRET,
      region: "eu-lab-1",
      service: "s3",
    });
    const change = async (method: string, key: string, body: string | null) => {
      const url = `http://127.0.0.1:${server.port}/weights/moving/${key}`;
      expect((await client.fetch(url, { method, body })).ok).toBe(true);
      return revision();
    };
    const seen = [await change("PUT", "a", "one")];
    expect(await revision()).toBe(seen[0]);
    seen.push(await change("PUT", "a", "two"));
    seen.push(await change("PUT", "b", "one"));
    seen.push(await change("DELETE", "a", null));
    expect(new Set(seen).size).toBe(4);
    await sources.close();
  });

  test("lists over many pages (2,500 objects)", async () => {
    const names = Array.from({ length: 2_500 }, (_, i) => `many/${i}`);
    for (const name of names) await put(name, Buffer.from(name));
    const sources = own();
    const { files } = await sources.snapshot("s3://weights/many/", { signal });
    const listed = await Array.fromAsync(files, (file) => `many/${file.path}`);
    expect(listed.sort()).toEqual(names.sort());
    await sources.close();
  });

  test.each([
    ["FORBIDDEN", {}, "reader:wrong-s3cret"],
    ["CONFIG_INVALID", {}, ""],
    ["FORBIDDEN", { auth: undefined }, ""],
  ])("refuses in words without secrets: %s (%#)", async (code, over, secret) => {
    const sources = own(over, secret);
    const cause = await sources.snapshot("s3://weights/llama/", { signal }).catch((c) => c);
    expect(cause).toMatchObject({ code });
    expect(JSON.stringify(cause, Object.getOwnPropertyNames(cause))).not.toContain("s3cret");
    await sources.close();
  });

  test("takes the profile of a credentials file", async () => {
    const file = join(folder.dir, "credentials");
    await writeFile(
      file,
      `[default]\naws_access_key_id = x\naws_secret_access_key = y\n\n[lab]\n` +
        `aws_access_key_id = reader\naws_secret_access_key = ${SECRET}\n`,
    );
    const sources = own({ auth: { scheme: "aws", file, profile: "lab" } });
    expect(await sources.revision("s3://weights/other.bin", { signal })).not.toBe("");
    await sources.close();
  });

  test("is not there: NOT_FOUND", async () => {
    const sources = own();
    for (const url of ["s3://weights/nothing/", "s3://weights/nothing"])
      await expect(sources.snapshot(url, { signal })).rejects.toMatchObject({ code: "NOT_FOUND" });
    await sources.close();
  });
});

test("s3: says that the endpoint is no store", async () => {
  const web = await webServer((_, response) => void response.end("<html></html>"));
  const sources = testSources({ settings: [{ url: "s3://b/", endpoint: web.url }] });
  await expect(sources.revision("s3://b/x/", { signal })).rejects.toMatchObject({
    code: "PROTOCOL",
  });
  await sources.close();
  await web.close();
});
