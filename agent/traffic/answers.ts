/** The router's own answers: errors as JSON that say what to do. */
import type { ServerResponse } from "node:http";
import { ERRORS, PrestageError } from "../../shared/errors.ts";

export const GONE_HEADER = "prestage-gone";

/** Sends the error unless something was sent already; gives the status. */
export function answerError(
  response: ServerResponse,
  error: PrestageError,
  { gone = false, remedy = error.remedy }: { gone?: boolean; remedy?: string } = {},
): number {
  const status = gone ? 503 : ERRORS[error.code].http;
  if (response.headersSent || response.destroyed) return status;
  const { code, message, details } = error;
  const body = JSON.stringify({ error: { code, message, remedy, details } });
  response.statusCode = status;
  response.setHeader("content-type", "application/json; charset=utf-8");
  response.setHeader("cache-control", "no-store");
  if (status === 503 || status === 504 || status === 502 || status === 429)
    response.setHeader("retry-after", retryAfterSeconds(details));
  if (gone) response.setHeader(GONE_HEADER, "1");
  response.end(body);
  return status;
}

/** The error as one of ours: what is not was a surprise, told without its text. */
export function asPrestageError(cause: unknown): PrestageError {
  if (cause instanceof PrestageError) return cause;
  return new PrestageError("UNAVAILABLE", "the request could not be served", { cause });
}

function retryAfterSeconds({ retryAfterMs }: Record<string, unknown>): number {
  return typeof retryAfterMs === "number" ? Math.max(1, Math.ceil(retryAfterMs / 1000)) : 1;
}
