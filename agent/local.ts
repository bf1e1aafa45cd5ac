/**
 * The agent's local API: HTTP over a Unix socket only its user can open. `publish` and `get` speak
 * to it. Answers are lines of JSON: progress rows, then one `result` or `error`.
 */
import { chmodSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { join } from "node:path";
import { z } from "zod";
import { Name, Version } from "../shared/domain.ts";
import { PrestageError } from "../shared/errors.ts";
import type { Log } from "../shared/runtime/log.ts";

export const PublishRequest = z.strictObject({
  /** A directory of this host, or the URL of a source. */
  from: z.union([
    z.strictObject({ dir: z.string().min(1), originUrl: z.string().nullable().default(null) }),
    z.strictObject({ url: z.string().max(2048), keep: z.boolean().default(true) }),
  ]),
  name: Name,
  /** Null: named after the source's revision. */
  version: Version.nullable(),
  tags: z.array(Name).max(16).default([]),
});
export type PublishRequest = z.infer<typeof PublishRequest>;
export const GetRequest = z.strictObject({
  name: Name,
  version: Version.nullable().default(null),
  tag: Name.nullable().default(null),
});

export type Progress = (bytesDone: number, bytes: number) => void;

export type LocalOperations = {
  publish(request: PublishRequest, progress: Progress, signal: AbortSignal): Promise<unknown>;
  get(
    request: z.infer<typeof GetRequest>,
    progress: Progress,
    signal: AbortSignal,
  ): Promise<unknown>;
  status(): unknown;
  metrics(): Promise<string>;
};

const BODY_BYTES_MAX = 64 << 10;

export class LocalApi {
  readonly #operations: LocalOperations;
  readonly #log: Log;
  readonly #socket: string;

  constructor(deps: { operations: LocalOperations; log: Log }, options: { dataDir: string }) {
    this.#operations = deps.operations;
    this.#log = deps.log;
    this.#socket = join(options.dataDir, "agent.sock");
  }

  async run(signal: AbortSignal): Promise<void> {
    rmSync(this.#socket, { force: true });
    const server = createServer((request, response) => {
      this.#answer(request, response).catch((cause: unknown) => {
        this.#log.warn({ err: cause, url: request.url }, "local request failed");
        response.destroy();
      });
    });
    const listening = Promise.withResolvers<void>();
    server.once("error", listening.reject);
    server.listen(this.#socket, listening.resolve);
    await listening.promise;
    chmodSync(this.#socket, 0o600);
    await new Promise<void>((resolve) => {
      const close = () => {
        server.close(() => resolve());
        server.closeAllConnections();
      };
      if (signal.aborted) close();
      else signal.addEventListener("abort", close, { once: true });
    });
    rmSync(this.#socket, { force: true });
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method === "GET" && request.url === "/metrics") {
      response.setHeader("content-type", "text/plain; version=0.0.4");
      response.end(await this.#operations.metrics());
      return;
    }
    const gone = new AbortController();
    response.on("close", () => gone.abort(new Error("client gone")));
    response.setHeader("content-type", "application/x-ndjson");
    const line = (value: unknown) => response.write(`${JSON.stringify(value)}\n`);
    const progress: Progress = (bytesDone, bytes) => line({ bytesDone, bytes });
    try {
      line({ result: await this.#dispatch(request, progress, gone.signal) });
    } catch (cause) {
      if (gone.signal.aborted) return;
      line({ error: asError(cause) });
    }
    response.end();
  }

  async #dispatch(
    request: IncomingMessage,
    progress: Progress,
    signal: AbortSignal,
  ): Promise<unknown> {
    switch (`${request.method} ${request.url}`) {
      case "GET /status":
        return this.#operations.status();
      case "POST /publish":
        return this.#operations.publish(
          parse(PublishRequest, await body(request)),
          progress,
          signal,
        );
      case "POST /get":
        return this.#operations.get(parse(GetRequest, await body(request)), progress, signal);
      default:
        throw new PrestageError("NOT_FOUND", `no local operation ${request.method} ${request.url}`);
    }
  }
}

function parse<S extends z.ZodType>(schema: S, value: unknown): z.infer<S> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw new PrestageError(
    "USAGE",
    result.error.issues.map((i) => `${i.path.join(".")}: ${i.message}`).join("; "),
  );
}

async function body(request: IncomingMessage): Promise<unknown> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of request) {
    bytes += part.length;
    if (bytes > BODY_BYTES_MAX) throw new PrestageError("TOO_LARGE", "body over 64 KiB");
    parts.push(part);
  }
  try {
    return JSON.parse(Buffer.concat(parts).toString("utf8"));
  } catch (cause) {
    throw new PrestageError("USAGE", "the body is not JSON", { cause });
  }
}

function asError(cause: unknown): { code: string; message: string; remedy: string } {
  const error =
    cause instanceof PrestageError
      ? cause
      : new PrestageError("UNAVAILABLE", cause instanceof Error ? cause.message : String(cause));
  return { code: error.code, message: error.message, remedy: error.remedy };
}
