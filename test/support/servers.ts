/** Small real servers as files, for tests that start real processes. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

/**
 * Reads PORT and flags from its variables: READY_AFTER_MS, EXIT_AFTER_MS, STUBBORN (ignores
 * SIGTERM), CHILD (starts a child that ignores SIGTERM), BAD_SHADOW. Paths: /ready, /crash, /echo,
 * /slow?ms=, /stream?n=, /reset.
 */
const SERVER = `
import { createServer } from "node:http";
import { spawn } from "node:child_process";
const env = process.env;
console.log("starting on", env.PORT);
if (env.STUBBORN) process.on("SIGTERM", () => {});
if (env.CHILD) {
  const child = spawn(process.execPath, ["-e", "process.on('SIGTERM',()=>{});setInterval(()=>{},1e3)"], { stdio: "ignore" });
  console.log("child", child.pid);
}
if (env.EXIT_AFTER_MS) setTimeout(() => { console.error("giving up"); process.exit(3); }, Number(env.EXIT_AFTER_MS));
const seen = [];
const server = createServer(async (req, res) => {
  const url = new URL(req.url, "http://x");
  const segments = url.pathname.split("/");
  const last = segments[segments.length - 1];
  if (req.headers["prestage-shadow"]) seen.push(url.pathname);
  if (last === "ready") return res.end("ready");
  if (last === "shadow") { res.statusCode = env.BAD_SHADOW ? 500 : 200; return res.end("shadow ok"); }
  if (last === "seen") return res.end(JSON.stringify(seen));
  if (last === "crash") return process.exit(7);
  if (last === "reset") return req.socket.destroy();
  if (last === "headers") return res.end(JSON.stringify(req.headers));
  if (last === "slow") await new Promise((r) => setTimeout(r, Number(url.searchParams.get("ms"))));
  if (last === "stream") {
    res.writeHead(200, { "content-type": "text/plain" });
    for (let i = 0; i < Number(url.searchParams.get("n")); i++) {
      res.write("part " + i + "\\n");
      await new Promise((r) => setTimeout(r, 20));
    }
    return res.end();
  }
  if (last === "echo") { res.setHeader("x-method", req.method); return req.pipe(res); }
  res.end(JSON.stringify({ pid: process.pid, path: req.url, argv: process.argv.slice(2) }));
});
server.on("upgrade", (req, socket) => {
  socket.write("HTTP/1.1 101 Switching Protocols\\r\\nupgrade: websocket\\r\\nconnection: upgrade\\r\\n\\r\\n");
  socket.on("data", (chunk) => socket.write("echo " + chunk));
});
setTimeout(() => server.listen(Number(env.PORT), "127.0.0.1"), Number(env.READY_AFTER_MS ?? 0));
`;

/** A folder that is removed again. */
export async function temporaryDir(): Promise<{ dir: string } & AsyncDisposable> {
  const dir = await mkdtemp(join(tmpdir(), "prestage-test-"));
  return {
    dir,
    [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }),
  };
}

/** Writes the server into the folder; gives the command that starts it. */
export async function serverCommand(dir: string): Promise<string[]> {
  const file = join(dir, "server.mjs");
  await writeFile(file, SERVER);
  return [process.execPath, file, "{category}", "{artifact:app}"];
}

/** What a process driver passes on in tests. */
export const baseEnv = { PATH: `${dirname(process.execPath)}:/usr/bin:/bin` };
