import { createServer, type RequestListener } from "node:http";
import { expect, test } from "vitest";
import { assert } from "../../shared/runtime/assert.ts";
import { systemClock } from "../../shared/runtime/clock.ts";
import { testWorkload } from "../../test/support/workload.ts";
import { Prober } from "./shadow.ts";

const prober = new Prober({ clock: systemClock, demandClock: systemClock });
const { signal } = new AbortController();

async function serve(listener: RequestListener): Promise<{ port: number } & AsyncDisposable> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  assert(address !== null && typeof address !== "string", "it listens");
  return {
    port: address.port,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const workload = testWorkload("shop", {
  environment: {
    warmup: [
      { path: "/one/{category}", method: "POST", body: "load" },
      { path: "/two", method: "GET" },
    ],
  },
  shadow: {
    request: {
      method: "GET",
      path: "/check?c={category}",
      headers: { "x-category": "{category}" },
    },
    expect: { status: 200, bodyIncludes: "fine", maxMs: 200 },
  },
});

test("shadow: carries its mark and the category, and passes on what is expected", async () => {
  const seen: unknown[] = [];
  await using server = await serve((request, response) => {
    const { headers, url } = request;
    seen.push([url, headers["prestage-shadow"], headers["x-category"]]);
    response.end("all fine here");
  });
  const verdict = await prober.shadow(server.port, workload, "red", { signal });
  expect(verdict).toMatchObject({ passed: true, detail: "" });
  expect(verdict.latencyMs).toBeGreaterThan(0);
  expect(seen).toEqual([["/check?c=red", "1", "red"]]);
});

test.each<[string, RequestListener, RegExp]>([
  [
    "another status",
    (_, response) => response.writeHead(503).end("fine"),
    /^GET \/check\?c=\{category\}: status 503, expected 200$/,
  ],
  ["another body", (_, response) => response.end("ok"), /the body lacks "fine"/],
  ["no answer in time", () => {}, /no whole answer within 200 ms/],
  [
    "an answer that stops",
    (_, response) => {
      response.write("fine");
    },
    /no whole answer within 200 ms|aborted/,
  ],
  ["a broken connection", (request) => request.socket.destroy(), /hang up|ECONNRESET/],
])("shadow: does not pass (%s)", async (_, listener, detail) => {
  await using server = await serve(listener);
  const verdict = await prober.shadow(server.port, workload, "red", { signal });
  expect(verdict.passed).toBe(false);
  expect(verdict.detail).toMatch(detail);
});

test("shadow: does not pass (nobody listens)", async () => {
  const server = await serve(() => {});
  await server[Symbol.asyncDispose]();
  const verdict = await prober.shadow(server.port, workload, "red", { signal });
  expect(verdict).toMatchObject({ passed: false, detail: expect.stringMatching("ECONNREFUSED") });
});

test("shadow: an abort that was asked for is thrown, no verdict", async () => {
  await using server = await serve(() => {});
  const leaving = new AbortController();
  const verdict = prober.shadow(server.port, workload, "red", { signal: leaving.signal });
  const refused = expect(verdict).rejects.toThrow("stop");
  leaving.abort(new Error("stop"));
  await refused;
});

test("warm-up: sends all requests in order, marked, with bodies", async () => {
  const seen: unknown[] = [];
  await using server = await serve(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    seen.push([request.method, request.url, body, request.headers["prestage-shadow"]]);
    response.end();
  });
  await prober.warmup(server.port, workload, "red", { signal });
  expect(seen).toEqual([
    ["POST", "/one/red", "load", "1"],
    ["GET", "/two", "", "1"],
  ]);
});
