/**
 * Logins as the Docker command line keeps them: in a `config.json`, or with the credential helper
 * that it names (`docker-credential-NAME`, which cloud registries have). Neither texts nor errors of
 * parsing are repeated: both may quote a secret.
 */
import { z } from "zod";
import { PrestageError } from "../../shared/errors.ts";
import { DOCKER_HUB } from "../../shared/image.ts";
import type { Programs } from "./program.ts";

export type Login = { user: string; password: string } | { refreshToken: string };

const HUB_KEY = "https://index.docker.io/v1/";
const HUB_KEYS = [HUB_KEY, "index.docker.io", "registry-1.docker.io"];
const HELPER_MS = 30_000;
/** By which helpers say that the secret is a token and no password. */
const TOKEN_USER = "<token>";

const DockerConfig = z.object({
  auths: z
    .record(
      z.string(),
      z.object({
        auth: z.string().optional(),
        username: z.string().optional(),
        password: z.string().optional(),
        identitytoken: z.string().optional(),
      }),
    )
    .default({}),
  credHelpers: z.record(z.string(), z.string()).default({}),
  credsStore: z.string().optional(),
});
const Helped = z.object({ Username: z.string(), Secret: z.string().min(1) });

/** What the config has for a registry; null when it has nothing. */
export async function dockerLogin(
  text: string,
  registry: string,
  programs: Programs,
  signal: AbortSignal,
): Promise<Login | null> {
  const config = parsed(DockerConfig, text, "sources: the docker config.json cannot be read");
  const names = registry === DOCKER_HUB ? [...HUB_KEYS, registry] : [registry];
  const keys = names.flatMap((name) => [name, `https://${name}`, `https://${name}/`]);
  const first = <T>(from: Record<string, T>) => keys.map((key) => from[key]).find(Boolean);
  const helper = first(config.credHelpers) ?? config.credsStore;
  const written = loginOf(first(config.auths));
  if (written || !helper) return written;
  return askHelper(helper, registry === DOCKER_HUB ? HUB_KEY : registry, programs, signal);
}

function loginOf(entry: z.infer<typeof DockerConfig>["auths"][string] | undefined): Login | null {
  if (entry?.identitytoken) return { refreshToken: entry.identitytoken };
  if (entry?.username && entry.password) return { user: entry.username, password: entry.password };
  const decoded = Buffer.from(entry?.auth ?? "", "base64").toString("utf8");
  const colon = decoded.indexOf(":");
  if (colon < 0) return null;
  return { user: decoded.slice(0, colon), password: decoded.slice(colon + 1).replace(/\0+$/, "") };
}

async function askHelper(
  helper: string,
  server: string,
  programs: Programs,
  signal: AbortSignal,
): Promise<Login | null> {
  if (!/^[A-Za-z0-9._-]+$/.test(helper))
    throw new PrestageError("CONFIG_INVALID", "sources: the docker config.json names no helper");
  const name = `docker-credential-${helper}`;
  const asked = { name, args: ["get"], env: {}, input: server, stallMs: HELPER_MS, signal };
  const { code, output } = await programs.run(asked);
  // Helpers answer so when they have nothing for the registry, which may need nothing.
  if (code !== 0) return null;
  const text = output.toString("utf8");
  const { Username: user, Secret: secret } = parsed(Helped, text, `${name} answers no login`);
  return user === TOKEN_USER ? { refreshToken: secret } : { user, password: secret };
}

function parsed<S extends z.ZodType>(schema: S, text: string, problem: string): z.infer<S> {
  try {
    return schema.parse(JSON.parse(text));
  } catch {
    throw new PrestageError("CONFIG_INVALID", problem);
  }
}
