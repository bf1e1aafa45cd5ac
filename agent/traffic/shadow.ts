/**
 * Shadow and warm-up requests: real HTTP straight to an environment, marked `prestage-shadow: 1`.
 * They never pass a router, so they are in no count; routers take the mark off what comes from
 * outside.
 */
import { request as httpRequest } from "node:http";
import type { Verdict } from "../../shared/domain.ts";
import type { Clock } from "../../shared/runtime/clock.ts";
import type { HttpRequest, Workload } from "../../shared/workload.ts";

export const SHADOW_HEADER = "prestage-shadow";
const BODY_BYTES_MAX = 1 << 20;
const WARMUP_MS_MAX = 60_000;

export class Prober {
  readonly #clock: Clock;
  readonly #demandClock: Clock;

  constructor({ clock, demandClock }: { clock: Clock; demandClock: Clock }) {
    this.#clock = clock;
    this.#demandClock = demandClock;
  }

  /** Sends the workload's warm-up requests one after the other; throws at the first that fails. */
  async warmup(
    port: number,
    workload: Workload,
    category: string,
    { signal }: { signal: AbortSignal },
  ): Promise<void> {
    for (const one of workload.environment.warmup) {
      const answer = await this.#send(port, one, category, WARMUP_MS_MAX, signal);
      if ("error" in answer) throw new Error(`${one.method} ${one.path}: ${answer.error}`);
    }
  }

  /** Sends the shadow request and compares the answer with what is expected. */
  async shadow(
    port: number,
    workload: Workload,
    category: string,
    { signal }: { signal: AbortSignal },
  ): Promise<Verdict> {
    const { request, expect } = workload.shadow;
    const startMs = this.#clock.monotonic();
    const answer = await this.#send(port, request, category, expect.maxMs, signal);
    const latencyMs = this.#clock.monotonic() - startMs;
    const detail = "error" in answer ? answer.error : complaint(answer, latencyMs, expect);
    return {
      passed: detail === "",
      atMs: this.#demandClock.now(),
      latencyMs,
      detail: detail === "" ? "" : `${request.method} ${request.path}: ${detail}`.slice(0, 500),
    };
  }

  #send(
    port: number,
    { method, path, headers, body }: HttpRequest,
    category: string,
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<Answer> {
    signal.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const request = httpRequest({
      host: "127.0.0.1",
      port,
      method,
      path: path.replaceAll("{category}", encodeURIComponent(category)),
      headers: {
        ...Object.fromEntries(
          Object.entries(headers).map(([name, v]) => [name, v.replaceAll("{category}", category)]),
        ),
        [SHADOW_HEADER]: "1",
      },
      agent: false,
      signal,
    });
    const cancel = this.#clock.after(timeoutMs, () =>
      request.destroy(new Error(`no whole answer within ${timeoutMs} ms`)),
    );
    request.on("close", cancel);
    request.on("error", (cause) => {
      if (signal.aborted) reject(signal.reason);
      else resolve({ error: cause.message });
    });
    request.on("response", (response) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      response.on("data", (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes <= BODY_BYTES_MAX) chunks.push(chunk);
      });
      response.on("error", (cause) => resolve({ error: cause.message }));
      response.on("end", () =>
        resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString() }),
      );
    });
    request.end(body);
    return promise;
  }
}

type Answer = { status: number; body: string } | { error: string };

function complaint(
  { status, body }: { status: number; body: string },
  latencyMs: number,
  expect: Workload["shadow"]["expect"],
): string {
  if (status !== expect.status) return `status ${status}, expected ${expect.status}`;
  if (expect.bodyIncludes !== undefined && !body.includes(expect.bodyIncludes))
    return `the body lacks ${JSON.stringify(expect.bodyIncludes)}`;
  if (latencyMs > expect.maxMs) return `took ${latencyMs.toFixed(0)} ms, over ${expect.maxMs}`;
  return "";
}
