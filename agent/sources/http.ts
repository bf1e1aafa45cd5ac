/**
 * Byte ranges of files that lie as they are under a base URL. The only importer of undici here,
 * loaded with the first fetch: it brings ten megabytes that an idle agent has no use for.
 * Fails with a `PrestageError`: NOT_FOUND when the origin has no such file or range, CORRUPT when
 * it is of another length, UNREACHABLE or TIMEOUT after some attempts.
 */
import type { Agent, request } from "undici";
import { PrestageError } from "../../shared/errors.ts";
import type { Clock } from "../../shared/runtime/clock.ts";
import type { Random } from "../../shared/runtime/random.ts";
import { backoffMs } from "../../shared/runtime/retry.ts";

export type RangeRequest = { originUrl: string; path: string; offset: number; bytes: number };
type Body = Awaited<ReturnType<typeof request>>["body"];

/** The coordinator as an origin (`prestage://coordinator/…`), reached by mutual TLS. */
export type FleetOrigin = { url: string; tls: () => { ca: string; cert: string; key: string } };

const FLEET_SCHEME = "prestage:";
const RETRYABLE = new Set([408, 425, 429, 500, 502, 503, 504]);

export class HttpSource {
  readonly #deps: { clock: Clock; random: Random };
  readonly #attempts: number;
  readonly #connections: number;
  #agent: Agent | undefined;
  readonly #fleet: FleetOrigin | undefined;
  #coordinator: { agent: Agent; cert: string } | undefined;

  constructor(
    deps: { clock: Clock; random: Random },
    {
      connections = 8,
      attempts = 4,
      fleet,
    }: { connections?: number; attempts?: number; fleet?: FleetOrigin } = {},
  ) {
    this.#deps = deps;
    this.#attempts = attempts;
    this.#connections = connections;
    this.#fleet = fleet;
  }

  async fetchRange(range: RangeRequest, { signal }: { signal: AbortSignal }): Promise<Uint8Array> {
    for (let attempt = 0; ; attempt++) {
      signal.throwIfAborted();
      try {
        return await this.#once(range, signal);
      } catch (cause) {
        signal.throwIfAborted();
        const error = asPrestageError(cause, range);
        const final = error.code !== "UNREACHABLE" && error.code !== "TIMEOUT";
        if (final || attempt + 1 >= this.#attempts) throw error;
        await this.#deps.clock.sleep(backoffMs(attempt, this.#deps.random), { signal });
      }
    }
  }

  async close(): Promise<void> {
    await this.#agent?.destroy();
    await this.#coordinator?.agent.destroy();
  }

  async #once(range: RangeRequest, signal: AbortSignal): Promise<Uint8Array> {
    const { offset, bytes } = range;
    const asked = fileUrl(range);
    const ours = asked.protocol === FLEET_SCHEME;
    const url = ours ? new URL(asked.pathname, this.#fleet?.url) : asked;
    const undici = await import("undici");
    const { statusCode, headers, body } = await undici.request(url, {
      dispatcher: ours ? this.#coordinatorAgent(undici.Agent) : this.#originAgent(undici.Agent),
      signal,
      headers: { range: `bytes=${offset}-${offset + bytes - 1}`, "accept-encoding": "identity" },
    });
    if (statusCode === 206) {
      const got = /^bytes (\d+)-(\d+)\//.exec(String(headers["content-range"] ?? ""));
      const right = got && Number(got[1]) === offset && Number(got[2]) === offset + bytes - 1;
      if (right) return take(body, 0, bytes);
      return refuse(body, "CORRUPT", "the origin answered another range", range, statusCode);
    }
    // A server that knows no ranges sends the whole file: read up to the end of ours.
    if (statusCode === 200) return take(body, offset, bytes);
    if (RETRYABLE.has(statusCode))
      return refuse(body, "UNREACHABLE", "the origin is not able to answer", range, statusCode);
    return refuse(body, "NOT_FOUND", "the origin refused the range", range, statusCode);
  }

  #originAgent(Pool: typeof Agent): Agent {
    this.#agent ??= new Pool({
      connections: this.#connections,
      keepAliveTimeout: 30_000,
      connectTimeout: 5_000,
      headersTimeout: 15_000,
      bodyTimeout: 15_000,
    });
    return this.#agent;
  }

  /** Of the certificate in force: a renewed one gets new connections. */
  #coordinatorAgent(Pool: typeof Agent): Agent {
    if (!this.#fleet) throw new PrestageError("UNAVAILABLE", "no coordinator to fetch from");
    const { ca, cert, key } = this.#fleet.tls();
    if (this.#coordinator?.cert !== cert) {
      void this.#coordinator?.agent.close();
      this.#coordinator = { cert, agent: new Pool({ connect: { ca, cert, key } }) };
    }
    return this.#coordinator.agent;
  }
}

/** `originUrl` with the path's segments below it; its query stays. */
function fileUrl({ originUrl, path }: RangeRequest): URL {
  const url = new URL(originUrl);
  const encoded = path.split("/").map(encodeURIComponent).join("/");
  url.pathname = `${url.pathname.replace(/\/+$/, "")}/${encoded}`;
  return url;
}

/** `bytes` bytes of the body after the first `skip`. */
async function take(body: Body, skip: number, bytes: number): Promise<Uint8Array> {
  const result = Buffer.allocUnsafeSlow(bytes);
  let passed = 0;
  let held = 0;
  for await (const piece of body) {
    const part: Buffer = piece.subarray(Math.min(piece.length, Math.max(0, skip - passed)));
    held += part.copy(result, held, 0, Math.min(part.length, bytes - held));
    passed += piece.length;
    // Leaving the loop ends the connection, so only a body that has more than asked for is left.
    if (passed > skip + bytes) break;
  }
  if (held === bytes) return result;
  throw new PrestageError("CORRUPT", "the origin's file is shorter than the manifest says");
}

async function refuse(
  body: Body,
  code: "CORRUPT" | "UNREACHABLE" | "NOT_FOUND",
  message: string,
  range: RangeRequest,
  status: number,
): Promise<never> {
  await body.dump({ limit: 16_384 });
  throw new PrestageError(code, message, { details: { status, path: range.path } });
}

function asPrestageError(cause: unknown, { path }: RangeRequest): PrestageError {
  if (cause instanceof PrestageError) return cause;
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
  const timedOut = code.includes("TIMEOUT");
  const message = timedOut ? "the origin took too long" : "the origin cannot be reached";
  const details = { path, cause: code };
  return new PrestageError(timedOut ? "TIMEOUT" : "UNREACHABLE", message, { cause, details });
}
