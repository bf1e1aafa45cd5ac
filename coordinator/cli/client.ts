/**
 * The coordinator's HTTP API as the commands use it: TLS that trusts the fleet's own CA and nothing
 * else, a bearer token, answers as JSON, failures as the coded errors the API sends.
 */
import { Readable } from "node:stream";
import { Agent, request } from "undici";
import { ERRORS, type ErrorCode, PrestageError } from "../../shared/errors.ts";
import type { Access } from "./context.ts";

export type Query = Record<string, string | number | boolean | undefined>;
type Body = { json: unknown } | { lines: AsyncIterable<string> };

const REQUEST_TIMEOUT_MS = 30_000;
/** An import may be worked on for a while before it answers. */
const IMPORT_TIMEOUT_MS = 600_000;
const MAX_ANSWER_BYTES = 64 << 20;

export class ApiClient {
  readonly #access: Access;
  readonly #agent: Agent;

  constructor(access: Access) {
    this.#access = access;
    this.#agent = new Agent({
      connect: { ca: access.ca, rejectUnauthorized: true, timeout: 5_000 },
    });
  }

  get<T>(path: string, query: Query, options: { signal: AbortSignal }): Promise<T> {
    return this.#send<T>("GET", path, query, undefined, options.signal, REQUEST_TIMEOUT_MS);
  }

  post<T>(path: string, body: unknown, options: { signal: AbortSignal }): Promise<T> {
    return this.#send<T>("POST", path, {}, { json: body }, options.signal, REQUEST_TIMEOUT_MS);
  }

  /** A body of many lines, sent as they come. */
  postLines<T>(
    path: string,
    query: Query,
    lines: AsyncIterable<string>,
    options: { signal: AbortSignal },
  ): Promise<T> {
    return this.#send<T>("POST", path, query, { lines }, options.signal, IMPORT_TIMEOUT_MS);
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  async #send<T>(
    method: "GET" | "POST",
    path: string,
    query: Query,
    body: Body | undefined,
    signal: AbortSignal,
    timeoutMs: number,
  ): Promise<T> {
    const url = new URL(path, this.#access.url);
    for (const [key, value] of Object.entries(query))
      if (value !== undefined) url.searchParams.set(key, String(value));
    const answer = await request(url, {
      method,
      dispatcher: this.#agent,
      signal,
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
      headers: {
        authorization: `Bearer ${this.#access.token}`,
        ...(body && {
          "content-type": "json" in body ? "application/json" : "application/x-ndjson",
        }),
      },
      body: body && ("json" in body ? JSON.stringify(body.json) : Readable.from(body.lines)),
    }).catch((cause: unknown) => {
      if (signal.aborted) throw signal.reason;
      throw unreachableError(url, cause);
    });
    const text = await readText(answer.body);
    const value = parseAnswer(text, answer.statusCode, url);
    if (answer.statusCode >= 400) throw refusal(value, answer.statusCode, url);
    return value as T;
  }
}

async function readText(body: AsyncIterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of body) {
    size += part.length;
    if (size > MAX_ANSWER_BYTES) throw new PrestageError("TOO_LARGE", "the answer is over 64 MiB");
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}

function parseAnswer(text: string, status: number, url: URL): unknown {
  try {
    return text === "" ? null : JSON.parse(text);
  } catch (cause) {
    throw new PrestageError("PROTOCOL", `${url.origin} answered ${status} without JSON`, { cause });
  }
}

function refusal(value: unknown, status: number, url: URL): PrestageError {
  const error = (value as { error?: Partial<Record<"code" | "message", string>> } | null)?.error;
  const details = (value as { error?: { details?: Record<string, unknown> } } | null)?.error
    ?.details;
  const code = error?.code && error.code in ERRORS ? (error.code as ErrorCode) : codeOf(status);
  return new PrestageError(code, error?.message ?? `${url.pathname} answered ${status}`, {
    ...(details && { details }),
  });
}

function codeOf(status: number): ErrorCode {
  if (status === 401) return "UNAUTHENTICATED";
  if (status === 403) return "FORBIDDEN";
  if (status === 404) return "NOT_FOUND";
  if (status === 429) return "RATE_LIMITED";
  return status >= 500 ? "UNAVAILABLE" : "PROTOCOL";
}

const TLS_CODES = new Set([
  "SELF_SIGNED_CERT_IN_CHAIN",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "ERR_TLS_CERT_ALTNAME_INVALID",
]);

function unreachableError(url: URL, cause: unknown): PrestageError {
  const { code, name, message } = cause as { code?: string; name?: string; message?: string };
  if (code && TLS_CODES.has(code))
    return new PrestageError(
      "CA_MISMATCH",
      `${url.origin} is not the coordinator of this context`,
      {
        cause,
        details: { tls: code },
      },
    );
  if (name === "HeadersTimeoutError" || name === "BodyTimeoutError")
    return new PrestageError("TIMEOUT", `${url.origin}${url.pathname} did not answer`, { cause });
  const reason = code ?? message ?? "";
  return new PrestageError(
    "UNREACHABLE",
    `cannot reach the coordinator at ${url.origin}: ${reason}`,
    {
      cause,
      details: { reason },
    },
  );
}
