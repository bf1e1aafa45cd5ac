/**
 * Which settings count for a URL, and the secret they name. A secret is read when it is used, so
 * that a new one counts at once; it is never kept, and never part of an error.
 */
import { readFile, stat } from "node:fs/promises";
import { PrestageError } from "../../shared/errors.ts";
import { shownUrl } from "../../shared/source-url.ts";
import type { SourceSettings } from "./settings.ts";

export type AwsKeys = { accessKeyId: string; secretAccessKey: string; sessionToken?: string };
type Auth = NonNullable<SourceSettings["auth"]>;

const SECRET_BYTES_MAX = 1 << 20;

export class Credentials {
  readonly #settings: readonly { prefix: URL; settings: SourceSettings }[];
  readonly #env: (name: string) => string | undefined;

  constructor(settings: readonly SourceSettings[], env: (name: string) => string | undefined) {
    this.#settings = settings
      .map((s) => ({ prefix: new URL(s.url), settings: s }))
      .sort((a, b) => b.prefix.pathname.length - a.prefix.pathname.length);
    this.#env = env;
  }

  /** What is configured for this URL; null when nothing is. */
  settings(url: URL): SourceSettings | null {
    return this.#settings.find(({ prefix }) => covers(prefix, url))?.settings ?? null;
  }

  /** Value of the Authorization header by basic or bearer; null when the URL has no such. */
  async authorization(url: URL): Promise<string | null> {
    const auth = this.settings(url)?.auth;
    if (auth?.scheme === "bearer") return `Bearer ${await this.secret(auth)}`;
    if (auth?.scheme !== "basic") return null;
    return `Basic ${Buffer.from(await this.secret(auth), "utf8").toString("base64")}`;
  }

  /** User and password of a basic secret; null when the URL has none. */
  async login(url: URL): Promise<{ user: string; password: string } | null> {
    const auth = this.settings(url)?.auth;
    if (auth?.scheme !== "basic") return null;
    const secret = await this.secret(auth);
    const colon = secret.indexOf(":");
    if (colon < 0) throw unusable(auth, "is not USER:PASSWORD");
    return { user: secret.slice(0, colon), password: secret.slice(colon + 1) };
  }

  async aws(url: URL): Promise<AwsKeys | null> {
    const auth = this.settings(url)?.auth;
    if (auth?.scheme !== "aws") return null;
    const text = await this.secret(auth);
    const keys = text.includes("[") ? fromProfile(text, auth.profile) : fromColons(text);
    if (!keys) throw unusable(auth, `has no keys of profile ${auth.profile}`);
    return keys;
  }

  /** The text that an `auth` names, without the line break at its end. */
  async secret(auth: Auth): Promise<string> {
    const text = auth.file === undefined ? this.#env(auth.env ?? "") : await readSecret(auth.file);
    if (text === undefined || text.trim() === "") throw unusable(auth, "is missing or empty");
    return text.trim();
  }
}

/** Refused by the source for want of credentials, or of better ones. */
export function refusedAccess(url: URL, given: boolean): PrestageError {
  const message = given ? "refuses the credentials for" : "wants credentials for";
  return new PrestageError("FORBIDDEN", `${url.host} ${message} ${shownUrl(url)}`, {
    remedy: "Name those that may read it in agent.yaml under `sources:` (docs/sources.md).",
  });
}

/** By whole path segments: `/a` covers `/a` and `/a/b`, not `/ab`. */
function covers(prefix: URL, url: URL): boolean {
  if (prefix.protocol !== url.protocol || prefix.host !== url.host) return false;
  const base = prefix.pathname.replace(/\/+$/, "");
  return url.pathname === base || url.pathname.startsWith(`${base}/`) || base === "";
}

async function readSecret(file: string): Promise<string | undefined> {
  const found = await stat(file).catch(() => null); // the caller says which file is missing
  if (!found?.isFile() || found.size > SECRET_BYTES_MAX) return undefined;
  return readFile(file, "utf8");
}

function unusable(auth: Auth, problem: string): PrestageError {
  const where = auth.file === undefined ? `the variable ${auth.env}` : auth.file;
  return new PrestageError("CONFIG_INVALID", `sources: the secret in ${where} ${problem}`);
}

function fromColons(text: string): AwsKeys | null {
  const [accessKeyId, secretAccessKey, sessionToken] = text.split(":");
  if (!accessKeyId || !secretAccessKey) return null;
  return { accessKeyId, secretAccessKey, ...(sessionToken ? { sessionToken } : {}) };
}

/** One section of an AWS credentials file. */
function fromProfile(text: string, profile: string): AwsKeys | null {
  const values: Record<string, string> = {};
  let section = "";
  for (const line of text.split(/\r?\n/)) {
    const heading = /^\s*\[(?:profile\s+)?([^\]]+)\]/.exec(line)?.[1];
    if (heading) section = heading.trim();
    const [, name, value] = /^\s*([a-z_]+)\s*=\s*(\S+)/.exec(line) ?? [];
    if (section === profile && name && value) values[name] = value;
  }
  const { aws_access_key_id: id, aws_secret_access_key: key, aws_session_token: token } = values;
  return id && key
    ? { accessKeyId: id, secretAccessKey: key, ...(token ? { sessionToken: token } : {}) }
    : null;
}
