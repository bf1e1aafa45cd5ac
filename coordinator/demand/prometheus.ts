/**
 * Range queries to a Prometheus or what speaks its API: in chunks it will answer, tried again when
 * it is busy, cut smaller when an answer is too much.
 */
import { Agent, request } from "undici";
import { z } from "zod";
import { PrestageError } from "../../shared/errors.ts";
import type { Clock } from "../../shared/runtime/clock.ts";
import type { Random } from "../../shared/runtime/random.ts";
import { backoffMs } from "../../shared/runtime/retry.ts";
import type { PromSeries } from "./prometheus-series.ts";

export type PromAccess = {
  url: string;
  query: string;
  /** PEM; default: the roots Node trusts. */
  ca?: string | undefined;
  /** The whole header's value. */
  authorization?: string | undefined;
  timeoutMs: number;
};
export type PromDeps = { clock: Clock; random: Random; signal: AbortSignal };
export type PromRange = { fromMs: number; toMs: number; stepMs: number };
export type PromChunk = PromRange & { series: PromSeries[] };

/** Prometheus refuses over 11,000 points of a series. */
const POINTS_MAX = 10_000;
const POINTS_FIRST = 1_440;
const ANSWER_BYTES_MAX = 64 << 20;
/** Answers below this get twice the points next time. */
const ANSWER_BYTES_SMALL = 4 << 20;
const ATTEMPTS = 5;
/** What servers say when the chunk, not the query, is the problem. */
const TOO_MUCH =
  /maximum resolution|too many (samples|points)|range exceeds|exceeds the limit|query timed out|max(imum)? query length/i;

const Answer = z.object({
  status: z.enum(["success", "error"]),
  data: z
    .object({
      resultType: z.string(),
      result: z.array(
        z.object({
          metric: z.record(z.string(), z.string()),
          values: z.array(z.tuple([z.number(), z.string()])).default([]),
        }),
      ),
    })
    .optional(),
  error: z.string().optional(),
  warnings: z.array(z.string()).default([]),
});
type Answer = z.infer<typeof Answer>;
type Asked = { kind: "answer"; answer: Answer; bytes: number } | { kind: "too much"; why: string };

export class PrometheusReader {
  readonly #access: PromAccess;
  readonly #deps: PromDeps;
  readonly #agent: Agent;
  /** What the server said of answers that may not be whole. */
  readonly warnings = new Set<string>();

  constructor(access: PromAccess, deps: PromDeps) {
    this.#access = access;
    this.#deps = deps;
    this.#agent = new Agent({ connect: { timeout: 10_000, ...(access.ca && { ca: access.ca }) } });
  }

  /**
   * The points at fromMs, fromMs + stepMs … toMs, chunk after chunk. Throws USAGE for a query it
   * refuses, UNAUTHENTICATED, UNREACHABLE, TIMEOUT, UNAVAILABLE, PROTOCOL for what is no Prometheus.
   */
  async *chunks({ fromMs, toMs, stepMs }: PromRange): AsyncGenerator<PromChunk> {
    try {
      let points = POINTS_FIRST;
      for (let atMs = fromMs; atMs <= toMs; ) {
        const endMs = Math.min(toMs, atMs + (points - 1) * stepMs);
        const asked = await this.#ask({ fromMs: atMs, toMs: endMs, stepMs });
        if (asked.kind === "too much") {
          if (endMs === atMs) throw tooMuch(asked.why);
          points = Math.max(1, Math.ceil((endMs - atMs) / stepMs / 2));
          continue;
        }
        for (const warning of asked.answer.warnings) this.warnings.add(warning);
        const series = asked.answer.data?.result ?? [];
        yield { fromMs: atMs, toMs: endMs, stepMs, series };
        atMs = endMs + stepMs;
        if (asked.bytes < ANSWER_BYTES_SMALL) points = Math.min(POINTS_MAX, points * 2);
      }
    } finally {
      await this.#agent.destroy();
    }
  }

