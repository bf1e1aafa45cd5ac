/**
 * Gets a calendar or feed by HTTP or from a file: conditional, bounded in size, time and redirects.
 * Secrets go only to the origin they are for, and no message names more of a URL than its origin.
 */
import { readFile, stat } from "node:fs/promises";
import { Agent, request } from "undici";
import { PrestageError } from "../../shared/errors.ts";
import type { Clock } from "../../shared/runtime/clock.ts";
import { checkHost, guardedLookup } from "./addresses.ts";
import type { FetchedSource } from "./settings.ts";

export type Validators = { etag: string | null; lastModified: string | null };
export type Fetched =
  | ({ kind: "new"; body: Uint8Array; maxAgeMs: number | null } & Validators)
  | { kind: "unchanged"; maxAgeMs: number | null };

export type FetchOptions = {
  clock: Clock;
  signal: AbortSignal;
  bytesMax: number;
  timeoutMs: number;
  env: Readonly<Record<string, string | undefined>>;
};

const REDIRECTS_MAX = 5;
const ACCEPT =
  "text/calendar, application/rss+xml, application/atom+xml, application/feed+json, application/json, text/xml, */*;q=0.1";

/**
 * Throws UNREACHABLE, TIMEOUT, TOO_LARGE, FORBIDDEN (addresses, redirects), UNAUTHENTICATED,
 * NOT_FOUND, RATE_LIMITED and UNAVAILABLE (`retryAfterMs` in the details where it was told),
 * PROTOCOL, CONFIG_INVALID (a secret that is not there).
 */
export async function fetchSource(
  source: FetchedSource,
  known: Validators,
  options: FetchOptions,
): Promise<Fetched> {
  if (source.file !== undefined) return fromFile(source.file, known, options.bytesMax);
  const url = new URL(await urlOf(source, options.env));
  const authorization = await authorizationOf(source, options.env);
  const agent = new Agent({
    connect: { lookup: guardedLookup(source.privateNetwork), timeout: options.timeoutMs },
  });
  const deadline = new AbortController();
  const cancel = options.clock.after(options.timeoutMs, () => deadline.abort());
  const signal = AbortSignal.any([options.signal, deadline.signal]);
  try {
    return await fromUrl(url, { ...options, source, known, authorization, agent, signal });
  } catch (cause) {
    if (options.signal.aborted) throw options.signal.reason;
    if (deadline.signal.aborted)
      throw new PrestageError("TIMEOUT", `${url.origin} took over ${options.timeoutMs} ms`);
    throw cause;
  } finally {
    cancel();
    await agent.destroy();
  }
}

/** Where a source is, without what may be secret. */
export function addressOf(source: FetchedSource): string {
  if (source.file !== undefined) return source.file;
  if (source.url === undefined) return `(URL of ${source.urlFile ?? source.urlEnv})`;
  const { origin, pathname, search } = new URL(source.url);
  return pathname === "/" && search === "" ? origin : `${origin}/…`;
}

type Request = Omit<FetchOptions, "env"> & {
  source: FetchedSource;
  known: Validators;
  authorization: Record<string, string>;
  agent: Agent;
};

async function fromUrl(start: URL, options: Request): Promise<Fetched> {
  const { source, known, authorization } = options;
  let url = start;
  for (let redirects = 0; redirects <= REDIRECTS_MAX; redirects++) {
    checkHost(url, source.privateNetwork);
    const sameOrigin = url.origin === start.origin;
    const answer = await request(url, {
      dispatcher: options.agent,
      signal: options.signal,
      headers: {
        accept: ACCEPT,
        "accept-encoding": "identity",
        "user-agent": "prestage",
        ...(sameOrigin && authorization),
        ...(sameOrigin && known.etag && { "if-none-match": known.etag }),
        ...(sameOrigin && known.lastModified && { "if-modified-since": known.lastModified }),
      },
    }).catch((cause: unknown) => {
      throw unreachable(url, cause);
    });
    const { statusCode: status, headers, body } = answer;
    const maxAgeMs = maxAgeOf(one(headers["cache-control"]));
    if (status === 200)
      return {
        kind: "new",
        body: await bounded(body, options.bytesMax, url),
        etag: shortHeader(headers.etag),
        lastModified: shortHeader(headers["last-modified"]),
        maxAgeMs,
      };
    body.once("error", () => {}); // what is left of the body is not wanted
    body.destroy();
    if (status === 304) return { kind: "unchanged", maxAgeMs };
    const location = one(headers.location);
    if (status < 300 || status >= 400 || location === undefined)
      throw refused(url, status, one(headers["retry-after"]), options.clock);
    url = redirected(url, location);
  }
  throw new PrestageError("PROTOCOL", `${start.origin} redirects over ${REDIRECTS_MAX} times`);
}

