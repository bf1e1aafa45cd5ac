import { chmod, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { systemClock } from "../../shared/runtime/clock.ts";
import { temporaryDir } from "../../test/support/servers.ts";
import { dockerLogin } from "./docker-config.ts";
import { Programs } from "./program.ts";
import { parseChallenge } from "./registry-auth.ts";
import { readAll, testSources, webServer } from "./sources.fixture.ts";

const signal = AbortSignal.timeout(100_000);
const programs = (path = "/nowhere") => new Programs(systemClock, { PATH: path });
const base64 = (text: string) => Buffer.from(text).toString("base64");

describe("a registry's challenge", () => {
  const bearer = { scheme: "bearer", realm: "https://auth.example/token", service: "r.example" };
  test.each([
    ['Bearer realm="https://auth.example/token",service="r.example"', bearer],
    ['bearer service="r.example", realm="https://auth.example/token", scope="a:b:c,d"', bearer],
    ['Bearer realm="https://auth.example/token"', { ...bearer, service: null }],
    [
      'Basic realm="some realm, with a comma"',
      { scheme: "basic", realm: "some realm, with a comma", service: null },
    ],
    ['Negotiate, Bearer realm="https://auth.example/token",service="r.example"', bearer],
  ])("%s is understood", (header, challenge) => {
    expect(parseChallenge(header)).toEqual(challenge);
  });
  test.each(["", "Negotiate", "Digest realm=x", 'Bearer realm="no url"'])(
    "%j is none that can be met",
    (header) => {
      expect(() => parseChallenge(header)).toThrow(expect.objectContaining({ code: "PROTOCOL" }));
    },
  );
});

describe("a docker config.json", () => {
  const login = { user: "u", password: "p:w" };
  test.each([
    ["r.example:5000", { "r.example:5000": { auth: base64("u:p:w") } }],
    ["r.example", { "https://r.example/": { username: "u", password: "p:w" } }],
    ["docker.io", { "https://index.docker.io/v1/": { auth: base64("u:p:w") } }],
  ])("has the login of %s", async (registry, auths) => {
    const text = JSON.stringify({ auths });
    expect(await dockerLogin(text, registry, programs(), signal)).toEqual(login);
    expect(await dockerLogin(text, "other.example", programs(), signal)).toBeNull();
  });

  test("may name a helper, which is asked for that registry (a password, a token, nothing)", async () => {
    await using temporary = await temporaryDir();
    const helper = join(temporary.dir, "docker-credential-test");
    const answer = (registry: string, user: string, secret: string) =>
      `[ "$server" = "${registry}" ] && echo '{"Username":"${user}","Secret":"${secret}"}' && exit 0`;
    await writeFile(
      helper,
      `#!/bin/sh\nread -r server || true\n${answer("r.example", "u", "p")}\n` +
        `${answer("https://index.docker.io/v1/", "<token>", "t")}\necho none; exit 1\n`,
    );
    await chmod(helper, 0o755);
    const found = programs(`${temporary.dir}:/usr/bin:/bin`);
    const store = JSON.stringify({ credsStore: "test", auths: { "r.example": {} } });
    const ask = (registry: string, text = store) => dockerLogin(text, registry, found, signal);
    expect(await ask("r.example")).toEqual({ user: "u", password: "p" });
    expect(await ask("docker.io")).toEqual({ refreshToken: "t" });
    expect(await ask("other.example")).toBeNull();
    const one = JSON.stringify({ credHelpers: { "r.example": "test" } });
    expect(await ask("r.example", one)).toEqual({ user: "u", password: "p" });
    expect(await ask("docker.io", one)).toBeNull();
    const missing = JSON.stringify({ credsStore: "not-there" });
    await expect(ask("r.example", missing)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    const hostile = JSON.stringify({ credsStore: "../../bin/sh" });
    await expect(ask("r.example", hostile)).rejects.toMatchObject({ code: "CONFIG_INVALID" });
  });

  test("that cannot be read is not repeated in the refusal", async () => {
    const failure: unknown = await dockerLogin(
      `{"auths": "s3cret`,
      "r.example",
      programs(),
      signal,
    ).catch((cause: unknown) => cause);
    expect(failure).toMatchObject({ code: "CONFIG_INVALID" });
    expect(String(failure)).not.toContain("s3cret");
  });
});

test("a login goes to no token server without TLS, unless the registry itself has none", async () => {
  const server = await webServer((request, response) => {
    response.statusCode = 401;
    const realm = `ftp://${request.headers.host}/token`;
    response.setHeader("www-authenticate", `Bearer realm="${realm}",service="x"`);
    response.end();
  });
  const url = `oci://127.0.0.1:${server.port}/app:v1`;
  const sources = testSources({
    settings: [{ url, auth: { scheme: "basic", env: "LOGIN" } }],
    secrets: { LOGIN: "u:p" },
  });
  await expect(sources.revision(url, { signal })).rejects.toMatchObject({ code: "PROTOCOL" });
  expect(server.requests.map((r) => r.headers.authorization)).toEqual([undefined]);
  await sources.close();
  await server.close();
});

test("a registry that gives other bytes than the digest says is refused (manifest, layer)", async () => {
  const layer = { mediaType: "", digest: `sha256:${"1".repeat(64)}`, size: 5 };
  const manifest = JSON.stringify({ schemaVersion: 2, config: layer, layers: [] });
  const server = await webServer((request, response) => {
    response.end(request.url?.includes("/blobs/") ? "wrong" : manifest);
  });
  const sources = testSources();
  const pinned = `oci://127.0.0.1:${server.port}/app@sha256:${"2".repeat(64)}`;
  await expect(sources.snapshot(pinned, { signal })).rejects.toMatchObject({ code: "CORRUPT" });
  const snapshot = await sources.snapshot(`oci://127.0.0.1:${server.port}/app:v1`, { signal });
  await expect(readAll(snapshot)).rejects.toMatchObject({ code: "CORRUPT" });
  await sources.close();
  await server.close();
});
