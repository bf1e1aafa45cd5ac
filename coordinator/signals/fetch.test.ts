import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { systemClock } from "../../shared/runtime/clock.ts";
import { allowed } from "./addresses.ts";
import { addressOf, type FetchOptions, fetchSource } from "./fetch.ts";
import { type FetchedSource, SignalSettings } from "./settings.ts";

type Handler = (request: IncomingMessage, response: ServerResponse) => void;
const handlers = new Map<string, Handler>();
const seen: IncomingMessage[] = [];
const serve: Handler = (request, response) => {
  seen.push(request);
  const handler = handlers.get(request.url ?? "");
  if (handler) handler(request, response);
  else response.writeHead(404).end();
};
const [server, other] = [createServer(serve), createServer(serve)];
let base = "";
let otherBase = "";
let dir = "";

beforeAll(async () => {
  for (const s of [server, other])
    await new Promise<void>((done) => s.listen(0, "127.0.0.1", done));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  otherBase = `http://127.0.0.1:${(other.address() as AddressInfo).port}`;
  dir = await mkdtemp(join(tmpdir(), "prestage-fetch-"));
});
afterAll(async () => {
  for (const s of [server, other]) s.close();
  await rm(dir, { recursive: true, force: true });
});

const sourceOf = (of: object): FetchedSource => {
  const source = { name: "a", type: "calendar", privateNetwork: true, ...of };
  const rules = [{ to: [{ workload: "w" }] }];
  const [parsed] = SignalSettings.parse({ sources: [{ ...source, rules }] }).sources;
  if (parsed?.type !== "calendar") throw new Error("no calendar");
  return parsed;
};
const options: FetchOptions = {
  clock: systemClock,
  signal: new AbortController().signal,
  bytesMax: 10_000,
  timeoutMs: 20_000,
  env: { URL_OF_IT: "", TOKEN: "s3cret" },
};
const none = { etag: null, lastModified: null };
const get = (of: object, known = none as Parameters<typeof fetchSource>[1], more: object = {}) =>
  fetchSource(sourceOf(of), known, { ...options, ...more });

describe("fetch: what comes", () => {
  test("a body with its validators, then nothing new", async () => {
    handlers.set("/cal", (request, response) => {
      const fresh = request.headers["if-none-match"] === '"v1"';
      expect(request.headers["if-modified-since"]).toBe(
        fresh ? "Fri, 27 Nov 2026 10:00:00 GMT" : undefined,
      );
      response.writeHead(fresh ? 304 : 200, {
        etag: '"v1"',
        "last-modified": "Fri, 27 Nov 2026 10:00:00 GMT",
        "cache-control": "private, max-age=3600",
      });
      response.end(fresh ? undefined : "hello");
    });
    const first = await get({ url: `${base}/cal` });
    expect(first).toMatchObject({ kind: "new", etag: '"v1"', maxAgeMs: 3_600_000 });
    if (first.kind !== "new") throw new Error("not new");
    expect(Buffer.from(first.body).toString()).toBe("hello");
    expect(await get({ url: `${base}/cal` }, first)).toMatchObject({ kind: "unchanged" });
  });

  test("secrets come from files and variables, and go to their origin only", async () => {
    handlers.set("/own", (request, response) => {
      expect(request.headers.authorization).toBe("Bearer s3cret");
      response.writeHead(302, { location: `${otherBase}/away` }).end();
    });
    handlers.set("/away", (request, response) => {
      expect(request.headers.authorization).toBeUndefined();
      response.end("ok");
    });
    expect(await get({ url: `${base}/own`, auth: { env: "TOKEN" } })).toMatchObject({
      kind: "new",
    });
    const file = join(dir, "secret");
    await writeFile(file, "me:pass\n");
    handlers.set("/basic", (request, response) => {
      response.end(request.headers.authorization);
    });
    const basic = await get({ url: `${base}/basic`, auth: { scheme: "basic", file } });
    expect(basic.kind === "new" && Buffer.from(basic.body).toString()).toBe(
      `Basic ${Buffer.from("me:pass").toString("base64")}`,
    );
    const env = { URL_OF_IT: `${base}/basic` };
    expect(await get({ urlEnv: "URL_OF_IT" }, none, { env })).toMatchObject({ kind: "new" });
  });

  test("a file, and nothing new while it stays", async () => {
    const file = join(dir, "a.ics");
    await writeFile(file, "x");
    const first = await get({ file });
    if (first.kind !== "new") throw new Error("not new");
    expect(await get({ file }, first)).toEqual({ kind: "unchanged", maxAgeMs: null });
    await writeFile(file, "xy");
    expect((await get({ file }, first)).kind).toBe("new");
  });
});

