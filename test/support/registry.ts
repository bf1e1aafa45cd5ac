/** A real registry (Debian's docker-registry) and `skopeo` for as long as a test needs them. */
import { execFile, spawn } from "node:child_process";
import { createPrivateKey, sign, X509Certificate } from "node:crypto";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { systemClock } from "../../shared/runtime/clock.ts";
import { makeTestCa } from "./certs.ts";

const START_WITHIN_MS = 60_000;
/** Bcrypt of `PASSWORD`, four rounds. */
const HTPASSWD = "reader:$2b$04$GgHoChl2ApDeBbNy.SGa3OfYWicmSj957WV04z4nyHZJUOk02lZF6\n";
export const LOGIN = { user: "reader", password: "s3cret-of-reader" };

const find = (name: string) =>
  ["/usr/bin", "/usr/sbin", "/usr/local/bin"]
    .map((dir) => join(dir, name))
    .find((file) => existsSync(file)) ?? null;

/** Why there is none; null when both are here. */
export function registryObstacle(): string | null {
  const missing = ["docker-registry", "skopeo"].filter((name) => find(name) === null);
  return missing.length === 0
    ? null
    : `no ${missing.join(" and ")} here: apt-get install docker-registry skopeo`;
}

export type TestRegistry = {
  /** `127.0.0.1:PORT`. */
  host: string;
  /** What it logged: a line for each request. */
  log(): string;
  stop(): Promise<void>;
  /** Again on the same port, with the same content. */
  start(): Promise<void>;
};

/** `dir` is made; it keeps the images. */
export async function startRegistry(
  dir: string,
  options: { auth?: "none" | "basic" | "token" } = {},
): Promise<TestRegistry> {
  await mkdir(dir, { recursive: true });
  const port = await freePort();
  const tokens = options.auth === "token" ? await startTokenServer(dir) : null;
  let said = "";
  let running: { kill(): void; ended: Promise<unknown> } | null = null;
  const start = async () => {
    const file = join(dir, "config.yml");
    await writeFile(join(dir, "htpasswd"), HTPASSWD);
    await writeFile(file, JSON.stringify(configOf(dir, port, options.auth, tokens?.url)));
    const child = spawn(find("docker-registry") ?? "", ["serve", file], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    const ended = once(child, "exit");
    const before = said.length;
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (text) => {
        said += text;
      });
    const endMs = systemClock.monotonic() + START_WITHIN_MS;
    while (!said.slice(before).includes("listening on")) {
      if (child.exitCode !== null || systemClock.monotonic() > endMs)
        throw new Error(`docker-registry does not start: ${said.slice(-2_000)}`);
      await systemClock.sleep(20);
    }
    running = { kill: () => child.kill("SIGKILL"), ended };
  };
  await start();
  return {
    host: `127.0.0.1:${port}`,
    log: () => said,
    start,
    stop: async () => {
      running?.kill();
      await running?.ended;
      running = null;
      tokens?.server.close();
    },
  };
}

/** Runs `skopeo`; gives what it printed. Its own settings are not the machine's. */
export async function skopeo(args: string[], options: { conf?: string } = {}): Promise<string> {
  const env = {
    PATH: "/usr/bin:/bin",
    HOME: "/nonexistent",
    REGISTRY_AUTH_FILE: "/nonexistent/auth.json",
  };
  const settings = options.conf === undefined ? [] : ["--registries-conf", options.conf];
  const run = promisify(execFile);
  return (
    await run(find("skopeo") ?? "", ["--insecure-policy", ...settings, ...args], {
      env,
      maxBuffer: 16 << 20,
    })
  ).stdout;
}

/** Copies the image of a layout folder into the registry, all platforms of it. */
export async function push(layout: string, tag: string, to: string): Promise<void> {
  await skopeo([
    "copy",
    "--all",
    "--preserve-digests",
    "--dest-tls-verify=false",
    `--dest-creds=${LOGIN.user}:${LOGIN.password}`,
    `oci:${layout}:${tag}`,
    `docker://${to}`,
  ]);
}

export async function freePort(): Promise<number> {
  const server = createTcpServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

function configOf(dir: string, port: number, auth = "none", realm = "") {
  const token = {
    realm,
    service: "test-registry",
    issuer: "test-issuer",
    rootcertbundle: join(dir, "token.pem"),
  };
  return {
    version: "0.1",
    log: { level: "info", accesslog: { disabled: false } },
    storage: { filesystem: { rootdirectory: join(dir, "data") }, delete: { enabled: true } },
    http: { addr: `127.0.0.1:${port}`, secret: "of the test" },
    ...(auth === "basic"
      ? { auth: { htpasswd: { realm: "test", path: join(dir, "htpasswd") } } }
      : {}),
    ...(auth === "token" ? { auth: { token } } : {}),
  };
}

/** Gives tokens to `LOGIN` as Distribution's token specification says. */
async function startTokenServer(dir: string): Promise<{ server: Server; url: string }> {
  const ca = await makeTestCa();
  const { cert, key: keyPem } = await ca.agent("tokens");
  await writeFile(join(dir, "token.pem"), ca.caPem);
  const x5c = [new X509Certificate(cert).raw.toString("base64")];
  const privateKey = createPrivateKey(keyPem);
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? "", "http://token");
    const right = Buffer.from(`${LOGIN.user}:${LOGIN.password}`).toString("base64");
    if (request.headers.authorization !== `Basic ${right}`) {
      response.statusCode = 401;
      response.end("{}");
      return;
    }
    const [type, name, actions = ""] = (url.searchParams.get("scope") ?? "").split(":");
    const nowSeconds = Math.floor(systemClock.now() / 1000);
    const claims = {
      iss: "test-issuer",
      sub: LOGIN.user,
      aud: url.searchParams.get("service"),
      exp: nowSeconds + 300,
      nbf: nowSeconds - 60,
      iat: nowSeconds,
      jti: "1",
      access: name ? [{ type, name, actions: actions.split(",") }] : [],
    };
    const text = `${part({ typ: "JWT", alg: "ES256", x5c })}.${part(claims)}`;
    const key = { key: privateKey, dsaEncoding: "ieee-p1363" as const };
    const signature = sign("sha256", Buffer.from(text), key).toString("base64url");
    response.end(JSON.stringify({ token: `${text}.${signature}`, expires_in: 300 }));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/token` };
}
