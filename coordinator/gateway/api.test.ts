import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { connect, type TLSSocket } from "node:tls";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type Answer,
  type TrustedGateway,
  trustedGateway,
} from "../../test/support/trusted-gateway.ts";
import type { RouteAccess } from "./api-route.ts";

const BY = { name: "user:test", address: "127.0.0.1" };
const BOGUS = `pst1.AAAAAAAAAAAA.${"A".repeat(43)}`;
type Ask = { path: string; method?: string; body?: unknown; headers?: Record<string, string> };

/** One request for each row of the table that is right but for who sends it. */
const SAMPLES: Record<string, Omit<Ask, "path"> & { path?: string }> = {
  "GET /healthz": {},
  "GET /metrics": {},
  "GET /models/:version/:file": { path: "/models/1/model.onnx" },
  "GET /api/v1/ca": {},
  "POST /api/v1/enroll": { body: {} },
  "POST /api/v1/renew": { body: {} },
  "GET /api/v1/openapi.json": {},
  "GET /api/v1/status": {},
  "GET /api/v1/hosts": {},
  "GET /api/v1/plan": { path: "/api/v1/plan?workload=w&includeRefused=true" },
  "GET /api/v1/forecast": { path: "/api/v1/forecast?workload=w" },
  "GET /api/v1/why": { path: "/api/v1/why?target=w" },
  "GET /api/v1/ledger": { path: "/api/v1/ledger?limit=5" },
  "GET /api/v1/doctor": {},
  "GET /api/v1/workloads": {},
  "GET /api/v1/budgets": {},
  "GET /api/v1/artifacts": {},
  "GET /api/v1/stage/:id": { path: "/api/v1/stage/s1" },
  "GET /api/v1/signals": {},
  "GET /api/v1/events": { path: "/api/v1/events?limit=5" },
  "POST /api/v1/events": {
    body: { events: [{ id: "1", summary: "s", start: "2026-11-27T10:00:00+01:00" }] },
  },
  "GET /api/v1/follows": {},
  "POST /api/v1/follows": {
    body: { name: "app", tag: "main", url: "https://x.example/app", everyMs: 60_000 },
  },
  "POST /api/v1/follows/remove": { body: { name: "app", tag: "main" } },
  "POST /api/v1/events/remove": { body: { ids: ["1"] } },
  "GET /api/v1/models": {},
  "POST /api/v1/models": { body: { name: "m", onnx: "AAAA" } },
  "POST /api/v1/models/:name/remove": { path: "/api/v1/models/m/remove", body: {} },
  "POST /api/v1/workloads": { body: { workloads: [] } },
  "POST /api/v1/workloads/:name/remove": { path: "/api/v1/workloads/w/remove", body: {} },
  "GET /api/v1/stages": {},
  "GET /api/v1/staged": { path: "/api/v1/staged?artifact=a" },
  "POST /api/v1/schedules": {
    body: {
      artifact: { name: "a", version: null, tag: "latest" },
      hosts: null,
      cron: { expression: "0 3 * * *", timeZone: "UTC" },
    },
  },
  "POST /api/v1/stages/:id/cancel": { path: "/api/v1/stages/s1/cancel", body: {} },
  "POST /api/v1/stage": { body: { ref: { name: "a", version: "1" }, hosts: null } },
  "POST /api/v1/pause": { body: {} },
  "POST /api/v1/resume": {},
  "POST /api/v1/history": {
    path: "/api/v1/history?source=s&batch=b&part=1",
    body: '{"timestampMs":1,"workload":"w","category":"c","origin":"o","count":2}\n',
    headers: { "content-type": "application/x-ndjson" },
  },
  "POST /api/v1/history/commit": { body: { source: "s", batch: "b", parts: 1, digest: "d" } },
  "POST /api/v1/join-tokens": { body: {} },
  "POST /api/v1/hosts/:host/revoke": { path: "/api/v1/hosts/nobody/revoke", body: {} },
  "GET /api/v1/tokens": {},
  "POST /api/v1/tokens": { body: { name: "made", role: "viewer" } },
  "POST /api/v1/tokens/:name/revoke": { path: "/api/v1/tokens/made/revoke", body: {} },
  "GET /api/v1/publishers": {},
  "POST /api/v1/publishers": { body: { name: "ci", publicKey: "B".repeat(43), names: ["maps-*"] } },
  "POST /api/v1/publishers/:name/distrust": { path: "/api/v1/publishers/hosts/distrust", body: {} },
  "GET /api/v1/audit": { path: "/api/v1/audit?verify=true" },
};
const RANK: Record<string, number> = { viewer: 0, operator: 1, admin: 2 };

