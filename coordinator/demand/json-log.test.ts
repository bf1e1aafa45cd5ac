import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CommonLog } from "./access-log.ts";
import { parseJsonLine } from "./json-log.ts";
import { UTC } from "./timestamp.ts";

const parse = (value: unknown) =>
  parseJsonLine(typeof value === "string" ? value : JSON.stringify(value), new CommonLog(), UTC);
const AT = Date.UTC(2026, 0, 2, 3, 4, 5);

/** As the servers' own documentation shows their lines. */
const LINES: [
  string,
  Record<string, unknown>,
  { host: string | null; url: string; origin: string },
][] = [
  [
    "nginx, log_format with escape=json",
    {
      time_iso8601: "2026-01-02T03:04:05+00:00",
      remote_addr: "10.0.0.9",
      host: "shop.example",
      request: "GET /shop/red?x=1 HTTP/1.1",
      status: "200",
    },
    { host: "shop.example", url: "/shop/red?x=1", origin: "10.0.0.9" },
  ],
  [
    "nginx, uri and args apart",
    { msec: "1767323045.000", vhost: "shop.example:443", uri: "/shop/red", args: "x=1" },
    { host: "shop.example", url: "/shop/red?x=1", origin: "" },
  ],
  [
    "Caddy",
    {
      level: "info",
      ts: 1767323045.0002,
      logger: "http.log.access",
      msg: "handled request",
      request: {
        remote_ip: "10.0.0.9",
        proto: "HTTP/2.0",
        method: "GET",
        host: "shop.example",
        uri: "/shop/red?x=1",
        headers: { "X-Camera": ["door"] },
      },
      status: 200,
    },
    { host: "shop.example", url: "/shop/red?x=1", origin: "10.0.0.9" },
  ],
  [
    "Traefik",
    {
      ClientAddr: "10.0.0.9:3301",
      RequestHost: "shop.example",
      RequestMethod: "GET",
      RequestPath: "/shop/red?x=1",
      "request_X-Camera": "door",
      StartUTC: "2026-01-02T03:04:05Z",
      level: "info",
      msg: "",
    },
    { host: "shop.example", url: "/shop/red?x=1", origin: "10.0.0.9" },
  ],
  [
    "Envoy",
    {
      start_time: "2026-01-02T03:04:05.000Z",
      ":authority": "shop.example",
      ":path": "/shop/red?x=1",
    },
    { host: "shop.example", url: "/shop/red?x=1", origin: "" },
  ],
  [
    "a cloud load balancer",
    {
      timestamp: "2026-01-02T03:04:05.123456Z",
      httpRequest: { requestUrl: "https://shop.example/shop/red?x=1", remoteIp: "10.0.0.9" },
    },
    { host: "shop.example", url: "/shop/red?x=1", origin: "10.0.0.9" },
  ],
  [
    "a container runtime around combined format",
    {
      log: '10.0.0.9 - - [02/Jan/2026:03:04:05 +0000] "GET /shop/red?x=1 HTTP/1.1" 200 5 "-" "curl"\n',
      stream: "stdout",
      time: "2026-01-02T03:04:06Z",
    },
    { host: null, url: "/shop/red?x=1", origin: "10.0.0.9" },
  ],
  [
    "a container runtime around JSON",
    {
      log: '{"ts":1767323045,"host":"shop.example","uri":"/shop/red?x=1"}\n',
      time: "2026-01-02T03:04:06Z",
    },
    { host: "shop.example", url: "/shop/red?x=1", origin: "" },
  ],
];

describe("json log", () => {
  test.each(LINES)("reads %s", (_, line, expected) => {
    const parsed = parse(line);
    expect(parsed).toMatchObject({ ...expected, count: 1 });
    expect("timestampMs" in parsed && Math.floor(parsed.timestampMs / 1000)).toBe(AT / 1000);
  });

  test.each([
    ["Caddy's object of lists", LINES[2]?.[1], "door"],
    ["Traefik's request_", LINES[3]?.[1], "door"],
    ["nginx's http_", { ts: 1, uri: "/", http_x_camera: "door" }, "door"],
    ["none", { ts: 1, uri: "/" }, undefined],
  ])("finds headers: %s", (_, line, value) => {
    const parsed = parse(line);
    expect("header" in parsed && parsed.header("x-camera")).toBe(value);
  });

  test.each([
    ["{", "not JSON"],
    ["[1]", "not a JSON object"],
    ["null", "not a JSON object"],
    ['{"uri":"/"}', "no time"],
    ['{"uri":"/","time":"soon"}', "no time"],
    ['{"uri":"/","time":1,"count":1.5}', "count"],
    ['{"uri":"/","time":1,"count":-1}', "count"],
  ])("%s is bad: %s", (line, problem) => {
    expect(parse(line)).toEqual({ problem: expect.stringContaining(problem) });
  });

  test("takes names and counts that the line itself gives", () => {
    const line = { time: "2026-01-02T03:04:05Z", workload: "w", category: "c", count: 7 };
    expect(parse(line)).toMatchObject({ workload: "w", category: "c", count: 7, url: null });
  });

  test("survives any JSON (a problem or a request, nothing thrown)", () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        const parsed = parse(text);
        if (!("problem" in parsed)) expect(Number.isFinite(parsed.timestampMs)).toBe(true);
      }),
    );
  });
});
