/** Real container engines, each with folders of its own, that pull through a mirror. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { userInfo } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { systemClock } from "../../shared/runtime/clock.ts";

const START_WITHIN_MS = 60_000;
const PROGRAMS = {
  containerd: ["containerd", "ctr"],
  podman: ["podman"],
  docker: ["containerd", "dockerd", "docker"],
};
export type Engine = keyof typeof PROGRAMS;
export type Place = { dir: string; registry: string; mirror: string };

const find = (name: string) =>
  ["/usr/bin", "/usr/sbin", "/usr/local/bin"]
    .map((dir) => join(dir, name))
    .find((file) => existsSync(file)) ?? null;
const run = async (name: string, args: string[], env: Record<string, string> = {}) =>
  (
    await promisify(execFile)(find(name) ?? "", args, {
      env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", HOME: "/nonexistent", ...env },
      maxBuffer: 16 << 20,
    })
  ).stdout;

/** Why the engine cannot run here; null when it can. */
export function engineObstacle(engine: Engine): string | null {
  const missing = PROGRAMS[engine].filter((name) => find(name) === null);
  if (missing.length > 0) return `no ${missing.join(" and ")} here`;
  return userInfo().uid === 0 ? null : "it needs root";
}

/** `repository:tag` of the registry by `hosts.toml`; gives the digest it has then. */
export async function pullWithContainerd(place: Place, reference: string): Promise<string> {
  await using containerd = await startContainerd(place.dir);
  const hosts = join(place.dir, "hosts");
  await mkdir(join(hosts, place.registry), { recursive: true });
  await writeFile(
    join(hosts, place.registry, "hosts.toml"),
    `server = "http://${place.registry}"\n[host."http://${place.mirror}"]\n` +
      `  capabilities = ["pull", "resolve"]\n`,
  );
  const image = `${place.registry}/${reference}`;
  const at = ["-a", containerd.socket];
  await run("ctr", [
    ...at,
    "images",
    "pull",
    "--snapshotter",
    "native",
    "--hosts-dir",
    hosts,
    image,
  ]);
  return /sha256:[0-9a-f]{64}/.exec(await run("ctr", [...at, "images", "ls"]))?.[0] ?? "";
}

/** `repository:tag` of the registry by `registries.conf`; gives the image's id (its config). */
export async function pullWithPodman(place: Place, reference: string): Promise<string> {
  const conf = join(place.dir, "registries.conf");
  await writeFile(
    conf,
    `[[registry]]\nlocation = "${place.registry}"\ninsecure = true\n[[registry.mirror]]\n` +
      `location = "${place.mirror}/${place.registry.replace(":", "_")}"\ninsecure = true\n`,
  );
  const policy = join(place.dir, "policy.json");
  await writeFile(policy, JSON.stringify({ default: [{ type: "insecureAcceptAnything" }] }));
  const store = ["--root", join(place.dir, "root"), "--runroot", join(place.dir, "run")];
  const args = ["pull", "-q", "--signature-policy", policy, `${place.registry}/${reference}`];
  const env = { CONTAINERS_REGISTRIES_CONF: conf, XDG_RUNTIME_DIR: place.dir };
  return (await run("podman", [...store, "--storage-driver", "vfs", ...args], env)).trim();
}

/** An image of Docker Hub by `registry-mirrors`; gives what `docker pull` said. */
export async function pullWithDocker(place: Place, name: string): Promise<string> {
  await using containerd = await startContainerd(place.dir);
  const file = join(place.dir, "daemon.json");
  await writeFile(file, JSON.stringify({ "registry-mirrors": [`http://${place.mirror}`] }));
  const socket = `unix://${join(place.dir, "docker.sock")}`;
  const args = ["--config-file", file, "--data-root", join(place.dir, "docker")];
  args.push("--exec-root", join(place.dir, "exec"), "-H", socket, "--bridge=none");
  args.push("--pidfile", join(place.dir, "docker.pid"), "--containerd", containerd.socket);
  args.push("--iptables=false", "--ip6tables=false", "--storage-driver", "vfs");
  await using daemon = await startDaemon("dockerd", args, "API listen on");
  void daemon;
  return await run("docker", ["pull", name], { DOCKER_HOST: socket });
}

async function startContainerd(dir: string): Promise<{ socket: string } & AsyncDisposable> {
  const socket = join(dir, "containerd.sock");
  const config = join(dir, "containerd.toml");
  await writeFile(
    config,
    `version = 2\nroot = "${dir}/containerd"\nstate = "${dir}/state"\n` +
      `disabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\n  address = "${socket}"\n`,
  );
  const daemon = await startDaemon("containerd", ["-c", config], "successfully booted");
  return { socket, [Symbol.asyncDispose]: () => daemon[Symbol.asyncDispose]() };
}

/** Runs until disposed; resolves when it has said that it is there. */
async function startDaemon(name: string, args: string[], ready: string): Promise<AsyncDisposable> {
  const child: ChildProcess = spawn(find(name) ?? "", args, { stdio: ["ignore", "pipe", "pipe"] });
  const ended = once(child, "exit");
  let said = "";
  for (const stream of [child.stdout, child.stderr])
    stream?.on("data", (text) => {
      said += text;
    });
  const endMs = systemClock.monotonic() + START_WITHIN_MS;
  while (!said.includes(ready)) {
    if (child.exitCode !== null || systemClock.monotonic() > endMs)
      throw new Error(`${name} does not start: ${said.slice(-2_000)}`);
    await systemClock.sleep(50);
  }
  return {
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGTERM");
      await ended;
    },
  };
}
