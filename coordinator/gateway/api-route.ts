/**
 * One row of the API's table: who may call it, what it takes, what it gives, what it does. Routes
 * exist only as rows, and a row without access rule does not compile; the guard refuses it as well.
 */
import type { IncomingMessage } from "node:http";
import { z } from "zod";
import type { Role } from "../../shared/api.ts";
import { PrestageError } from "../../shared/errors.ts";
import type { Caller } from "./operations.ts";

/**
 * `public`: anyone. `join-token`: the body carries the secret, the trust room judges it.
 * `agent`: mutual TLS as a member. `agent-cert`: the same, also with a certificate that ended but
 * may be renewed. Else the least role.
 */
export type RouteAccess = Role | "public" | "join-token" | "agent" | "agent-cert";

/** What the guard found out about the caller. */
export type Asker = {
  address: string;
  /** Set on routes with a role. */
  caller: Caller | null;
  /** Set on `agent` and `agent-cert` routes. */
  agent: { host: string; serial: string } | null;
};
export type Call = Asker & { raw: IncomingMessage };

export type Route = {
  method: "GET" | "POST";
  path: string;
  access: RouteAccess;
  summary: string;
  /** Own limit where the common one does not fit. */
  bodyBytesMax?: number;
  /** The body is lines of JSON and read as a stream. */
  lines?: z.ZodType;
  params: z.ZodType;
  query: z.ZodType;
  body: z.ZodType | null;
  /** A schema for JSON, else the media type of what `handle` gives as it is. */
  answer: z.ZodType | string;
  /** Name of the audit row that the gateway writes when it is done; null = none, or the operation's own. */
  audited: string | null;
  run(
    input: { params: unknown; query: unknown; body: unknown },
    call: Call,
  ): { object: string; result: Promise<unknown> };
};

export const NOTHING = z.strictObject({});
type Shape = z.ZodType;
type Input<P extends Shape, Q extends Shape, B extends Shape> = {
  params: z.infer<P>;
  query: z.infer<Q>;
  body: z.infer<B>;
};

/** A row, with the handler's input typed by the row's schemas. */
export function route<
  P extends Shape = typeof NOTHING,
  Q extends Shape = typeof NOTHING,
  B extends Shape = typeof NOTHING,
>(row: {
  method: "GET" | "POST";
  path: string;
  access: RouteAccess;
  summary: string;
  bodyBytesMax?: number;
  lines?: z.ZodType;
  params?: P;
  query?: Q;
  body?: B;
  answer: z.ZodType | string;
  audited?: { action: string; object(input: Input<P, Q, B>): string };
  handle(input: Input<P, Q, B>, call: Call): unknown;
}): Route {
  const { params = NOTHING, query = NOTHING, body = NOTHING, audited, handle, ...rest } = row;
  return {
    ...rest,
    params,
    query,
    body: row.method === "POST" && !row.lines ? body : null,
    audited: audited?.action ?? null,
    run: (input, call) => {
      const checked = {
        params: check(params, input.params, "path"),
        query: check(query, input.query, "query"),
        body: row.lines ? {} : check(body, input.body ?? {}, "body"),
      } as Input<P, Q, B>;
      return {
        object: audited?.object(checked) ?? "",
        result: Promise.resolve().then(() => handle(checked, call)),
      };
    },
  };
}

/** The value in its checked form. Throws USAGE with every problem in the details. */
export function check<S extends z.ZodType>(schema: S, value: unknown, where: string): z.infer<S> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const problems = result.error.issues.slice(0, 50).map((issue) => ({
    key: [where, ...issue.path].join("."),
    message: issue.message,
  }));
  const text = problems.map(({ key, message }) => `${key}: ${message}`).join("; ");
  throw new PrestageError("USAGE", text, { details: { problems } });
}

/** The caller of a route with a role; the guard has set it. */
export function callerOf({ caller }: Asker): Caller {
  if (!caller) throw new PrestageError("FORBIDDEN", "no caller on a route with a role");
  return caller;
}
