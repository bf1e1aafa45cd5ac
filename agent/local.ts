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
import { PublicKey } from "../shared/publishers.ts";
import type { Log } from "../shared/runtime/log.ts";
import { secret } from "../shared/runtime/random.ts";

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
  /** Of the key that signs at the caller's; null: this host signs. */
  publicKey: PublicKey.nullable().default(null),
});
export type PublishRequest = z.infer<typeof PublishRequest>;
export const GetRequest = z.strictObject({
  name: Name,
  version: Version.nullable().default(null),
  tag: Name.nullable().default(null),
});

export type AskSignature = (body: string) => Promise<string>;
export type Progress = (bytesDone: number, bytes: number) => void;

export type LocalOperations = {
  /** `signature` asks the caller to sign a body. */
  publish(
    request: PublishRequest,
    progress: Progress,
    signature: AskSignature,
    signal: AbortSignal,
  ): Promise<unknown>;
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
  /** Signatures that callers owe. */
  readonly #owed = new Map<string, (signature: string) => void>();

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
      const signature: AskSignature = (unsigned) =>
        this.#owe((id) => line({ sign: { id, body: unsigned } }), gone.signal);
      line({ result: await this.#dispatch(request, { progress, signature }, gone.signal) });
    } catch (cause) {
      if (gone.signal.aborted) return;
      line({ error: asError(cause) });
    }
    response.end();
  }

  async #owe(ask: (id: string) => void, signal: AbortSignal): Promise<string> {
    const id = secret(12);
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const abort = () => reject(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    this.#owed.set(id, resolve);
    ask(id);
    try {
      return await promise;
    } finally {
      this.#owed.delete(id);
      signal.removeEventListener("abort", abort);
    }
  }

  #settle({ id, signature }: z.infer<typeof Signature>): { taken: boolean } {
    const resolve = this.#owed.get(id);
    if (!resolve) throw new PrestageError("NOT_FOUND", "no publication waits for this signature");
    resolve(signature);
    return { taken: true };
  }

  async #dispatch(
    request: IncomingMessage,
    { progress, signature }: { progress: Progress; signature: AskSignature },
    signal: AbortSignal,
  ): Promise<unknown> {
    switch (`${request.method} ${request.url}`) {
      case "GET /status":
        return this.#operations.status();
      case "POST /publish":
        return this.#operations.publish(
          parse(PublishRequest, await body(request)),
          progress,
          signature,
          signal,
        );
      case "POST /signature":
        return this.#settle(parse(Signature, await body(request)));
      case "POST /get":
        return this.#operations.get(parse(GetRequest, await body(request)), progress, signal);
      default:
        throw new PrestageError("NOT_FOUND", `no local operation ${request.method} ${request.url}`);
    }
  }
}

export const Signature = z.strictObject({
  id: z.string().max(64),
  signature: z.string().regex(/^[A-Za-z0-9_-]{86}$/),
});

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
