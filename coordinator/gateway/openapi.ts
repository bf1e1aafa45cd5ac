/** The OpenAPI 3.1 document, made from the same table that serves the routes. */
import { z } from "zod";
import { ErrorAnswer } from "../../shared/api.ts";
import type { Route } from "./api-route.ts";

export type OpenApi = Record<string, unknown>;

export function openApiDocument(table: readonly Route[], version: string): OpenApi {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const row of table) {
    const path = row.path.replace(/:(\w+)/g, "{$1}");
    paths[path] = { ...paths[path], [row.method.toLowerCase()]: operationOf(row) };
  }
  return {
    openapi: "3.1.0",
    info: { title: "Prestage coordinator", version },
    paths,
    components: {
      schemas: { Error: jsonSchema(ErrorAnswer, "output") },
      responses: {
        Error: {
          description: "What went wrong, its code, and the remedy.",
          content: { "application/json": { schema: { $ref: "#/components/schemas/Error" } } },
        },
      },
      securitySchemes: {
        bearer: { type: "http", scheme: "bearer" },
        agent: { type: "mutualTLS" },
      },
    },
  };
}

function operationOf(row: Route): Record<string, unknown> {
  return {
    summary: row.summary,
    operationId: `${row.method.toLowerCase()}${row.path.replace(/[^a-z0-9]+(\w)/gi, (_, c: string) => c.toUpperCase())}`,
    "x-access": row.access,
    security: securityOf(row),
    parameters: [...parametersOf(row.params, "path"), ...parametersOf(row.query, "query")],
    ...bodyOf(row),
    responses: {
      200: {
        description: "Done.",
        content:
          typeof row.answer === "string"
            ? { [row.answer]: { schema: { type: "string" } } }
            : { "application/json": { schema: jsonSchema(row.answer, "output") } },
      },
      default: { $ref: "#/components/responses/Error" },
    },
  };
}

function securityOf({ access }: Route): Record<string, string[]>[] {
  if (access === "public" || access === "join-token") return [];
  return [access === "agent" || access === "agent-cert" ? { agent: [] } : { bearer: [] }];
}

function bodyOf({ body, lines }: Route): Record<string, unknown> {
  if (!body && !lines) return {};
  const content = lines
    ? { "application/x-ndjson": { schema: jsonSchema(lines, "input") } }
    : body && { "application/json": { schema: jsonSchema(body, "input") } };
  return { requestBody: { required: true, content } };
}

function parametersOf(schema: z.ZodType, where: "path" | "query"): Record<string, unknown>[] {
  const { properties = {}, required = [] } = jsonSchema(schema, "input") as {
    properties?: Record<string, unknown>;
    required?: string[];
  };
  return Object.entries(properties).map(([name, property]) => ({
    name,
    in: where,
    required: where === "path" || required.includes(name),
    schema: property,
  }));
}

function jsonSchema(schema: z.ZodType, io: "input" | "output"): Record<string, unknown> {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: "any" });
  return rest;
}
