/**
 * HTTP as the sources use it: pooled, patient, and careful with credentials. They go to the host
 * that they were meant for and to no other, wherever it redirects to. The only importer of undici
 * here, loaded with the first request: it brings ten megabytes an idle agent has no use for.
 */
import { readFile } from "node:fs/promises";
import { rootCertificates } from "node:tls";
import type { Agent, request } from "undici";
import { PrestageError } from "../../shared/errors.ts";
import type { Clock } from "../../shared/runtime/clock.ts";
import type { Random } from "../../shared/runtime/random.ts";
import { backoffMs } from "../../shared/runtime/retry.ts";
import { shownUrl } from "../../shared/source-url.ts";
import type { ReadingPace } from "./source.ts";

export type WebBody = Awaited<ReturnType<typeof request>>["body"];
/** Headers to send with a request: its own, signed or with a token. */
export type Authorize = (asked: {
  method: string;
  url: URL;
  headers: Record<string, string>;
}) => Promise<Record<string, string>>;
export type WebRequest = {
  url: URL;
  method?: "GET" | "HEAD" | "POST";
  headers?: Record<string, string>;
  /** Fields of a form to send; only to the first host. */
  form?: URLSearchParams;
  /** Asked for each hop that stays with the first one's host. */
  authorize?: Authorize;
  /** PEM file of who is trusted there, besides the system's. */
  caFile?: string | undefined;
  /** Goes before each piece that is read of a range. */
  pace?: ReadingPace | undefined;
  /** Of the whole fleet, by mutual TLS. */
  tls?: { ca: string; cert: string; key: string };
  signal: AbortSignal;
};
/** `body` has to be read or dumped by who gets it. */
export type WebAnswer = {
  status: number;
  header(name: string): string | undefined;
  body: WebBody;
};

const HOPS_MAX = 5;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);
const RETRYABLE = new Set([408, 425, 429, 500, 502, 503, 504]);
const CONNECTIONS = 8;
/** Of a name's lookup, the connection and its TLS together. */
const CONNECT_MS = 5_000;
/** A server that wants to be left alone for longer is not waited for: others may have it. */
const RETRY_AFTER_MS_MAX = 20_000;

export class Web {
  readonly #deps: { clock: Clock; random: Random };
  readonly #attempts: number;
  readonly #stallMs: number;
  readonly #agents = new Map<string, Promise<Agent>>();

  constructor(
    deps: { clock: Clock; random: Random },
    { attempts = 4, stallMs = 15_000 }: { attempts?: number; stallMs?: number } = {},
  ) {
    this.#deps = deps;
    this.#attempts = attempts;
    this.#stallMs = stallMs;
  }

  /**
   * `use` with the answer, again after a while when the server or the way to it failed. A final
   * refusal is an answer like any; UNREACHABLE and TIMEOUT are thrown after the last attempt.
   */
  async ask<T>(asked: WebRequest, use: (answer: WebAnswer) => Promise<T>): Promise<T> {
    return this.retrying(asked.url, asked.signal, async () => use(await this.once(asked)));
  }

