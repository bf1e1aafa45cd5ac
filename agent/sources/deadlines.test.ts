/** Servers that stall, hang, or are not there: each wait ends, and the error says where and what. */
import { randomBytes } from "node:crypto";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { type Handler, ranged, testSources, webServer } from "./sources.fixture.ts";

const content = randomBytes(300_000);
const { signal } = new AbortController();
const limits = { stallMs: 300 };
const ended: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of ended.splice(0).reverse()) await end();
});

async function serverWith(handler: Handler) {
  const server = await webServer(handler);
  ended.push(server.close);
  return server;
}

/** Takes connections and says nothing on them, or a few words and no more. */
async function mute(words = ""): Promise<number> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => socket.destroy());
    socket.write(words);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  ended.push(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return (server.address() as AddressInfo).port;
}

function sourcesFor(settings: unknown[] = []) {
  const slept: number[] = [];
  const sources = testSources({ settings, limits, slept });
  ended.push(() => sources.close());
  const range = (originUrl: string) =>
    sources.fetchRange({ originUrl, path: "f", offset: 1_000, bytes: 200_000 }, { signal });
  return { sources, slept, range };
}

describe("sources: a range", () => {
  test("is asked for anew when its body stalls half-way", async () => {
    const server = await serverWith((request, response) => {
      if (server.requests.length > 1) return ranged(content)(request, response);
      const [, from, to] = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? "") ?? [];
      const head = { "content-range": `bytes ${from}-${to}/${content.length}` };
      response.writeHead(206, { ...head, "content-length": Number(to) - Number(from) + 1 });
      response.write(content.subarray(Number(from), Number(from) + 50_000));
    });
    const got = await sourcesFor().range(server.url);
    expect(Buffer.from(got).equals(content.subarray(1_000, 201_000))).toBe(true);
    expect(server.requests.length).toBe(2);
  });

  const stalls: Handler = (_, response) => {
    response.writeHead(200, { "content-length": content.length });
    response.write(content.subarray(0, 5_000));
  };
  test.each<[string, () => Promise<string>, object]>([
    [
      "from a server whose body never ends",
      async () => (await serverWith(stalls)).url,
      { code: "TIMEOUT", message: "fell silent", remedy: "sourceLimits.stallMs" },
    ],
    [
      "from a server that takes the request and says nothing",
      async () => `http://127.0.0.1:${await mute()}`,
      { code: "TIMEOUT", message: "fell silent", remedy: "sourceLimits.stallMs" },
    ],
    [
      "from a server that hangs in the TLS handshake",
      async () => `https://127.0.0.1:${await mute()}`,
      { code: "TIMEOUT", message: "does not answer in time", remedy: "firewall" },
    ],
    [
      "from a server that is no TLS server",
      async () => `https://127.0.0.1:${await mute("HTTP/1.1 200 OK\r\n\r\n")}`,
      { code: "UNREACHABLE", message: "127.0.0.1:", remedy: "" },
    ],
    [
      "from a name that is not known",
      async () => "http://no-such-host.invalid",
      { code: "UNREACHABLE", message: "its name is not known", remedy: "DNS" },
    ],
    [
      "from a port that nobody listens on",
      async () => {
        const server = await webServer();
        await server.close();
        return server.url;
      },
      { code: "UNREACHABLE", message: "refuses connections", remedy: "Is it up" },
    ],
  ])("fails, and says where and what to do (%s)", { timeout: 30_000 }, async (_, url, expected) => {
    const at = await url();
    const failure = await sourcesFor()
      .range(at)
      .catch((cause: unknown) => cause);
    const { code, message, remedy } = { message: "", remedy: "", ...expected } as Failure;
    expect(failure).toMatchObject({
      code,
      message: expect.stringContaining(message),
      remedy: expect.stringContaining(remedy),
    });
    expect(failure).toMatchObject({ message: expect.stringContaining(new URL(at).host) });
  });
  type Failure = { code: string; message: string; remedy: string };
});

describe("sources: a server that is overloaded (S3: 503 SlowDown)", () => {
  const slowDown =
    (retryAfter: string, times: number): Handler =>
    (request, response) => {
      if (times-- <= 0) return ranged(content)(request, response);
      response.writeHead(503, { "retry-after": retryAfter });
      response.end("<Error><Code>SlowDown</Code></Error>");
    };
  const at = (server: { url: string }) =>
    sourcesFor([{ url: "s3://models/", endpoint: server.url }]);

  test("is left alone for as long as it says (seconds, a date)", async () => {
    for (const retryAfter of ["7", new Date(Date.now() + 9_000).toUTCString()]) {
      const { range, slept } = at(await serverWith(slowDown(retryAfter, 1)));
      const got = await range("s3://models/v1/");
      expect(Buffer.from(got).equals(content.subarray(1_000, 201_000))).toBe(true);
      expect(slept.length).toBe(1);
      expect(slept[0]).toBeGreaterThanOrEqual(6_900);
    }
  });

  test("is given up at once when it wants to be left alone for long, and named", async () => {
    const server = await serverWith(slowDown("3600", 9));
    const { range, slept } = at(server);
    await expect(range("s3://models/v1/")).rejects.toMatchObject({
      code: "UNREACHABLE",
      message: expect.stringContaining("answers 503"),
      remedy: expect.stringContaining("asked again"),
    });
    expect([slept, server.requests.length]).toEqual([[], 1]);
  });
});
