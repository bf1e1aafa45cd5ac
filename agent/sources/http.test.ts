import { createHash, randomBytes } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Handler, ranged, readAll, testSources, webServer } from "./sources.fixture.ts";
import type { Sources } from "./sources.ts";

const content = randomBytes(300_000);
let server: Awaited<ReturnType<typeof webServer>>;
let sources: Sources;
const { signal } = new AbortController();

beforeEach(async () => {
  server = await webServer();
  sources = testSources();
});
afterEach(async () => {
  await sources.close();
  await server.close();
});

const get = (offset = 1000, bytes = 5000, until = signal) =>
  sources.fetchRange(
    { originUrl: `${server.url}/d?v=1`, path: "a b/ü#.bin", offset, bytes },
    { signal: until },
  );
const wanted = (offset = 1000, bytes = 5000) => content.subarray(offset, offset + bytes);
const paths = () => server.requests.map((r) => r.url);

describe("http: a range", () => {
  test("comes over connections that stay open, its path encoded, its query kept", async () => {
    server.state.handler = ranged(content);
    for (let i = 0; i < 12; i++) expect(Buffer.from(await get()).equals(wanted())).toBe(true);
    expect(server.sockets.size).toBeLessThan(3);
    expect(paths()[0]).toBe("/d/a%20b/%C3%BC%23.bin?v=1");
  });

  test("comes from a server that knows no ranges (200 with the whole file)", async () => {
    server.state.handler = (_, response) => void response.end(content);
    expect(Buffer.from(await get(299_000, 1000)).equals(wanted(299_000, 1000))).toBe(true);
    expect(Buffer.from(await get(0, 10)).equals(wanted(0, 10))).toBe(true);
  });

  test("is asked for again after a 503 and after a cut connection", async () => {
    server.state.handler = (request, response) => {
      if (server.requests.length === 1) response.writeHead(503).end("later");
      else if (server.requests.length === 2) request.socket.destroy();
      else ranged(content)(request, response);
    };
    expect(Buffer.from(await get()).equals(wanted())).toBe(true);
    expect(server.requests.length).toBe(3);
  });

  const partOf = (range: string) => (_: IncomingMessage, r: ServerResponse) =>
    void r.writeHead(206, { "content-range": range }).end("other");
  test.each<[string, number, Handler]>([
    ["NOT_FOUND", 1, (_, r) => void r.writeHead(404).end("no")],
    ["FORBIDDEN", 1, (_, r) => void r.writeHead(401).end("no")],
    ["CORRUPT", 1, (_, r) => void r.end("short")],
    ["CORRUPT", 1, partOf("bytes 0-4/9")],
    ["UNREACHABLE", 4, (_, r) => void r.writeHead(500).end()],
  ])("ends in %s after %i attempts (%#)", async (code, attempts, answer) => {
    server.state.handler = answer;
    await expect(get()).rejects.toMatchObject({ code });
    expect(server.requests.length).toBe(attempts);
  });

  test("ends with the abort (the server does not answer)", async () => {
    server.state.handler = () => {};
    const controller = new AbortController();
    const pending = get(0, 10, controller.signal);
    controller.abort(new Error("enough"));
    await expect(pending).rejects.toThrow("enough");
  });
});

describe("http: a whole file", () => {
  const versioned = (etag: string, breakAt: number | null): Handler => {
    return (request, response) => {
      response.setHeader("etag", etag);
      const from = Number(/bytes=(\d+)-/.exec(request.headers.range ?? "")?.[1] ?? 0);
      const same = request.headers["if-range"] === etag;
      const start = same ? from : 0;
      if (start > 0)
        response.writeHead(206, { "content-range": `bytes ${start}-299999/${content.length}` });
      if (breakAt === null || request.method === "HEAD")
        return void response.end(content.subarray(start));
      response.write(content.subarray(start, breakAt), () => request.socket.destroy());
    };
  };
  const breaksOnce = (etags: [string, string]): Handler => {
    let reads = 0;
    return (request, response) => {
      if (request.method === "GET") reads++;
      const etag = reads < 2 ? etags[0] : etags[1];
      versioned(etag, reads < 2 ? 100_000 : null)(request, response);
    };
  };

  test("has its name, its folder as the origin, its ETag as revision", async () => {
    server.state.handler = versioned('"one"', null);
    const snapshot = await sources.snapshot(`${server.url}/d/model.bin`, { signal });
    expect(snapshot).toMatchObject({ revision: '"one"', originUrl: `${server.url}/d/` });
    const files = await readAll(snapshot);
    expect([...files.keys()]).toEqual(["model.bin"]);
    expect(files.get("model.bin")?.equals(content)).toBe(true);
  });

  test("tells its revision without HEAD (405), and refuses a URL that is not encoded", async () => {
    server.state.handler = (request, response) => {
      if (request.method === "HEAD") return void response.writeHead(405).end();
      versioned('"one"', null)(request, response);
    };
    expect(await sources.revision(`${server.url}/d/model.bin`, { signal })).toBe('"one"');
    expect(server.requests.at(-1)?.headers.range).toBe("bytes=0-0");
    const wrong = sources.snapshot(`${server.url}/d/100%.bin`, { signal });
    await expect(wrong).rejects.toMatchObject({ code: "USAGE" });
  });

  test("goes on where the connection broke (same ETag)", async () => {
    server.state.handler = breaksOnce(['"one"', '"one"']);
    const snapshot = await sources.snapshot(`${server.url}/d/model.bin`, { signal });
    expect((await readAll(snapshot)).get("model.bin")?.equals(content)).toBe(true);
    expect(server.requests.at(-1)?.headers["if-range"]).toBe('"one"');
  });

  test("is refused when it changed under way (another ETag after the break)", async () => {
    server.state.handler = breaksOnce(['"one"', '"two"']);
    const snapshot = await sources.snapshot(`${server.url}/d/model.bin`, { signal });
    await expect(readAll(snapshot)).rejects.toMatchObject({
      code: "CONFLICT",
      message: expect.stringContaining("changed while it was read"),
    });
  });

  test("is refused when it changed between the look and the reading", async () => {
    server.state.handler = (request, response) =>
      versioned(request.method === "HEAD" ? '"one"' : '"two"', null)(request, response);
    const snapshot = await sources.snapshot(`${server.url}/d/model.bin`, { signal });
    await expect(readAll(snapshot)).rejects.toMatchObject({ code: "CONFLICT" });
  });

  test("breaks off for good when the server does not say what it was of", async () => {
    server.state.handler = (request, response) => {
      response.write(content.subarray(0, 1000), () => request.socket.destroy());
    };
    const snapshot = await sources
      .snapshot(`${server.url}/d/model.bin`, { signal })
      .catch((cause: unknown) => cause);
    expect(snapshot).toMatchObject({ code: "UNREACHABLE" });
  });
});

