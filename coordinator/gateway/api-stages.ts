/** The rows of the API about staging by hand. */
import { z } from "zod";
import {
  Schedule,
  ScheduleRequest,
  StagedList,
  StagedQuery,
  StageList,
  StageRequest,
  StageStatus,
} from "../../shared/api-stages.ts";
import { callerOf, type Route, route } from "./api-route.ts";
import type { Operations } from "./operations.ts";

const Id = z.strictObject({ id: z.string().min(1).max(200) });

export function stageRoutes(operations: Operations): Route[] {
  const read = { method: "GET", access: "viewer" } as const;
  const write = { method: "POST", access: "operator" } as const;
  return [
    route({
      ...read,
      path: "/api/v1/stage/:id",
      summary: "How far an explicit staging is.",
      params: Id,
      answer: StageStatus,
      handle: ({ params }) => operations.stageStatus(params.id),
    }),
    route({
      ...read,
      path: "/api/v1/stages",
      summary: "What was asked to be staged by hand, and the schedules that ask for it.",
      answer: StageList,
      handle: () => operations.stages(),
    }),
    route({
      ...read,
      path: "/api/v1/staged",
      summary: "What is staged where, since when, until when, why, and where it came from.",
      query: StagedQuery,
      answer: StagedList,
      handle: ({ query }) => operations.staged(query),
    }),
    route({
      ...write,
      path: "/api/v1/stage",
      summary: "Stages an artifact version on hosts now.",
      body: StageRequest,
      answer: StageStatus,
      audited: {
        action: "artifact.stage",
        object: ({ body: { ref } }) =>
          "tag" in ref ? `${ref.name}:${ref.tag}` : `${ref.name}@${ref.version}`,
      },
      handle: ({ body }, call) => operations.stage(body, callerOf(call)),
    }),
    route({
      ...write,
      path: "/api/v1/schedules",
      summary: "Stages an artifact at a time, or again and again.",
      body: ScheduleRequest,
      answer: Schedule,
      audited: { action: "artifact.schedule", object: ({ body }) => body.artifact.name },
      handle: ({ body }, call) => operations.schedule(body, callerOf(call)),
    }),
    route({
      ...write,
      path: "/api/v1/stages/:id/cancel",
      summary: "Ends a staging or a schedule. What a schedule has staged stays.",
      params: Id,
      answer: StageList,
      audited: { action: "artifact.unstage", object: ({ params }) => params.id },
      handle: ({ params }, call) => operations.cancelStage(params.id, callerOf(call)),
    }),
  ];
}