function redirected(from: URL, location: string): URL {
  let to: URL;
  try {
    to = new URL(location, from);
  } catch (cause) {
    throw new PrestageError("PROTOCOL", `${from.origin} redirects to no URL`, { cause });
  }
  const downgrade = from.protocol === "https:" && to.protocol !== "https:";
  if (downgrade || !["http:", "https:"].includes(to.protocol))
    throw new PrestageError("FORBIDDEN", `${from.origin} redirects to ${to.protocol}//`);
  return to;
}

async function bounded(
  body: AsyncIterable<Uint8Array>,
  bytesMax: number,
  url: URL,
): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  try {
    for await (const part of body) {
      bytes += part.length;
      if (bytes > bytesMax)
        throw new PrestageError("TOO_LARGE", `${url.origin} sent over ${bytesMax} bytes`);
      parts.push(part);
    }
  } catch (cause) {
    throw cause instanceof PrestageError ? cause : unreachable(url, cause);
  }
  return Buffer.concat(parts);
}

function refused(
  url: URL,
  status: number,
  retryAfter: string | undefined,
  clock: Clock,
): PrestageError {
  const retryAfterMs = retryAfterOf(retryAfter, clock.now());
  const message = `${url.origin} answered ${status}`;
  const details = { status, ...(retryAfterMs !== null && { retryAfterMs }) };
  if (status === 401 || status === 403)
    return new PrestageError("UNAUTHENTICATED", message, { details });
  if (status === 404 || status === 410) return new PrestageError("NOT_FOUND", message, { details });
  if (status === 429) return new PrestageError("RATE_LIMITED", message, { details });
  return new PrestageError(status >= 500 ? "UNAVAILABLE" : "PROTOCOL", message, { details });
}

function unreachable(url: URL, cause: unknown): PrestageError {
  if (cause instanceof PrestageError) return cause;
  const code = (cause as { code?: unknown } | null)?.code;
  return new PrestageError(
    "UNREACHABLE",
    `${url.origin} cannot be reached${typeof code === "string" ? ` (${code})` : ""}`,
  );
}

async function fromFile(path: string, known: Validators, bytesMax: number): Promise<Fetched> {
  const { size, mtimeMs } = await stat(path).catch((cause: unknown) => {
    throw new PrestageError("NOT_FOUND", `cannot read ${path}`, { cause });
  });
  if (size > bytesMax) throw new PrestageError("TOO_LARGE", `${path} has over ${bytesMax} bytes`);
  const etag = `${size}-${mtimeMs}`;
  if (known.etag === etag) return { kind: "unchanged", maxAgeMs: null };
  const body = await readFile(path).catch((cause: unknown) => {
    throw new PrestageError("NOT_FOUND", `cannot read ${path}`, { cause });
  });
  return { kind: "new", body, etag, lastModified: null, maxAgeMs: null };
}

async function urlOf(source: FetchedSource, env: FetchOptions["env"]): Promise<string> {
  if (source.url !== undefined) return source.url;
  const text = await secretOf({ file: source.urlFile, env: source.urlEnv }, env);
  if (!/^https?:\/\/[^\s]+$/.test(text) || !URL.canParse(text))
    throw new PrestageError("CONFIG_INVALID", `source ${source.name}: the secret is no URL`);
  return text;
}

async function authorizationOf(
  { auth }: FetchedSource,
  env: FetchOptions["env"],
): Promise<Record<string, string>> {
  if (!auth) return {};
  const secret = await secretOf(auth, env);
  if (auth.scheme === "header") return { [auth.header ?? "authorization"]: secret };
  if (auth.scheme === "bearer") return { authorization: `Bearer ${secret}` };
  return { authorization: `Basic ${Buffer.from(secret).toString("base64")}` };
}

/** Read anew each time, so that a changed secret needs no restart. */
async function secretOf(
  { file, env: name }: { file?: string | undefined; env?: string | undefined },
  env: FetchOptions["env"],
): Promise<string> {
  const text =
    file === undefined
      ? env[name ?? ""]
      : await readFile(file, "utf8").catch((cause: unknown) => {
          throw new PrestageError("CONFIG_INVALID", `cannot read the secret file ${file}`, {
            cause,
          });
        });
  const secret = text?.trim() ?? "";
  if (secret === "" || /[\r\n\0]/.test(secret))
    throw new PrestageError("CONFIG_INVALID", `no secret in ${file ?? `the variable ${name}`}`);
  return secret;
}

function maxAgeOf(cacheControl: string | undefined): number | null {
  const [, seconds] = /(?:^|[,\s])max-age=(\d{1,9})/i.exec(cacheControl ?? "") ?? [];
  return seconds === undefined ? null : Number(seconds) * 1000;
}

function retryAfterOf(text: string | undefined, nowMs: number): number | null {
  if (text === undefined) return null;
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000;
  const at = Date.parse(text);
  return Number.isNaN(at) ? null : Math.max(0, at - nowMs);
}

function one(header: string | string[] | undefined): string | undefined {
  return Array.isArray(header) ? header[0] : header;
}

function shortHeader(header: string | string[] | undefined): string | null {
  const text = one(header);
  return text !== undefined && text.length <= 300 ? text : null;
}
