/** One JSON request over TLS 1.3 with the trust given: no system CAs, bounded in size and time. */
import { request } from "node:https";
import { z } from "zod";
import { ErrorAnswer } from "../../shared/api.ts";
import { ERRORS, type ErrorCode, PrestageError } from "../../shared/errors.ts";

export type HttpsRequest = {
  url: URL;
  method: "GET" | "POST";
  body?: unknown;
  /** The only root that is trusted; null trusts none and verifies nothing: for public data. */
  ca: string | null;
  /** For mutual TLS. */
  client?: { key: string; cert: string };
  signal?: AbortSignal;
};

const ANSWER_BYTES_MAX = 256 << 10;
const TIMEOUT_MS = 15_000;

/** The answer's text. Throws what the coordinator said, or UNREACHABLE. */
export function requestText(options: HttpsRequest): Promise<string> {
  const { url, method, body, ca, client, signal } = options;
  const payload = body === undefined ? undefined : JSON.stringify(body);
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const sent = request(
    url,
    {
      method,
      agent: false,
      minVersion: "TLSv1.3",
      ca: ca ?? [],
      rejectUnauthorized: ca !== null,
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
      headers: payload
        ? { "content-type": "application/json", "content-length": Buffer.byteLength(payload) }
        : {},
      ...client,
    },
    (answer) => {
      const parts: Buffer[] = [];
      let bytes = 0;
      answer.on("data", (part: Buffer) => {
        bytes += part.length;
        if (bytes > ANSWER_BYTES_MAX) answer.destroy(new Error("the answer is too large"));
        else parts.push(part);
      });
      answer.on("error", (cause) => reject(unreachable(url, cause)));
      answer.on("end", () => {
        const text = Buffer.concat(parts).toString("utf8");
        if (answer.statusCode === 200) resolve(text);
        else reject(refusal(text, answer.statusCode ?? 0));
      });
    },
  );
  sent.on("error", (cause) => reject(signal?.aborted ? signal.reason : unreachable(url, cause)));
  sent.end(payload);
  return promise;
}

export async function requestJson<S extends z.ZodType>(
  options: HttpsRequest,
  schema: S,
): Promise<z.infer<S>> {
  const text = await requestText(options);
  const parsed = z.safeParse(schema, parseJson(text));
  if (parsed.success) return parsed.data;
  throw new PrestageError("PROTOCOL", "the coordinator's answer is not understood", {
    cause: parsed.error,
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new PrestageError("PROTOCOL", "the coordinator's answer is no JSON", { cause });
  }
}

function refusal(text: string, status: number): PrestageError {
  const answer = ErrorAnswer.safeParse(parseJson(text));
  if (!answer.success)
    return new PrestageError("PROTOCOL", `the coordinator answered ${status}`, {
      details: { status },
    });
  const { code, message, details } = answer.data.error;
  const known = Object.hasOwn(ERRORS, code);
  return new PrestageError(known ? (code as ErrorCode) : "PROTOCOL", message, { details });
}

function unreachable(url: URL, cause: unknown): PrestageError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new PrestageError("UNREACHABLE", `${url.origin}: ${reason}`, { cause });
}