describe("fetch: what is refused", () => {
  const refusal = async (of: object, more: object = {}) =>
    get(of, none, more).then(
      () => "ok",
      (cause: { code?: string; message: string }) => {
        expect(cause.message).not.toMatch(/s3cret|token=/);
        return cause.code;
      },
    );

  test.each([
    [401, "UNAUTHENTICATED"],
    [404, "NOT_FOUND"],
    [429, "RATE_LIMITED"],
    [503, "UNAVAILABLE"],
    [418, "PROTOCOL"],
  ])("an answer of %i", async (status, code) => {
    handlers.set("/status?token=1", (_, response) => {
      response.writeHead(status, { "retry-after": "120" }).end();
    });
    const failed = await get({ url: `${base}/status?token=1` }).catch((cause: unknown) => cause);
    expect(failed).toMatchObject({ code, details: { status, retryAfterMs: 120_000 } });
    expect(String(failed)).not.toContain("token=1");
  });

  test("too much, also without a length", async () => {
    handlers.set("/big", (_, response) => {
      for (let i = 0; i < 20; i++) response.write("x".repeat(1_000));
      response.end();
    });
    expect(await refusal({ url: `${base}/big` })).toBe("TOO_LARGE");
    const file = join(dir, "big");
    await writeFile(file, "x".repeat(20_000));
    expect(await refusal({ file })).toBe("TOO_LARGE");
  });

  test("too slow (the body never ends)", async () => {
    handlers.set("/slow", (_, response) => {
      response.write("x");
    });
    expect(await refusal({ url: `${base}/slow` }, { timeoutMs: 300 })).toBe("TIMEOUT");
  });

  test("redirects without end, to another scheme, to nowhere", async () => {
    const to = (path: string, location: string) =>
      handlers.set(path, (_, response) => {
        response.writeHead(301, { location }).end();
      });
    to("/loop", "/loop");
    to("/scheme", "file:///etc/passwd");
    to("/nowhere", "http://");
    expect(await refusal({ url: `${base}/loop` })).toBe("PROTOCOL");
    expect(await refusal({ url: `${base}/scheme` })).toBe("FORBIDDEN");
    expect(await refusal({ url: `${base}/nowhere` })).toBe("PROTOCOL");
  });

  test("private addresses unless the source may, by name too; metadata services never", async () => {
    const before = seen.length;
    expect(await refusal({ url: `${base}/cal`, privateNetwork: false })).toBe("FORBIDDEN");
    const named = base.replace("127.0.0.1", "localhost");
    expect(await refusal({ url: `${named}/cal`, privateNetwork: false })).toBe("FORBIDDEN");
    expect(await refusal({ url: "http://169.254.169.254/latest" })).toBe("FORBIDDEN");
    handlers.set("/meta", (_, response) => {
      response.writeHead(302, { location: "http://169.254.169.254/latest" }).end();
    });
    expect(await refusal({ url: `${base}/meta` })).toBe("FORBIDDEN");
    expect(seen.length).toBe(before + 1);
  });

  test("nobody there, and secrets that are not", async () => {
    expect(await refusal({ url: "http://127.0.0.1:1/x" })).toBe("UNREACHABLE");
    expect(await refusal({ url: `${base}/cal`, auth: { env: "NOT_SET" } })).toBe("CONFIG_INVALID");
    expect(await refusal({ urlFile: join(dir, "none") })).toBe("CONFIG_INVALID");
    expect(await refusal({ urlEnv: "URL_OF_IT" })).toBe("CONFIG_INVALID");
  });

  test("an abort is passed on", async () => {
    handlers.set("/wait", () => {});
    const control = new AbortController();
    const waiting = get({ url: `${base}/wait` }, none, { signal: control.signal });
    control.abort(new Error("stopping"));
    await expect(waiting).rejects.toThrow("stopping");
  });
});

test("addresses: shown without what may be secret", () => {
  expect(addressOf(sourceOf({ url: "https://x.example/private-abc/basic.ics?key=1" }))).toBe(
    "https://x.example/…",
  );
  expect(addressOf(sourceOf({ urlEnv: "URL_OF_IT" }))).toBe("(URL of URL_OF_IT)");
});

test.each([
  ["8.8.8.8", false, true],
  ["10.1.2.3", false, false],
  ["10.1.2.3", true, true],
  ["::ffff:10.1.2.3", false, false],
  ["::ffff:a01:203", false, false],
  ["::ffff:169.254.169.254", true, false],
  ["169.254.169.254", true, false],
  ["fe80::1", true, false],
  ["fd00::1", false, false],
  ["fd00:ec2::254", true, false],
  ["2606:4700::1111", false, true],
  ["0.0.0.0", true, false],
  ["not an address", true, false],
])("addresses: %s (private network: %s) → %s", (address, privateNetwork, may) => {
  expect(allowed(address, privateNetwork)).toBe(may);
});
