/** The part of the API's table that is about users' own forecast models. */
import { z } from "zod";
import { ForecastModel, ForecastModelList, ModelAddition } from "../../shared/api-models.ts";
import { Name } from "../../shared/domain.ts";
import { callerOf, type Route, route } from "./api-route.ts";
import type { Operations } from "./operations.ts";

const ADDITION_BYTES_MAX = 13 << 20;

export function modelRoutes(operations: Operations): Route[] {
  return [
    route({
      method: "GET",
      path: "/api/v1/models",
      access: "viewer",
      summary: "Users' own forecast models and how they do.",
      answer: ForecastModelList,
      handle: () => operations.models(),
    }),
    route({
      method: "POST",
      path: "/api/v1/models",
      access: "admin",
      summary: "Adds an ONNX model as an expert of the forecast, or replaces it.",
      bodyBytesMax: ADDITION_BYTES_MAX,
      body: ModelAddition,
      answer: ForecastModel,
      audited: { action: "models.add", object: ({ body }) => body.name },
      handle: ({ body }, call) => operations.addModel(body, callerOf(call)),
    }),
    route({
      method: "POST",
      path: "/api/v1/models/:name/remove",
      access: "admin",
      summary: "Removes a model from the forecast and from the store.",
      params: z.strictObject({ name: Name }),
      answer: ForecastModelList,
      audited: { action: "models.remove", object: ({ params }) => params.name },
      handle: ({ params }) => operations.removeModel(params.name),
    }),
  ];
}
