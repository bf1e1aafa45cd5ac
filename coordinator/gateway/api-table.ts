/** The table of the HTTP API: every route there is. */

import { z } from "zod";
import {
  ApiTokenGiven,
  ApiTokenList,
  ApiTokenRequest,
  Applied,
  ArtifactList,
  AuditQuery,
  AuditView,
  DoctorView,
  Enrolled,
  EnrollRequest,
  ForecastQuery,
  ForecastView,
  HistoryRow,
  HostList,
  ImportCommit,
  Imported,
  ImportQuery,
  ImportStaged,
  JoinTokenGiven,
  JoinTokenRequest,
  LedgerList,
  LedgerQuery,
  Paused,
  PlanQuery,
  PlanView,
  Revoked,
  Status,
  WhyQuery,
  WhyView,
  WorkloadList,
} from "../../shared/api.ts";
import { BudgetList } from "../../shared/api-budgets.ts";
import { HostId, Name } from "../../shared/domain.ts";
import { PrestageError } from "../../shared/errors.ts";
import { WorkloadsFile } from "../../shared/workload.ts";
import { followRoutes } from "./api-follows.ts";
import { HISTORY_BYTES_MAX, historyRows } from "./api-history.ts";
import { modelRoutes } from "./api-models.ts";
import { publisherRoutes } from "./api-publishers.ts";
import { callerOf, type Route, route } from "./api-route.ts";
import { signalRoutes } from "./api-signals.ts";
import { stageRoutes } from "./api-stages.ts";
import type { Operations } from "./operations.ts";

const TEXT = "text/plain; charset=utf-8";
/** Strangers may send this much. */
const JOIN_BYTES_MAX = 8 << 10;
const APPLY_BYTES_MAX = 16 << 20;

export function apiTable(deps: {
  operations: Operations;
  metricsText: () => Promise<string>;
  /** The bytes of a model's file, by version and name; null for none such. */
  modelFile: (version: string, file: string) => Promise<Uint8Array | null>;
}): Route[] {
  const { operations, metricsText, modelFile } = deps;
  return [
    ...joining(operations),
    modelFiles(modelFile),
    ...reading(operations, metricsText),
    ...steering(operations),
    ...administering(operations),
    ...signalRoutes(operations),
    ...followRoutes(operations),
    ...modelRoutes(operations),
    ...publisherRoutes(operations),
    ...stageRoutes(operations),
  ];
}

function joining(operations: Operations): Route[] {
  return [
    route({
      method: "GET",
      path: "/healthz",
      access: "public",
      summary: "Answers when the coordinator does.",
      answer: z.object({ ok: z.literal(true) }),
      handle: () => ({ ok: true }),
    }),
    route({
      method: "GET",
      path: "/api/v1/ca",
      access: "public",
      summary: "The fleet's root certificate, PEM; compare its hash with the join token's.",
      answer: TEXT,
      handle: () => operations.ca(),
    }),
    route({
      method: "POST",
      path: "/api/v1/enroll",
      access: "join-token",
      summary: "Redeems a join token for a host's certificate.",
      bodyBytesMax: JOIN_BYTES_MAX,
      body: EnrollRequest,
      answer: Enrolled,
      handle: ({ body }, { address }) => operations.enroll(body, address),
    }),
    route({
      method: "POST",
      path: "/api/v1/renew",
      access: "agent-cert",
      summary: "A new certificate for the host that shows its present one.",
      bodyBytesMax: JOIN_BYTES_MAX,
      answer: Enrolled,
      handle: (_, { agent, address }) => {
        if (!agent) throw new PrestageError("FORBIDDEN", "no agent on a route for agents");
        return operations.renew(agent, address);
      },
    }),
  ];
}

/** Where agents take affinity models from, as the origin of an artifact. */
function modelFiles(
  modelFile: (version: string, file: string) => Promise<Uint8Array | null>,
): Route {
  return route({
    method: "GET",
    path: "/models/:version/:file",
    access: "agent",
    summary: "A file of an affinity model.",
    params: z.strictObject({
      version: z.string().regex(/^[0-9]{1,12}$/),
      file: z.string().regex(/^[a-z][a-z0-9-]{0,30}\.[a-z]{1,8}$/),
    }),
    answer: "application/octet-stream",
    handle: async ({ params }) => {
      const bytes = await modelFile(params.version, params.file);
      if (bytes) return bytes;
      throw new PrestageError("NOT_FOUND", `no file ${params.file} of model ${params.version}`);
    },
  });
}

