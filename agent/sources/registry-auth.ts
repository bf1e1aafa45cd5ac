/**
 * How a registry is asked with the right to be asked: its challenge is learned once, by the ping
 * of the distribution API, then tokens are got from the server it names, for one repository and
 * for reading only, and kept until shortly before they expire.
 * Source: OCI Distribution Specification 1.1; Distribution's token authentication documents.
 */
import { z } from "zod";
import { PrestageError } from "../../shared/errors.ts";
import { type Repository, repositoryUrl } from "../../shared/image.ts";
import type { Clock } from "../../shared/runtime/clock.ts";
import { Recent } from "../../shared/runtime/recent.ts";
import { type Credentials, refusedAccess } from "./credentials.ts";
import { dockerLogin, type Login } from "./docker-config.ts";
import type { Programs } from "./program.ts";
import { bodyText, type Web, type WebRequest } from "./web.ts";

export type RegistryDeps = {
  web: Web;
  credentials: Credentials;
  clock: Clock;
  programs: Programs;
};
type Challenge = { scheme: "basic" | "bearer"; realm: string; service: string | null };
type Token = { header: string; untilMs: number };

const CHALLENGE_MS = 10 * 60_000;
/** What the specification says when an answer does not. */
const TOKEN_SECONDS = 60;
const TOKEN_MARGIN_MS = 10_000;
const TOKENS_MAX = 1_000;
const REGISTRIES_MAX = 200;
const ANSWER_BYTES_MAX = 256 << 10;

const TokenAnswer = z
  .object({
    token: z.string().min(1).optional(),
    access_token: z.string().min(1).optional(),
    expires_in: z.number().min(0).optional(),
  })
  .refine((answer) => answer.token ?? answer.access_token);
export class RegistryAuth {
  readonly #deps: RegistryDeps;
  readonly #challenges = new Recent<string, { challenge: Challenge | null; untilMs: number }>(
    REGISTRIES_MAX,
  );
  readonly #tokens = new Recent<string, Token>(TOKENS_MAX);

  constructor(deps: RegistryDeps) {
    this.#deps = deps;
  }

  /** Value of the Authorization header for reading that repository; null where none is needed. */
  async header(api: URL, image: Repository, signal: AbortSignal): Promise<string | null> {
    const challenge = await this.#challenge(api, image, signal);
    if (challenge === null) return null;
    const url = new URL(repositoryUrl(image));
    const known = this.#tokens.get(url.href);
    if (known && this.#deps.clock.monotonic() < known.untilMs) return known.header;
    const fixed = await this.#deps.credentials.authorization(url);
    if (fixed?.startsWith("Bearer ")) return fixed;
    const login = await this.#login(image, signal);
    if (challenge.scheme === "basic") {
      if (login && "user" in login) return basic(login);
      throw refusedAccess(url, login !== null);
    }
    const token = await this.#token(api, challenge, image, login, signal);
    this.#tokens.set(url.href, token);
    return token.header;
  }

  /** Forgets what was refused: the next request gets anew. False when there was nothing. */
  refused(api: URL, image: Repository): boolean {
    this.#challenges.delete(api.href);
    return this.#tokens.delete(new URL(repositoryUrl(image)).href);
  }

  async #challenge(api: URL, image: Repository, signal: AbortSignal): Promise<Challenge | null> {
    const { web, clock } = this.#deps;
    const known = this.#challenges.get(api.href);
    if (known && clock.monotonic() < known.untilMs) return known.challenge;
    const asked = { url: new URL("v2/", api), signal, caFile: this.#caFile(image) };
    const challenge = await web.ask(asked, async ({ status, header, body }) => {
      await body.dump({ limit: ANSWER_BYTES_MAX });
      return status === 401 ? parseChallenge(header("www-authenticate") ?? "") : null;
    });
    this.#challenges.set(api.href, { challenge, untilMs: clock.monotonic() + CHALLENGE_MS });
    return challenge;
  }

  async #token(
    api: URL,
    challenge: Challenge,
    image: Repository,
    login: Login | null,
    signal: AbortSignal,
  ): Promise<Token> {
    const { web, clock } = this.#deps;
    const url = tokenServer(api, challenge);
    const scope = `repository:${image.repository}:pull`;
    const { service } = challenge;
    const fields = { scope, ...(service === null ? {} : { service }) };
    for (const [name, value] of Object.entries(fields)) url.searchParams.set(name, value);
    const request: WebRequest = { url, signal, caFile: this.#caFile(image) };
    if (login && "user" in login)
      request.authorize = async ({ headers }) => ({ ...headers, authorization: basic(login) });
    else if (login) {
      url.search = "";
      const grant = { grant_type: "refresh_token", refresh_token: login.refreshToken };
      const form = new URLSearchParams({ ...fields, ...grant, client_id: "prestage" });
      Object.assign(request, { method: "POST", form });
    }
    return web.ask(request, async (answer) => {
      const { status } = answer;
      const text = await bodyText(answer, ANSWER_BYTES_MAX);
      if (status !== 200) throw refusedAccess(new URL(repositoryUrl(image)), login !== null);
      const { token, access_token, expires_in = TOKEN_SECONDS } = tokenIn(text, url);
      const untilMs = clock.monotonic() + Math.max(0, expires_in * 1000 - TOKEN_MARGIN_MS);
      return { header: `Bearer ${token ?? access_token}`, untilMs };
    });
  }

  async #login(image: Repository, signal: AbortSignal): Promise<Login | null> {
    const { credentials, programs } = this.#deps;
    const url = new URL(repositoryUrl(image));
    const auth = credentials.settings(url)?.auth;
    if (auth?.scheme === "docker")
      return dockerLogin(await credentials.secret(auth), image.registry, programs, signal);
    return credentials.login(url);
  }

  #caFile(image: Repository): string | undefined {
    return this.#deps.credentials.settings(new URL(repositoryUrl(image)))?.caFile;
  }
}

