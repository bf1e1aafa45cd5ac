/** Real servers that artifacts come from, for as long as a test needs them. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { createServer as createHttpServer } from "node:http";
import { type AddressInfo, connect, createServer } from "node:net";
import { join } from "node:path";
import { systemClock } from "../../shared/runtime/clock.ts";

const START_WITHIN_MS = 60_000;
const INSTALL: Record<string, string> = {
  nginx: "apt-get install nginx",
  versitygw: "go install github.com/versity/versitygw/cmd/versitygw@v1.8.0 into /usr/local/bin",
  git: "apt-get install git",
  rsync: "apt-get install rsync",
};

export type RealServer = { port: number; said(): string; stop(): Promise<void> };

function find(name: string): string | null {
  return (
    ["/usr/bin", "/usr/sbin", "/usr/local/bin"]
      .map((dir) => join(dir, name))
      .find((file) => existsSync(file)) ?? null
  );
}

/**
 * Why tests with these programs cannot run here; null when they can. Throws with CI=true, where
 * `.ci/run` has installed them.
 */
export function obstacleTo(...names: string[]): string | null {
  const missing = names.filter((name) => find(name) === null);
  if (missing.length === 0) return null;
  const text = `no ${missing.join(", ")} here: ${missing.map((n) => INSTALL[n]).join("; ")}`;
  if (process.env.CI === "true") throw new Error(text);
  process.stderr.write(`tests with real servers are skipped: ${text}\n`);
  return text;
}

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Starts a program and waits until its port takes connections. */
export async function startServer(
  name: string,
  args: string[],
  port: number,
  env: Record<string, string> = {},
): Promise<RealServer> {
  const child = spawn(find(name) ?? name, args, {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...env },
    detached: true,
  });
  let said = "";
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (text) => {
      said += text;
    });
  const ended = once(child, "exit");
  const endMs = systemClock.monotonic() + START_WITHIN_MS;
  while (!(await answers(port))) {
    if (child.exitCode !== null || systemClock.monotonic() > endMs)
      throw new Error(`${name} does not start: ${said.slice(-2_000)}`);
    await systemClock.sleep(20);
  }
  return {
    port,
    said: () => said,
    stop: async () => {
      // The whole group: git daemon and nginx have children.
      if (child.pid && child.exitCode === null && child.signalCode === null)
        process.kill(-child.pid, "SIGKILL");
      await ended;
    },
  };
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => resolve(true));
    socket.once("error", () => resolve(false));
    socket.once("close", () => socket.destroy());
    socket.once("connect", () => socket.destroy());
  });
}

/** nginx that serves `root` as JSON listings; below /private/ to `user:password` alone. */
export async function startNginx(dir: string, root: string, htpasswd: string): Promise<RealServer> {
  const port = await freePort();
  await mkdir(dir, { recursive: true });
  await writeFile(join(dir, "htpasswd"), htpasswd);
  await chmod(dir, 0o755);
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((kind) => `${kind}_temp_path ${dir}/${kind};`)
    .join(" ");
  const config = `
    daemon off; master_process off; pid ${dir}/pid; error_log ${dir}/error.log;
    events { worker_connections 64; }
    http {
      access_log ${dir}/access.log; ${temporary}
      server {
        listen 127.0.0.1:${port}; root ${root};
        location / { autoindex on; autoindex_format json; }
        location /html/ { alias ${root}/; autoindex on; }
        location /private/ {
          alias ${root}/; autoindex on; autoindex_format json;
          auth_basic "private"; auth_basic_user_file ${dir}/htpasswd;
        }
      }
    }`;
  await writeFile(join(dir, "nginx.conf"), config);
  return startServer("nginx", ["-e", join(dir, "error.log"), "-c", join(dir, "nginx.conf")], port);
}

/** An S3 store whose buckets are the folders below `root`. */
export async function startS3(
  root: string,
  keys: { access: string; secret: string; region: string },
): Promise<RealServer> {
  const port = await freePort();
  const env = { ROOT_ACCESS_KEY: keys.access, ROOT_SECRET_KEY: keys.secret };
  const args = ["--port", `127.0.0.1:${port}`, "--region", keys.region, "posix", root];
  return startServer("versitygw", args, port, env);
}

/** `git daemon` that exports every repository below `root`. */
export async function startGitDaemon(root: string): Promise<RealServer> {
  const port = await freePort();
  const args = [
    "daemon",
    "--reuseaddr",
    "--export-all",
    "--listen=127.0.0.1",
    `--port=${port}`,
    `--base-path=${root}`,
    root,
  ];
  return startServer("git", args, port);
}

/** git's smart HTTP, by `git http-backend` as a CGI; to `authorization` alone, if that is given. */
export async function startGitHttp(
  root: string,
  authorization: string | null = null,
): Promise<RealServer> {
  let said = "";
  const server = createHttpServer((request, response) => {
    said += `${request.method} ${request.url}\n`;
    if (authorization !== null && request.headers.authorization !== authorization) {
      response.writeHead(401, { "www-authenticate": 'Basic realm="git"' }).end();
      return;
    }
    const url = new URL(request.url ?? "", "http://x");
    const cgi = spawn(find("git") ?? "git", ["http-backend"], {
      env: {
        ...process.env,
        GIT_PROJECT_ROOT: root,
        GIT_HTTP_EXPORT_ALL: "1",
        GIT_PROTOCOL: String(request.headers["git-protocol"] ?? ""),
        PATH_INFO: url.pathname,
        QUERY_STRING: url.search.slice(1),
        REQUEST_METHOD: request.method ?? "GET",
        CONTENT_TYPE: request.headers["content-type"] ?? "",
        HTTP_CONTENT_ENCODING: String(request.headers["content-encoding"] ?? ""),
        REMOTE_ADDR: "127.0.0.1",
      },
      stdio: ["pipe", "pipe", "inherit"],
    });
    request.pipe(cgi.stdin);
    let head: Buffer | null = Buffer.alloc(0);
    cgi.stdout.on("data", (piece: Buffer) => {
      if (head === null) return void response.write(piece);
      head = Buffer.concat([head, piece]);
      const end = head.indexOf("\r\n\r\n");
      if (end < 0) return;
      for (const line of head.subarray(0, end).toString().split("\r\n")) {
        const [name = "", value = ""] = line.split(/: (.*)/s);
        if (name === "Status") response.statusCode = Number.parseInt(value, 10);
        else response.setHeader(name, value);
      }
      response.write(head.subarray(end + 4));
      head = null;
    });
    cgi.on("close", () => response.end());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    said: () => said,
    stop: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** rsyncd with the module `data` at `root`; `secrets`: who may read it, else everybody. */
export async function startRsyncd(
  dir: string,
  root: string,
  secrets: string | null = null,
): Promise<RealServer> {
  const port = await freePort();
  await mkdir(dir, { recursive: true });
  await writeFile(join(dir, "secrets"), secrets ?? "", { mode: 0o600 });
  const auth = secrets === null ? "" : `auth users = *\nsecrets file = ${dir}/secrets\n`;
  const config = `use chroot = no\nlog file = ${dir}/log\n[data]\npath = ${root}\nread only = yes\n${auth}`;
  await writeFile(join(dir, "rsyncd.conf"), config);
  const args = ["--daemon", "--no-detach", "--address=127.0.0.1", `--port=${port}`];
  return startServer("rsync", [...args, `--config=${join(dir, "rsyncd.conf")}`], port);
}
