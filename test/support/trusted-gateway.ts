/** A real store, trust room and gateway on a free port, with operations that give fixed answers. */
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { type RequestOptions, request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { API_LIMITS, Gateway } from "../../coordinator/gateway/api.ts";
import type { Operations } from "../../coordinator/gateway/operations.ts";
import { Store } from "../../coordinator/store/store.ts";
import { Trust } from "../../coordinator/trust/trust.ts";
import type { Clock } from "../../shared/runtime/clock.ts";
import { systemClock } from "../../shared/runtime/clock.ts";
import { silentLog } from "../../shared/runtime/log.ts";
import { Metrics } from "../../shared/runtime/metrics.ts";

export type Answer = {
  status: number;
  text: string;
  headers: Record<string, string | string[] | undefined>;
};
export type TrustedGateway = Awaited<ReturnType<typeof trustedGateway>>;

export async function trustedGateway(
  options: {
    clock?: Clock;
    enrollLimits?: { ratePerSecond: number; burst: number };
    limits?: Partial<typeof API_LIMITS>;
  } = {},
) {
  const { clock = systemClock, enrollLimits = { ratePerSecond: 1e3, burst: 1e3 } } = options;
  const dir = mkdtempSync(join(tmpdir(), "prestage-trust-"));
  const store = Store.open(dir);
  const trust = await Trust.open({
    dataDir: dir,
    store,
    clock,
    log: silentLog,
    hostnames: ["localhost", "127.0.0.1"],
    fleet: "test",
    enrollLimits,
  });
  const taken: string[] = [];
  const gateway = new Gateway(
    {
      clock: systemClock,
      trust,
      operations: cannedOperations(trust, taken),
      modelsDir: join(dir, "models"),
      metrics: new Metrics(),
      log: silentLog,
    },
    {
      host: "127.0.0.1",
      port: 0,
      limits: { ...API_LIMITS, drainMs: 100, ...options.limits },
    },
  );
  const stopping = new AbortController();
  const running = gateway.run(stopping.signal);
  const { port } = await gateway.address();
  return {
    dir,
    store,
    trust,
    gateway,
    port,
    url: `https://localhost:${port}`,
    /** What the operations were asked to do, in order. */
    taken,
    ask: (path: string, how: Ask = {}) => ask(port, trust.caPem, path, how),
    async stop() {
      stopping.abort();
      await running;
      await trust.audit.flush();
      await trust.access.flush();
      store.close();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

export type Ask = {
  method?: string;
  token?: string | undefined;
  /** JSON, unless it is text. */
  body?: unknown;
  headers?: Record<string, string>;
  client?: { key: string; cert: string };
};

async function ask(port: number, ca: string, path: string, how: Ask): Promise<Answer> {
  const { method = "GET", token, body, headers = {}, client } = how;
  const payload = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
  const options: RequestOptions = {
    port,
    host: "localhost",
    path,
    method,
    ca,
    agent: false,
    headers: {
      ...(payload === undefined ? {} : { "content-type": "application/json" }),
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...headers,
    },
    ...client,
  };
  const sent = request(options);
  sent.end(payload);
  const [answer] = await once(sent, "response");
  const parts: Buffer[] = [];
  for await (const part of answer) parts.push(part);
  return {
    status: answer.statusCode,
    text: Buffer.concat(parts).toString("utf8"),
    headers: answer.headers,
  };
}

function cannedOperations(trust: Trust, taken: string[]): Operations {
  const canned = <T>(name: string, answer: unknown): T => {
    taken.push(name);
    return answer as T;
  };
  const none = { added: [], changed: [], unchanged: [], removed: [] };
  return {
    status: () => canned("status", { fleet: "test" }),
    hosts: () => canned("hosts", { hosts: [] }),
    plan: () => canned("plan", { orders: [] }),
    forecast: () => canned("forecast", { forecasts: [] }),
    why: (target) => canned("why", { target }),
    ledger: ({ limit }) => canned("ledger", { rows: [], limit }),
    doctor: () => canned("doctor", { checks: [] }),
    workloads: () => canned("workloads", { classes: [], workloads: [] }),
    budgets: () => canned("budgets", { budgets: [] }),
    artifacts: () => canned("artifacts", { artifacts: [] }),
    signals: () => canned("signals", { sources: [], effects: [] }),
    events: () => canned("events", { events: [] }),
    postEvents: async ({ source }) => canned("postEvents", { source }),
    removeEvents: async ({ source }) => canned("removeEvents", { source, removed: 0 }),
    follows: () => canned("follows", { follows: [] }),
    follow: async () => canned("follow", { follows: [] }),
    unfollow: async () => canned("unfollow", { follows: [] }),
    models: () => canned("models", { models: [] }),
    addModel: async ({ name }) => canned("addModel", { name }),
    removeModel: async () => canned("removeModel", { models: [] }),
    apply: async () => canned("apply", none),
    removeWorkload: async (name) => canned("removeWorkload", { ...none, removed: [name] }),
    stage: async ({ ref }) => canned("stage", { id: "s1", ref }),
    stageStatus: (id) => canned("stageStatus", { id }),
    staged: () => canned("staged", { artifacts: [] }),
    stages: () => canned("stages", { stages: [], schedules: [] }),
    schedule: async ({ artifact }) => canned("schedule", { id: "c1", artifact }),
    cancelStage: async () => canned("cancelStage", { stages: [], schedules: [] }),
    pause: async () => canned("pause", { paused: true }),
    resume: async () => canned("resume", { paused: false }),
    stageHistory: async (_query, rows) => {
      let count = 0;
      for await (const row of rows) count += row.count;
      return canned("stageHistory", { rows: count, duplicate: false });
    },
    importHistory: async () => {
      const none = { bins: 0, requests: 0 };
      return canned("importHistory", { ...none, duplicate: false, replaced: none });
    },
    createJoinToken: (request, by) => trust.createJoinToken(request, by),
    revokeHost: async (host, by) => ({ host, epoch: await trust.revoke(host, by) }),
    createApiToken: async (request, by) => ({
      ...(await trust.access.create(request, by)),
      name: request.name,
      role: request.role,
    }),
    apiTokens: () => ({ tokens: trust.access.list() }),
    revokeApiToken: async (name, by) => {
      await trust.access.revoke(name, by);
      return { tokens: trust.access.list() };
    },
    publishers: () => ({ publishers: trust.publishers.views() }),
    trustPublisher: async (request, by) => {
      await trust.publishers.trust(request, by);
      return { publishers: trust.publishers.views() };
    },
    distrustPublisher: async (name, by) => {
      await trust.publishers.distrust(name, by);
      return { publishers: trust.publishers.views() };
    },
    audit: ({ limit, verify }) => ({
      rows: trust.audit.newest(limit),
      head: trust.audit.head(),
      verified: verify ? trust.audit.verify() : null,
    }),
    ca: () => trust.caPem,
    enroll: (request, address) => trust.enroll(request, address),
    renew: (identity, address) => trust.renew(identity, address),
  };
}