  async #ask(range: PromRange): Promise<Asked> {
    const { clock, random, signal } = this.#deps;
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#askOnce(range);
      } catch (cause) {
        const retryable =
          cause instanceof PrestageError &&
          ["UNREACHABLE", "TIMEOUT", "UNAVAILABLE", "RATE_LIMITED"].includes(cause.code);
        if (signal.aborted || !retryable || attempt + 1 >= ATTEMPTS) throw cause;
        const afterMs = Number(cause.details.retryAfterMs ?? 0);
        const waitMs = Math.max(afterMs, backoffMs(attempt, random, { maxMs: 10_000 }));
        await clock.sleep(Math.min(waitMs, 60_000), { signal });
      }
    }
  }

  async #askOnce({ fromMs, toMs, stepMs }: PromRange): Promise<Asked> {
    const { url, query, authorization, timeoutMs } = this.#access;
    const form = new URLSearchParams({
      query,
      start: String(fromMs / 1000),
      end: String(toMs / 1000),
      step: String(stepMs / 1000),
    });
    const target = new URL(`${url.replace(/\/+$/, "")}/api/v1/query_range`);
    const answer = await request(target, {
      method: "POST",
      dispatcher: this.#agent,
      signal: this.#deps.signal,
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
      headers: {
        "content-type": "application/x-www-form-urlencoded",
        accept: "application/json",
        ...(authorization && { authorization }),
      },
      body: form.toString(),
    }).catch((cause: unknown) => this.#fail(cause));
    const text = await bodyOf(answer.body).catch((cause: unknown) => this.#fail(cause));
    if (text === null) return { kind: "too much", why: "the answer is over 64 MiB" };
    return judge(answer.statusCode, answer.headers, text, target.origin);
  }

  #fail(cause: unknown): never {
    if (this.#deps.signal.aborted) throw this.#deps.signal.reason;
    const { origin } = new URL(this.#access.url);
    const { name, code, message } = cause as { name?: string; code?: string; message?: string };
    if (name === "HeadersTimeoutError" || name === "BodyTimeoutError")
      throw new PrestageError("TIMEOUT", `${origin} did not answer`, { cause });
    const trust = /CERT|SIGNATURE|ISSUER|ALTNAME/.test(code ?? "")
      ? ": its certificate is not trusted here, name its authority with --ca"
      : "";
    throw new PrestageError(
      trust ? "CA_MISMATCH" : "UNREACHABLE",
      `cannot reach Prometheus at ${origin} (${code ?? message})${trust}`,
      { cause },
    );
  }
}

/** Null when it is too long. */
async function bodyOf(body: AsyncIterable<Uint8Array>): Promise<string | null> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of body) {
    bytes += part.length;
    if (bytes > ANSWER_BYTES_MAX) return null;
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}

function judge(
  status: number,
  headers: Record<string, string | string[] | undefined>,
  text: string,
  origin: string,
): Asked {
  const answer = parse(text);
  const said = answer?.error ?? text.slice(0, 200).trim();
  if (status === 200 && answer?.status === "success") {
    const kind = answer.data?.resultType;
    if (kind !== "matrix")
      throw new PrestageError("USAGE", `the query gives ${kind}, not series over time`);
    return { kind: "answer", answer, bytes: text.length };
  }
  if (TOO_MUCH.test(said)) return { kind: "too much", why: said };
  if (status === 401 || status === 403)
    throw new PrestageError(
      "UNAUTHENTICATED",
      `${origin} refused (${status}): give --token-file, or --user and --password-file`,
    );
  if (status === 429 || status === 503 || status === 502 || status === 504) {
    const seconds = Number(headers["retry-after"]);
    throw new PrestageError(
      status === 429 ? "RATE_LIMITED" : "UNAVAILABLE",
      `${origin} answered ${status}: ${said}`,
      { details: Number.isFinite(seconds) ? { retryAfterMs: seconds * 1000 } : {} },
    );
  }
  if (answer && (status === 400 || status === 422))
    throw new PrestageError("USAGE", `Prometheus refused the query: ${said}`);
  if (status >= 500)
    throw new PrestageError("UNAVAILABLE", `${origin} answered ${status}: ${said}`);
  throw new PrestageError(
    "PROTOCOL",
    `${origin} answered ${status}, which is not Prometheus' API: is --prometheus its base address?`,
  );
}

function parse(text: string): Answer | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  const result = Answer.safeParse(value);
  return result.success ? result.data : null;
}

function tooMuch(why: string): PrestageError {
  return new PrestageError(
    "TOO_LARGE",
    `even one step is too much for Prometheus (${why}): sum in the query, by the labels that count`,
  );
}
