import { once } from "node:events";
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { seededRandom } from "../../shared/runtime/random.ts";
import { type PromChunk, PrometheusReader, type PromRange } from "./prometheus.ts";

type Form = { query: string; start: number; end: number; step: number };
type Answerer = (form: Form, res: ServerResponse, authorization: string) => void;

let server: Server;
let url: string;
let asked: Form[];
let answer: Answerer;

/** What a Prometheus with one series of a point per minute says. */
const points: Answerer = ({ start, end, step }, res) => {
  if ((end - start) / step + 1 > 11_000)
    return fail(res, 400, "exceeded maximum resolution of 11,000 points per timeseries");
  const values: [number, string][] = [];
  for (let t = start; t <= end; t += step) values.push([t, "1"]);
  json(res, 200, { status: "success", data: matrix(values), warnings: ["part is missing"] });
};
const matrix = (values: [number, string][]) => ({
  resultType: "matrix",
  result: [{ metric: { a: "b" }, values }],
});
function json(res: ServerResponse, status: number, body: unknown): void {
  res.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}
const fail = (res: ServerResponse, status: number, error: string) =>
  json(res, status, { status: "error", errorType: "x", error });

beforeEach(async () => {
  asked = [];
  answer = points;
  server = createServer(async (req, res) => {
    let body = "";
    for await (const part of req) body += part;
    const form = Object.fromEntries(new URLSearchParams(body));
    const { query = "", start, end, step } = form;
    const numbers = { query, start: Number(start), end: Number(end), step: Number(step) };
    asked.push(numbers);
    answer(numbers, res, req.headers.authorization ?? "");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/prom/`;
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
});

const MINUTE = 60_000;
const RANGE: PromRange = { fromMs: 0, toMs: 30_000 * MINUTE, stepMs: MINUTE };

async function read(range = RANGE, more: { authorization?: string; timeoutMs?: number } = {}) {
  // Waits between attempts are over at once.
  const clock = { now: () => 0, monotonic: () => 0, sleep: async () => {}, after: () => () => {} };
  const reader = new PrometheusReader(
    { url, query: "up", timeoutMs: 5_000, ...more },
    {
      clock,
      random: seededRandom(1),
      signal: new AbortController().signal,
    },
  );
  const chunks: PromChunk[] = [];
  for await (const chunk of reader.chunks(range)) chunks.push(chunk);
  const times = chunks.flatMap(({ series }) => series.flatMap((s) => s.values.map(([t]) => t)));
  return { chunks, times, warnings: [...reader.warnings] };
}

const minutes = (n: number) => Array.from({ length: n }, (_, i) => i * 60);

describe("prometheus", () => {
  test("a long range is asked for in parts, each point once, and warnings are kept", async () => {
    const { times, warnings } = await read();
    expect(times).toEqual(minutes(30_001));
    expect(asked.length).toBeGreaterThan(3);
    expect(asked.every(({ start, end }) => (end - start) / 60 < 10_000)).toBe(true);
    expect(warnings).toEqual(["part is missing"]);
  });

  test("parts get smaller until the server answers (limits of samples, of answers)", async () => {
    answer = (form, res, authorization) =>
      (form.end - form.start) / 60 > 100
        ? fail(res, 422, "query processing would load too many samples into memory")
        : points(form, res, authorization);
    expect((await read({ ...RANGE, toMs: 2_000 * MINUTE })).times).toEqual(minutes(2_001));
  });

  test("gives up when even one step is too much", async () => {
    answer = (_, res) => fail(res, 422, "query processing would load too many samples");
    await expect(read()).rejects.toMatchObject({ code: "TOO_LARGE" });
  });

  test("tries again what may pass (busy, broken connection), and then goes on", async () => {
    let failures = 0;
    answer = (form, res, authorization) => {
      failures++;
      if (failures === 1) return fail(res, 503, "starting");
      if (failures === 2) return void res.destroy();
      if (failures === 3) return void res.writeHead(502).end("<html>");
      points(form, res, authorization);
    };
    expect((await read({ ...RANGE, toMs: 10 * MINUTE })).times).toEqual(minutes(11));
    expect(failures).toBe(4);
  });

  test.each<[string, Answerer, string, RegExp]>([
    ["a bad query", (_, res) => fail(res, 400, "parse error"), "USAGE", /parse error/],
    ["no right", (_, res) => fail(res, 403, "no"), "UNAUTHENTICATED", /--token-file/],
    [
      "something else",
      (_, res) => void res.writeHead(404).end("<html>"),
      "PROTOCOL",
      /base address/,
    ],
    ["a page", (_, res) => void res.writeHead(200).end("<html>"), "PROTOCOL", /not Prometheus/],
    ["always busy", (_, res) => fail(res, 503, "starting"), "UNAVAILABLE", /starting/],
    ["always busy, 429", (_, res) => fail(res, 429, "slow down"), "RATE_LIMITED", /slow down/],
    [
      "a vector",
      (_, res) => json(res, 200, { status: "success", data: { resultType: "vector", result: [] } }),
      "USAGE",
      /vector/,
    ],
  ])("refuses with a code: %s", async (_, answerer, code, message) => {
    answer = answerer;
    const failure = await read().catch((cause: unknown) => cause);
    expect(failure).toMatchObject({ code });
    expect((failure as Error).message).toMatch(message);
  });

  test("proves itself with the header it was given", async () => {
    const seen: string[] = [];
    answer = (form, res, authorization) => {
      seen.push(authorization);
      points(form, res, authorization);
    };
    await read({ ...RANGE, toMs: MINUTE }, { authorization: "Bearer secret" });
    expect(seen).toEqual(["Bearer secret"]);
  });

  test("says that nobody listens", async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    await expect(read()).rejects.toMatchObject({ code: "UNREACHABLE" });
  });
});