const basic = ({ user, password }: { user: string; password: string }) =>
  `Basic ${Buffer.from(`${user}:${password}`, "utf8").toString("base64")}`;

/** The first of the challenges in a WWW-Authenticate header that can be met. Throws PROTOCOL. */
export function parseChallenge(header: string): Challenge {
  for (const [, scheme = "", rest = ""] of header.matchAll(
    /(?:^|,\s*)(basic|bearer)\s+((?:[a-z_]+=(?:"[^"]*"|[^\s,"]*)(?:,\s*(?=[a-z_]+=)|))+)/gi,
  )) {
    const fields = new Map<string, string>();
    for (const [, name = "", quoted, bare] of rest.matchAll(/([a-z_]+)=(?:"([^"]*)"|([^\s,"]*))/gi))
      fields.set(name.toLowerCase(), quoted ?? bare ?? "");
    const realm = fields.get("realm") ?? "";
    if (scheme.toLowerCase() === "basic") return { scheme: "basic", realm, service: null };
    if (URL.canParse(realm))
      return { scheme: "bearer", realm, service: fields.get("service") ?? null };
  }
  throw new PrestageError("PROTOCOL", "the registry asks for a login of an unknown kind");
}

/** Secrets go over TLS, or in the clear to a registry that is itself asked in the clear. */
function tokenServer(api: URL, { realm }: Challenge): URL {
  const url = new URL(realm);
  if (url.protocol === "https:" || (url.protocol === "http:" && api.protocol === "http:"))
    return url;
  throw new PrestageError("PROTOCOL", `${api.host} names a token server without TLS: ${url.host}`);
}

function tokenIn(text: string, url: URL): z.infer<typeof TokenAnswer> {
  try {
    return TokenAnswer.parse(JSON.parse(text));
  } catch {
    // The text may hold the token: it is not repeated, nor is the error, which quotes it.
    throw new PrestageError("PROTOCOL", `the token server ${url.host} answered no token`);
  }
}