function reading(operations: Operations, metricsText: () => Promise<string>): Route[] {
  const read = { method: "GET", access: "viewer" } as const;
  return [
    route({
      ...read,
      path: "/metrics",
      summary: "Metrics in Prometheus text form.",
      answer: TEXT,
      handle: metricsText,
    }),
    route({
      ...read,
      path: "/api/v1/status",
      summary: "The fleet at a glance.",
      answer: Status,
      handle: () => operations.status(),
    }),
    route({
      ...read,
      path: "/api/v1/hosts",
      summary: "Every enrolled host and its last known state.",
      answer: HostList,
      handle: () => operations.hosts(),
    }),
    route({
      ...read,
      path: "/api/v1/plan",
      summary: "The present plan: what was ordered, and on request what was not.",
      query: PlanQuery,
      answer: PlanView,
      handle: ({ query }) => operations.plan(query),
    }),
    route({
      ...read,
      path: "/api/v1/forecast",
      summary: "Quantile forecasts of a workload's categories.",
      query: ForecastQuery,
      answer: ForecastView,
      handle: ({ query }) => operations.forecast(query),
    }),
    route({
      ...read,
      path: "/api/v1/why",
      summary: "Why something was staged, warmed, routed, or not.",
      query: WhyQuery,
      answer: WhyView,
      handle: ({ query }) => operations.why(query.target),
    }),
    route({
      ...read,
      path: "/api/v1/ledger",
      summary: "Decisions and what became of them, newest first.",
      query: LedgerQuery,
      answer: LedgerList,
      handle: ({ query }) => operations.ledger(query),
    }),
    route({
      ...read,
      path: "/api/v1/doctor",
      summary: "What is wrong, and the remedy.",
      answer: DoctorView,
      handle: () => operations.doctor(),
    }),
    route({
      ...read,
      path: "/api/v1/workloads",
      summary: "The declared workloads and QoS classes.",
      answer: WorkloadList,
      handle: () => operations.workloads(),
    }),
    route({
      ...read,
      path: "/api/v1/budgets",
      summary: "Budgets of staging for fleet, sites and hosts, and what is granted of them.",
      answer: BudgetList,
      handle: () => operations.budgets(),
    }),
    route({
      ...read,
      path: "/api/v1/artifacts",
      summary: "Published artifact versions, their tags and holders.",
      answer: ArtifactList,
      handle: () => operations.artifacts(),
    }),
  ];
}

function steering(operations: Operations): Route[] {
  const write = { method: "POST", access: "operator" } as const;
  return [
    route({
      ...write,
      path: "/api/v1/workloads",
      summary: "Adds or changes the declared workloads and classes; leaves others alone.",
      bodyBytesMax: APPLY_BYTES_MAX,
      body: WorkloadsFile,
      answer: Applied,
      audited: {
        action: "workloads.apply",
        object: ({ body }) => body.workloads.map(({ name }) => name).join(","),
      },
      handle: ({ body }, call) => operations.apply(body, callerOf(call)),
    }),
    route({
      ...write,
      path: "/api/v1/workloads/:name/remove",
      summary: "Removes a workload.",
      params: z.strictObject({ name: Name }),
      answer: Applied,
      audited: { action: "workloads.remove", object: ({ params }) => params.name },
      handle: ({ params }, call) => operations.removeWorkload(params.name, callerOf(call)),
    }),
    route({
      ...write,
      path: "/api/v1/pause",
      summary: "Stops all pre-work of the fleet.",
      answer: Paused,
      audited: { action: "fleet.pause", object: () => "fleet" },
      handle: (_, call) => operations.pause(callerOf(call)),
    }),
    route({
      ...write,
      path: "/api/v1/resume",
      summary: "Takes up pre-work again.",
      answer: Paused,
      audited: { action: "fleet.resume", object: () => "fleet" },
      handle: (_, call) => operations.resume(callerOf(call)),
    }),
    route({
      ...write,
      path: "/api/v1/history",
      summary:
        "Stages recorded demand: lines of JSON, at most 16 MiB a part, each (batch, part) once.",
      query: ImportQuery,
      lines: HistoryRow,
      answer: ImportStaged,
      audited: {
        action: "history.stage",
        object: ({ query }) => `${query.source}#${query.part}`,
      },
      handle: ({ query }, call) =>
        operations.stageHistory(query, historyRows(call.raw, HISTORY_BYTES_MAX), callerOf(call)),
    }),
    route({
      ...write,
      path: "/api/v1/history/commit",
      summary: "Makes a staged batch count, in place of what its source said before.",
      body: ImportCommit,
      answer: Imported,
      audited: { action: "history.import", object: ({ body }) => body.source },
      handle: ({ body }, call) => operations.importHistory(body, callerOf(call)),
    }),
  ];
}

/** These change who may do what: the operation writes its audit row in its own transaction. */
function administering(operations: Operations): Route[] {
  const admin = { method: "POST", access: "admin" } as const;
  return [
    route({
      ...admin,
      path: "/api/v1/join-tokens",
      summary: "Makes a one-use token with which a host may join.",
      body: JoinTokenRequest,
      answer: JoinTokenGiven,
      handle: ({ body }, call) => operations.createJoinToken(body, callerOf(call)),
    }),
    route({
      ...admin,
      path: "/api/v1/hosts/:host/revoke",
      summary: "Ends a host's membership at once.",
      params: z.strictObject({ host: HostId }),
      answer: Revoked,
      handle: ({ params }, call) => operations.revokeHost(params.host, callerOf(call)),
    }),
    route({
      ...admin,
      method: "GET",
      path: "/api/v1/tokens",
      summary: "API tokens, without their secrets.",
      answer: ApiTokenList,
      handle: () => operations.apiTokens(),
    }),
    route({
      ...admin,
      path: "/api/v1/tokens",
      summary: "Makes an API token; its text is shown once.",
      body: ApiTokenRequest,
      answer: ApiTokenGiven,
      handle: ({ body }, call) => operations.createApiToken(body, callerOf(call)),
    }),
    route({
      ...admin,
      path: "/api/v1/tokens/:name/revoke",
      summary: "Revokes an API token at once; gives those that are left.",
      params: z.strictObject({ name: Name }),
      answer: ApiTokenList,
      handle: ({ params }, call) => operations.revokeApiToken(params.name, callerOf(call)),
    }),
    route({
      ...admin,
      method: "GET",
      path: "/api/v1/audit",
      summary: "The audit trail, newest first; on request its hash chain is verified.",
      query: AuditQuery,
      answer: AuditView,
      handle: ({ query }) => operations.audit(query),
    }),
  ];
}