  /** Runs `attempt` until it succeeds, or fails for another reason than the network. */
  async retrying<T>(url: URL, signal: AbortSignal, attempt: () => Promise<T>): Promise<T> {
    for (let count = 0; ; count++) {
      signal.throwIfAborted();
      try {
        return await attempt();
      } catch (cause) {
        signal.throwIfAborted();
        const error = asPrestageError(cause, url);
        const final = error.code !== "UNREACHABLE" && error.code !== "TIMEOUT";
        if (final || count + 1 >= this.#attempts) throw error;
        const askedMs = Number(error.details.retryAfterMs ?? 0);
        if (askedMs > RETRY_AFTER_MS_MAX) throw error;
        const waitMs = Math.max(askedMs, backoffMs(count, this.#deps.random));
        await this.#deps.clock.sleep(waitMs, { signal });
      }
    }
  }

  /** One request, its redirects followed. Throws UNREACHABLE also for answers worth a retry. */
  async once(asked: WebRequest): Promise<WebAnswer> {
    let url = asked.url;
    for (let hop = 0; hop <= HOPS_MAX; hop++) {
      const answer = await this.#hop(asked, url);
      const { status } = answer;
      if (RETRYABLE.has(status)) {
        await answer.body.dump({ limit: 16_384 });
        const retryAfterMs = this.#retryAfterMs(answer);
        throw new PrestageError("UNREACHABLE", `${url.host} answers ${status}`, {
          details: retryAfterMs === null ? { status } : { status, retryAfterMs },
          remedy: "The server says so: see its own log. It is asked again by itself.",
        });
      }
      const location = answer.header("location");
      if (!REDIRECTS.has(status) || location === undefined) return answer;
      await answer.body.dump({ limit: 16_384 });
      url = redirected(url, location);
    }
    throw new PrestageError("NOT_FOUND", `${shownUrl(asked.url)} redirects too often`);
  }

  async close(): Promise<void> {
    const agents = [...this.#agents.values()];
    this.#agents.clear();
    await Promise.all(agents.map(async (agent) => (await agent).destroy()));
  }

  /** What `Retry-After` says, in seconds or as a date; null when it says nothing. */
  #retryAfterMs(answer: WebAnswer): number | null {
    const text = answer.header("retry-after") ?? "";
    const ms = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - this.#deps.clock.now();
    return Number.isNaN(ms) ? null : Math.max(0, ms);
  }

  async #hop(asked: WebRequest, url: URL): Promise<WebAnswer> {
    const { method = "GET", signal, authorize, form } = asked;
    const typed: Record<string, string> = form
      ? { "content-type": "application/x-www-form-urlencoded" }
      : {};
    const plain = { "accept-encoding": "identity", ...typed, ...asked.headers };
    const own = url.origin === asked.url.origin;
    const headers = own && authorize ? await authorize({ method, url, headers: plain }) : plain;
    const undici = await import("undici");
    const bare = new URL(url);
    bare.hash = "";
    const dispatcher = await this.#agent(undici.Agent, own ? asked : {});
    const body = own && form ? form.toString() : null;
    const answer = await undici.request(bare, { dispatcher, method, signal, headers, body });
    return {
      status: answer.statusCode,
      header: (name) => [answer.headers[name] ?? []].flat()[0],
      body: answer.body,
    };
  }

  /** One pool for each way of proving and trusting; a renewed certificate gets a new one. */
  #agent(Pool: typeof Agent, { tls, caFile }: Pick<WebRequest, "tls" | "caFile">): Promise<Agent> {
    const kind = tls ? "fleet " : `${caFile ?? ""} `;
    const key = kind + (tls?.cert ?? "");
    const known = this.#agents.get(key);
    if (known) return known;
    for (const [name, old] of this.#agents)
      if (name.startsWith(kind)) {
        this.#agents.delete(name);
        void old.then((agent) => agent.close());
      }
    const made = makeAgent(Pool, this.#stallMs, tls, caFile);
    this.#agents.set(key, made);
    made.catch(() => this.#agents.delete(key)); // who asked for it has the error
    return made;
  }
}

async function makeAgent(
  Pool: typeof Agent,
  stallMs: number,
  tls: WebRequest["tls"],
  caFile: string | undefined,
): Promise<Agent> {
  const connect = tls ?? (caFile ? { ca: await trusted(caFile) } : {});
  return new Pool({
    connections: CONNECTIONS,
    keepAliveTimeout: 30_000,
    headersTimeout: stallMs,
    bodyTimeout: stallMs,
    connect: { ...connect, timeout: Math.min(CONNECT_MS, stallMs) },
  });
}

/** Throws CONFIG_INVALID when the file cannot be read. */
async function trusted(caFile: string): Promise<string[]> {
  const own = await readFile(caFile, "utf8").catch((cause: unknown) => {
    throw new PrestageError("CONFIG_INVALID", `sources: cannot read caFile ${caFile}`, { cause });
  });
  return [...rootCertificates, own];
}

/** The text of a small body. Throws TOO_LARGE beyond `bytesMax`. */
export async function bodyText({ body }: WebAnswer, bytesMax: number): Promise<string> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of body) {
    bytes += part.length;
    if (bytes > bytesMax)
      throw new PrestageError("TOO_LARGE", `the answer is over ${bytesMax} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}

function redirected(from: URL, location: string): URL {
  const url = URL.canParse(location, from.href) ? new URL(location, from.href) : null;
  const allowed = url?.protocol === "https:" || url?.protocol === from.protocol;
  if (url && allowed && url.username === "" && url.password === "") return url;
  throw new PrestageError("NOT_FOUND", `${shownUrl(from)} redirects where nobody should follow`);
}

/** What undici throws names no header and no query; only its code is kept. */
function asPrestageError(cause: unknown, url: URL): PrestageError {
  if (cause instanceof PrestageError) return cause;
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
  const timedOut = code.includes("TIMEOUT");
  const [, message, remedy] = FAILURES.find(([known]) => known.test(code)) ?? [];
  return new PrestageError(timedOut ? "TIMEOUT" : "UNREACHABLE", `${url.host} ${message}`, {
    cause,
    details: { cause: code },
    ...(remedy === undefined ? {} : { remedy }),
  });
}

const REACH_REMEDY =
  "Is it up, and does this host reach it? A proxy or firewall may stand between.";
/** By the code of a failure: what it means, and what to do. */
const FAILURES: readonly [code: RegExp, message: string, remedy: string][] = [
  [/^UND_ERR_(BODY|HEADERS)_TIMEOUT$/, "fell silent", "Slow stores: sourceLimits.stallMs, higher."],
  [/TIMEOUT|^ETIMEDOUT$/, "does not answer in time", REACH_REMEDY],
  [
    /^(ENOTFOUND|EAI_)/,
    "has no address: its name is not known",
    "Check the URL and this host's DNS.",
  ],
  [/^ECONNREFUSED$/, "refuses connections", REACH_REMEDY],
  [
    /CERT|SIGNATURE|ERR_TLS/,
    "shows a certificate that is not trusted here",
    "Give its CA as caFile under `sources:` in agent.yaml.",
  ],
  [/^/, "cannot be reached", REACH_REMEDY],
];