let at: TrustedGateway;
const tokens: Record<string, string> = {};

beforeAll(async () => {
  at = await trustedGateway();
  tokens.admin = (await at.trust.firstAdminToken()) ?? "";
  for (const role of ["viewer", "operator"] as const)
    tokens[role] = (await at.trust.access.create({ name: role, role, ttlMs: null }, BY)).token;
});
afterAll(() => at.stop());

const errorOf = ({ text }: Answer) => JSON.parse(text).error;
async function auditRows() {
  await at.trust.audit.flush();
  return at.trust.audit.newest(5_000);
}

describe("api: who may do what", () => {
  test("every row of the table has a sample request here", () => {
    const rows = at.gateway.table.map(({ method, path }) => `${method} ${path}`);
    expect(rows.toSorted()).toEqual(Object.keys(SAMPLES).toSorted());
  });

  test("every route × every caller gets what the table says", async () => {
    const wrong: string[] = [];
    for (const { method, path, access } of at.gateway.table) {
      const sample = SAMPLES[`${method} ${path}`];
      for (const who of ["nobody", "bogus", "viewer", "operator", "admin"]) {
        const token = who === "nobody" ? undefined : (tokens[who] ?? BOGUS);
        const { status } = await at.ask(sample?.path ?? path, { ...sample, method, token });
        if (!asExpected(access, who, status))
          wrong.push(`${method} ${path} (${access}) as ${who}: ${status}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  test("401 and 403 leave an audit line, with the route and not the secret", async () => {
    await at.ask("/api/v1/pause", { method: "POST", token: tokens.viewer, body: {} });
    await at.ask("/api/v1/pause", { method: "POST", token: BOGUS, body: {} });
    const rows = (await auditRows()).filter(({ object }) => object === "/api/v1/pause");
    expect(rows.some((r) => r.actor === "user:viewer" && r.detail.code === "FORBIDDEN")).toBe(true);
    expect(rows.some((r) => r.actor === "unknown" && r.detail.code === "UNAUTHENTICATED")).toBe(
      true,
    );
    const everything = JSON.stringify(await auditRows());
    for (const token of [BOGUS, ...Object.values(tokens)])
      expect(everything).not.toContain(token.split(".")[2]);
  });

  test("joining without a token leaves an audit line", async () => {
    const { status } = await at.ask("/api/v1/enroll", { method: "POST", body: {} });
    expect(status).toBe(400);
    const rows = (await auditRows()).filter(({ object }) => object === "/api/v1/enroll");
    expect(rows[0]).toMatchObject({ action: "api POST", outcome: "refused" });
  });

  test("what changes the fleet leaves an audit line with who did it", async () => {
    await at.ask("/api/v1/resume", { method: "POST", token: tokens.operator });
    const [row] = (await auditRows()).filter(({ action }) => action === "fleet.resume");
    expect(row).toMatchObject({ actor: "user:operator", outcome: "ok", address: "127.0.0.1" });
  });

  test("an unknown path needs a token as well, then is not found", async () => {
    expect((await at.ask("/api/v1/nope")).status).toBe(401);
    expect((await at.ask("/api/v1/nope", { token: tokens.admin })).status).toBe(404);
  });

  test("a token that was revoked is refused at once", async () => {
    const body = { name: "shortlived", role: "viewer" };
    const made = await at.ask("/api/v1/tokens", { method: "POST", token: tokens.admin, body });
    const { token } = JSON.parse(made.text);
    expect((await at.ask("/api/v1/status", { token })).status).toBe(200);
    const path = "/api/v1/tokens/shortlived/revoke";
    await at.ask(path, { method: "POST", token: tokens.admin, body: {} });
    expect((await at.ask("/api/v1/status", { token })).status).toBe(401);
  });

  test("the last lasting admin token cannot be taken away", async () => {
    const path = "/api/v1/tokens/first-admin/revoke";
    const answer = await at.ask(path, { method: "POST", token: tokens.admin, body: {} });
    expect([answer.status, errorOf(answer).code]).toEqual([409, "CONFLICT"]);
  });
});

function asExpected(access: RouteAccess, who: string, status: number): boolean {
  if (access === "public") return status === 200;
  if (access === "join-token") return status === 400;
  if (access === "agent" || access === "agent-cert") return status === 401;
  const rank = RANK[who];
  if (rank === undefined) return status === 401;
  if (rank < (RANK[access] ?? Number.POSITIVE_INFINITY)) return status === 403;
  return status === 200 || status === 404 || status === 409;
}

describe("api: what it takes", () => {
  const post = (path: string, how: Partial<Ask>) =>
    at.ask(path, { method: "POST", token: tokens.operator, ...how });

  test("unknown fields are refused by name, in body and query", async () => {
    const body = { ref: { name: "a", version: "1" }, hosts: null, force: true };
    const answer = await post("/api/v1/stage", { body });
    expect([answer.status, errorOf(answer).code]).toEqual([400, "USAGE"]);
    expect(answer.text).toContain("force");
    expect((await at.ask("/api/v1/plan?wrkload=w", { token: tokens.viewer })).status).toBe(400);
  });

  test.each([
    ["broken JSON", "{", "application/json", 400],
    ["a prototype key", '{"__proto__":{"a":1}}', "application/json", 400],
    ["another type", "a=1", "application/x-www-form-urlencoded", 400],
    ["plain text", "{}", "text/plain", 400],
    ["lines where JSON belongs", "{}\n", "application/x-ndjson", 400],
  ])("a body that is %s is refused", async (_, body, type, status) => {
    const answer = await post("/api/v1/pause", { body, headers: { "content-type": type } });
    expect([answer.status, errorOf(answer).code]).toEqual([status, "USAGE"]);
  });

  test("a body over 1 MiB is refused (16 MiB for workloads, 8 KiB from strangers)", async () => {
    const big = JSON.stringify({ x: "x".repeat(1 << 20) });
    expect((await post("/api/v1/pause", { body: big })).status).toBe(413);
    expect((await post("/api/v1/workloads", { body: big })).status).toBe(400);
    const small = JSON.stringify({ x: "x".repeat(8 << 10) });
    expect((await post("/api/v1/enroll", { body: small })).status).toBe(413);
  });

  test("headers over 16 KiB are refused", async () => {
    const answer = await at.ask("/healthz", { headers: { "x-long": "x".repeat(17 << 10) } });
    expect(answer.status).toBe(431);
  });

  test("TRACE is off and no version is told", async () => {
    const answer = await at.ask("/healthz", { method: "TRACE", token: tokens.viewer });
    expect(answer.status).toBeGreaterThanOrEqual(400);
    expect(answer.text).not.toContain("TRACE /");
    expect(Object.keys(answer.headers)).not.toContain("server");
    expect(Object.keys(answer.headers)).not.toContain("x-powered-by");
  });

  test("TLS before 1.3 is refused", async () => {
    const { port, trust } = at;
    const socket = connect({ port, host: "localhost", ca: trust.caPem, maxVersion: "TLSv1.2" });
    const outcome = await new Promise((resolve) => {
      socket.once("secureConnect", () => resolve("accepted"));
      socket.once("error", (cause) => resolve((cause as NodeJS.ErrnoException).code));
    });
    expect(outcome).toBe("ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION");
  });

  test("errors carry code, message, remedy and details", async () => {
    expect(errorOf(await at.ask("/api/v1/status"))).toEqual({
      code: "UNAUTHENTICATED",
      message: "no bearer token",
      remedy: expect.stringContaining("--context"),
      details: {},
    });
  });

  test("a history part is streamed; a bad line is named", async () => {
    const row = { timestampMs: 1, workload: "w", category: "c", origin: "o", count: 2 };
    const line = `${JSON.stringify(row)}\n`;
    const headers = { "content-type": "application/x-ndjson" };
    const path = "/api/v1/history?source=s&batch=b";
    const good = await post(path, { body: line.repeat(20_000), headers });
    expect(JSON.parse(good.text)).toEqual({ rows: 40_000, duplicate: false });
    const bad = await post(path, { body: `${line}${line.replace("2", '"two"')}`, headers });
    expect(errorOf(bad)).toMatchObject({ code: "USAGE", details: { line: 2 } });
    const broken = await post(path, { body: `${line}{"a`, headers });
    expect(errorOf(broken)).toMatchObject({ code: "USAGE", details: { line: 2 } });
    const failed = (await auditRows()).find(({ action }) => action === "history.stage");
    expect(failed).toMatchObject({ outcome: "failed", object: "s#0", detail: { code: "USAGE" } });
  });

  test("a history part over 16 MiB is refused", async () => {
    const headers = { "content-type": "application/x-ndjson" };
    const row = { timestampMs: 1, workload: "w", category: "c", origin: "o".repeat(100), count: 2 };
    const body = `${JSON.stringify(row)}\n`.repeat(110_000);
    expect(body.length).toBeGreaterThan(16 << 20);
    const answer = await post("/api/v1/history?source=s&batch=b", { body, headers }).catch(
      () => null,
    );
    expect(answer === null || answer.status === 413).toBe(true);
  });

  test("a model's file is for members only, and no other file is", async () => {
    const dir = join(at.dir, "models", "1");
    mkdirSync(dir, { recursive: true });
    writeFileSync(join(dir, "model.onnx"), "weights");
    expect((await at.ask("/models/1/model.onnx", { token: tokens.admin })).status).toBe(401);
    for (const path of ["/models/1/..%2f..%2fca.key", "/models/../ca.key", "/models/1/ca"])
      expect((await at.ask(path, { token: tokens.admin })).status).toBeGreaterThanOrEqual(400);
  });
});

describe("api: the OpenAPI document", () => {
  test("lists every row of the table with its access", async () => {
    const { text } = await at.ask("/api/v1/openapi.json", { token: tokens.viewer });
    const document = JSON.parse(text);
    const listed = Object.entries(document.paths as Record<string, Record<string, object>>).flatMap(
      ([path, methods]) =>
        Object.entries(methods).map(([method, operation]) => ({
          row: `${method.toUpperCase()} ${path.replace(/\{(\w+)\}/g, ":$1")}`,
          access: (operation as Record<string, unknown>)["x-access"],
        })),
    );
    const rows = at.gateway.table.map(({ method, path, access }) => ({
      row: `${method} ${path}`,
      access,
    }));
    const byRow = (a: { row: string }, b: { row: string }) => (a.row < b.row ? -1 : 1);
    expect(listed.toSorted(byRow)).toEqual(rows.toSorted(byRow));
    const ids = Object.values(document.paths as Record<string, Record<string, object>>)
      .flatMap((methods) => Object.values(methods))
      .map((operation) => (operation as Record<string, unknown>).operationId);
    expect(new Set(ids).size).toBe(rows.length);
    expect(document.paths["/api/v1/stage"].post.requestBody).toBeDefined();
  });
});

describe("api: slow callers", () => {
  test("slow headers and slow bodies are cut off (limits of a second)", async () => {
    const slow = await trustedGateway({
      limits: { headersMs: 500, requestMs: 1_000, checkMs: 100, handshakeMs: 5_000 },
    });
    const token = (await slow.trust.firstAdminToken()) ?? "";
    const head = `POST /api/v1/pause HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${token}\r\n`;
    const starts = [
      "GET /healthz HT",
      `${head}content-type: application/json\r\ncontent-length: 9\r\n\r\n{`,
    ];
    const closed = await Promise.all(starts.map((start) => closedAfter(slow, start)));
    expect(closed.every((ms) => ms < 30_000)).toBe(true);
    expect((await slow.ask("/healthz")).status).toBe(200);
    await slow.stop();
  });
});

/** Milliseconds until the gateway closes a connection that sends this and then nothing. */
async function closedAfter({ port, trust }: TrustedGateway, start: string): Promise<number> {
  const sinceMs = performance.now();
  const socket: TLSSocket = connect({ port, host: "localhost", ca: trust.caPem });
  socket.on("error", () => socket.destroy());
  socket.once("secureConnect", () => socket.write(start));
  socket.resume();
  await new Promise((resolve) => socket.once("close", resolve));
  return performance.now() - sinceMs;
}
