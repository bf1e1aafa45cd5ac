import { randomBytes } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { systemClock } from "../../shared/runtime/clock.ts";
import { seededRandom } from "../../shared/runtime/random.ts";
import { HttpSource } from "./http.ts";

type Handler = (request: IncomingMessage, response: ServerResponse) => void;
const content = randomBytes(300_000);
let handler: Handler = () => {};
let requests: string[] = [];
const sockets = new Set<unknown>();
const server = createServer((request, response) => {
  requests.push(request.url ?? "");
  sockets.add(request.socket);
  handler(request, response);
});
let originUrl = "";
let source: HttpSource;

beforeEach(async () => {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  originUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/d?v=1`;
  requests = [];
  sockets.clear();
  // No waiting between attempts: the clock's sleep returns at once.
  const clock = { ...systemClock, sleep: async () => {} };
  source = new HttpSource({ clock, random: seededRandom(1) });
});
afterEach(async () => {
  await source.close();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

const ranged: Handler = (request, response) => {
  const [, from, to] = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? "") ?? [];
  const [start, end] = [Number(from), Number(to)];
  response.writeHead(206, { "content-range": `bytes ${start}-${end}/${content.length}` });
  response.end(content.subarray(start, end + 1));
};
const get = (offset = 1000, bytes = 5000, signal = new AbortController().signal) =>
  source.fetchRange({ originUrl, path: "a b/ü#.bin", offset, bytes }, { signal });
const wanted = (offset = 1000, bytes = 5000) => content.subarray(offset, offset + bytes);

test("origin: a range over connections that stay open, its path encoded, its query kept", async () => {
  handler = ranged;
  for (let i = 0; i < 12; i++) expect(Buffer.from(await get()).equals(wanted())).toBe(true);
  expect(sockets.size).toBeLessThan(3);
  expect(requests[0]).toBe("/d/a%20b/%C3%BC%23.bin?v=1");
});

test("origin: a server that knows no ranges (200 with the whole file)", async () => {
  handler = (_, response) => response.end(content);
  expect(Buffer.from(await get(299_000, 1000)).equals(wanted(299_000, 1000))).toBe(true);
  expect(Buffer.from(await get(0, 10)).equals(wanted(0, 10))).toBe(true);
});

test("origin: tries again after a 503 and after a cut connection", async () => {
  handler = (request, response) => {
    if (requests.length === 1) response.writeHead(503).end("later");
    else if (requests.length === 2) request.socket.destroy();
    else ranged(request, response);
  };
  expect(Buffer.from(await get()).equals(wanted())).toBe(true);
  expect(requests.length).toBe(3);
});

test.each([
  ["NOT_FOUND", 1, (_: IncomingMessage, r: ServerResponse) => r.writeHead(404).end("no")],
  ["CORRUPT", 1, (_: IncomingMessage, r: ServerResponse) => r.end("short")],
  [
    "CORRUPT",
    1,
    (_: IncomingMessage, r: ServerResponse) =>
      r.writeHead(206, { "content-range": "bytes 0-4/9" }).end("other"),
  ],
  ["UNREACHABLE", 4, (_: IncomingMessage, r: ServerResponse) => r.writeHead(500).end()],
] as const)("origin: %s after %i attempts (%#)", async (code, attempts, answer) => {
  handler = answer;
  await expect(get()).rejects.toMatchObject({ code });
  expect(requests.length).toBe(attempts);
});

test("origin: an abort ends the request (the server does not answer)", async () => {
  const controller = new AbortController();
  const pending = get(0, 10, controller.signal);
  controller.abort(new Error("enough"));
  await expect(pending).rejects.toThrow("enough");
});