describe("http: a folder", () => {
  const files: Record<string, string> = { "a.txt": "first", "sub/b c.txt": "second" };
  const sum = (text: string) => createHash("sha256").update(text).digest("hex");
  const serve =
    (listing: string, body = files): Handler =>
    (request, response) => {
      const path = decodeURIComponent(request.url ?? "").slice("/d/".length);
      const text = path === "LIST" ? listing : body[path];
      if (text === undefined) return void response.writeHead(404).end();
      response.setHeader("etag", `"${sum(text).slice(0, 8)}"`);
      response.end(text);
    };
  const snapshot = () => sources.snapshot(`${server.url}/d/#list=LIST`, { signal });
  const revision = () => sources.revision(`${server.url}/d/#list=LIST`, { signal });

  test("has what the list names, comments aside", async () => {
    server.state.handler = serve("# all\na.txt\n./sub/b c.txt\n\n");
    const got = await readAll(await snapshot());
    expect([...got].map(([path, bytes]) => [path, bytes.toString()])).toEqual(
      Object.entries(files),
    );
  });

  test("is of another revision when a file changes", async () => {
    server.state.handler = serve("a.txt\n");
    const before = await revision();
    expect(await revision()).toBe(before);
    server.state.handler = serve("a.txt\n", { "a.txt": "changed" });
    expect(await revision()).not.toBe(before);
  });

  test("is checked against the sums of the list (sha256sum)", async () => {
    const sums = Object.entries(files).map(([path, text]) => `${sum(text)}  ${path}`);
    server.state.handler = serve(sums.join("\n"));
    expect((await readAll(await snapshot())).size).toBe(2);
    server.state.handler = serve(sums.join("\n"), { ...files, "a.txt": "other" });
    await expect(readAll(await snapshot())).rejects.toMatchObject({ code: "CORRUPT" });
  });

  test("says what to do when nothing lists it", async () => {
    server.state.handler = (_, response) => void response.end("<html>");
    await expect(sources.snapshot(`${server.url}/d/`, { signal })).rejects.toMatchObject({
      remedy: expect.stringContaining("--list"),
    });
  });
});

describe("http: credentials", () => {
  const settings = (url: string) => [{ url, auth: { scheme: "bearer", env: "TOKEN" } }];
  const withToken = (url: string) =>
    testSources({ settings: settings(url), secrets: { TOKEN: "s3cr3t" } });

  test("go to what is below their URL, and nowhere else", async () => {
    server.state.handler = ranged(content);
    const own = withToken(`${server.url}/private`);
    const range = { path: "f", offset: 0, bytes: 10 };
    for (const folder of ["private/x", "private", "privateer", "public"])
      await own.fetchRange({ ...range, originUrl: `${server.url}/${folder}` }, { signal });
    const sent = server.requests.map((r) => r.headers.authorization);
    expect(sent).toEqual(["Bearer s3cr3t", "Bearer s3cr3t", undefined, undefined]);
    await own.close();
  });

  test("follow a redirect on their host, and are kept from another one", async () => {
    const other = await webServer(ranged(content));
    server.state.handler = (request, response) => {
      if (request.url === "/moved/f") return ranged(content)(request, response);
      const to = request.url === "/here/f" ? "/moved/f" : `${other.url}/moved/f`;
      response.writeHead(302, { location: to }).end();
    };
    const own = withToken(`${server.url}/`);
    const range = { path: "f", offset: 5, bytes: 10 };
    for (const folder of ["here", "away"]) {
      const originUrl = `${server.url}/${folder}`;
      const got = await own.fetchRange({ ...range, originUrl }, { signal });
      expect(Buffer.from(got).equals(wanted(5, 10))).toBe(true);
    }
    expect(server.requests.every((r) => r.headers.authorization === "Bearer s3cr3t")).toBe(true);
    expect(other.requests.map((r) => r.headers.authorization)).toEqual([undefined]);
    await own.close();
    await other.close();
  });

  test("are named in the refusal by where they stand, never by what they are", async () => {
    server.state.handler = (_, response) => void response.writeHead(403).end("no s3cr3t");
    const own = withToken(`${server.url}/`);
    const range = { originUrl: `${server.url}/d`, path: "f", offset: 0, bytes: 1 };
    const refused = await own.fetchRange(range, { signal }).catch((cause: unknown) => cause);
    expect(refused).toMatchObject({
      code: "FORBIDDEN",
      remedy: expect.stringContaining("agent.yaml"),
    });
    expect(JSON.stringify(refused, Object.getOwnPropertyNames(refused))).not.toContain("s3cr3t");
    await own.close();
  });
});
