/** A coordinator and agents, each in a namespace of its own, started and asked with the commands. */
import type { ChildProcess } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { get, type IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import { join } from "node:path";
import { callAgent } from "../../agent/cli/local.ts";
import type { MeshCounters } from "../../agent/mesh/mesh-metrics.ts";
import type { Holding } from "../../agent/mesh/store/holding.ts";
import { ApiClient } from "../../coordinator/cli/client.ts";
import { readAccess } from "../../coordinator/cli/context.ts";
import type { HostList, HostView } from "../../shared/api.ts";
import type { EnvironmentStatus } from "../../shared/domain.ts";
import { systemClock } from "../../shared/runtime/clock.ts";
import { type Finished, killed, TestNetwork } from "./namespaces.ts";

const ENTRY = new URL("../../packaging/prestage.ts", import.meta.url).pathname;
const UNENROLLED_PEER = new URL("unenrolled-peer.ts", import.meta.url).pathname;
const COORDINATOR = "control";
const PORT = 7400;
const ROUTER_PORT = 7480;
const ANSWER_MS_MAX = 20_000;

export type AgentStatus = {
  connected: boolean;
  peerId: string;
  mesh: string[];
  environments: EnvironmentStatus[];
  holdings: Holding[];
  transfers: MeshCounters;
};
export type Knock = {
  method?: string;
  body?: unknown;
  bearer?: string;
  /** A client certificate. */
  client?: { cert?: string; key?: string };
  upgrade?: boolean;
};
export type Answer = { status: number; outcome: string; body: string };

export type FleetOptions = {
  /** Everything written is in it. */
  dir: string;
  /** Names agents will have. */
  hosts: readonly string[];
  /** Settings. */
  coordinator: object;
  agent?: object;
};

/** Reports come often, so that a test waits for what happens and not for their time. */
const QUICK = { sampleMs: 1_000, reportMs: 250, recordsMs: 500 };

export class NamespacedFleet {
  readonly #network: TestNetwork;
  readonly #dir: string;
  readonly #options: FleetOptions;
  readonly #processes = new Map<string, ChildProcess>();

  private constructor(network: TestNetwork, options: FleetOptions) {
    this.#network = network;
    this.#options = options;
    this.#dir = options.dir;
  }

  /** The network only. */
  static async open(options: FleetOptions) {
    return new NamespacedFleet(await TestNetwork.open([COORDINATOR, ...options.hosts]), options);
  }

  /** Where this process can be reached from all hosts. */
  get outside(): string {
    return this.#network.outside;
  }

  get url(): string {
    return `https://${this.#network.address(COORDINATOR)}:${PORT}`;
  }

  address(host: string): string {
    return this.#network.address(host);
  }

  /** Another program on a host; what it prints goes to a log of that name. */
  startProgram(host: string, name: string, command: readonly string[]): void {
    const log = join(this.#dir, `${name}.log`);
    this.#processes.set(name, this.#network.start(host, command, log));
  }

  /** Runs a program on a host to its end. */
  run(host: string, command: readonly string[]): Promise<Finished> {
    return this.#network.run(host, command);
  }

  dataDir(host: string): string {
    return join(this.#dir, host);
  }

  limit(host: string, megabitsPerSecond: number | null): Promise<void> {
    return this.#network.limit(host, megabitsPerSecond);
  }

  shape(host: string, megabitsPerSecond: number): Promise<void> {
    return this.#network.shape(host, megabitsPerSecond);
  }

  counterOf(host: string, which: "sent" | "received"): string {
    return this.#network.counterOf(host, which);
  }

  everyFrame(): Promise<void> {
    return this.#network.everyFrame();
  }

  receivedBytes(host: string): Promise<number> {
    return this.#network.receivedBytes(host);
  }

  async startCoordinator(): Promise<void> {
    const dataDir = this.dataDir(COORDINATOR);
    await this.#start("coordinator", COORDINATOR, {
      ...this.#options.coordinator,
      dataDir,
      hostnames: [this.#network.address(COORDINATOR)],
    });
    await until("the coordinator serves", () =>
      this.api("status").then(
        () => true,
        () => false,
      ),
    );
  }

  /** The real command, run on a host (default: the coordinator's). */
  command(args: readonly string[], at: { host?: string; stdin?: string } = {}): Promise<Finished> {
    const { host = COORDINATOR, stdin = "" } = at;
    const env = {
      PRESTAGE_CONTEXT: join(this.dataDir(COORDINATOR), "cli.json"),
      PRESTAGE_DATA: this.dataDir(host),
    };
    return this.#network.run(host, [process.execPath, ENTRY, ...args], { stdin, env });
  }

  /** The same, with its JSON; throws when it fails. */
  async json<T>(args: readonly string[], at: { host?: string; stdin?: string } = {}): Promise<T> {
    const { exit, stdout, stderr } = await this.command([...args, "--json"], at);
    if (exit !== 0) throw new Error(`prestage ${args.join(" ")}: exit ${exit}: ${stderr}`);
    return JSON.parse(stdout);
  }

  async joinToken(...options: string[]): Promise<string> {
    return (await this.json<{ token: string }>(["join-token", ...options])).token;
  }

  /** As `host`, from the namespace `at`. */
  join(host: string, token: string, at = host, more: string[] = []): Promise<Finished> {
    const args = ["join", "--coordinator", this.url, "--token-file", "-", "--host", host];
    const where = ["--data", this.dataDir(host), "--json"];
    return this.command([...args, ...more, ...where], { host: at, stdin: `${token}\n` });
  }

  /** A bare request to the coordinator: its status, and the code it refuses with. */
  async knock(path: string, options: Knock = {}): Promise<{ status: number; code: string }> {
    const { method = "GET", body, bearer, client = {}, upgrade = false } = options;
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const headers = {
      ...(bearer && { authorization: `Bearer ${bearer}` }),
      ...(body !== undefined && { "content-type": "application/json" }),
      ...(upgrade && { connection: "upgrade", upgrade: "websocket" }),
    };
    const ca = await readFile(join(this.dataDir(COORDINATOR), "ca.pem"), "utf8");
    const tls = { ca, ...client, agent: false };
    const request = httpsRequest(new URL(path, this.url), { ...tls, method, headers }, resolve);
    request.on("upgrade", (response, socket) => {
      socket.destroy();
      resolve(response);
    });
    request.on("error", reject);
    request.end(body === undefined ? undefined : JSON.stringify(body));
    const response = await promise;
    const status = response.statusCode ?? 0;
    if (status === 101) return { status, code: "" };
    const text = (await read(response)).body;
    const said = response.headers["prestage-code"] ?? JSON.parse(text || "{}").error?.code;
    return { status, code: String(said ?? "") };
  }

  startAgent(host: string): Promise<void> {
    return this.#start("agent", host, {
      dataDir: this.dataDir(host),
      coordinator: this.url,
      host,
      peakCpu: 1,
      ...(this.#options.agent ?? QUICK),
    });
  }

  /** The process of an agent or the coordinator. */
  process(name: string): ChildProcess | undefined {
    return this.#processes.get(name);
  }

  /** A libp2p peer that is no member and dials `target`; gives its peer id. */
  async startUnenrolledPeer(at: string, target: string): Promise<string> {
    const { peerId, mesh } = await this.agent(target);
    const address = `/${this.#network.address(target)}/`;
    const command = ["env", `TMPDIR=${this.#dir}`, process.execPath, UNENROLLED_PEER, peerId];
    const log = join(this.#dir, "unenrolled.log");
    const addresses = mesh.filter((a) => a.includes(address));
    this.#processes.set("unenrolled", this.#network.start(at, [...command, ...addresses], log));
    let said = "";
    await until("the peer says its id", async () => {
      said = (await readFile(log, "utf8")).trim();
      return said !== "";
    });
    return said;
  }

  /** kill -9. */
  async kill(name: string): Promise<void> {
    const child = this.#processes.get(name);
    if (!child) throw new Error(`${name} does not run`);
    await killed(child);
  }

  killCoordinator(): Promise<void> {
    return this.kill(COORDINATOR);
  }

  agent(host: string): Promise<AgentStatus> {
    const signal = AbortSignal.timeout(ANSWER_MS_MAX);
    return callAgent(this.dataDir(host), { method: "GET", path: "/status" }, { signal });
  }

  /** Null while the agent is not there. */
  async agentIfUp(host: string): Promise<AgentStatus | null> {
    return this.agent(host).catch(() => null);
  }

  async hosts(): Promise<HostView[]> {
    return (await this.api<HostList>("hosts")).hosts;
  }

  /** A look through the API as the admin, without a process for it. */
  async api<T>(path: string): Promise<T> {
    const client = new ApiClient(await readAccess(join(this.dataDir(COORDINATOR), "cli.json")));
    const signal = AbortSignal.timeout(ANSWER_MS_MAX);
    try {
      return await client.get<T>(`/api/v1/${path}`, {}, { signal });
    } finally {
      await client.close();
    }
  }

  routerUrl(host: string): string {
    return `http://${this.#network.address(host)}:${ROUTER_PORT}`;
  }

  /** A request through that host's router. */
  ask(host: string, path: string): Promise<Answer> {
    const url = this.routerUrl(host) + path;
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const signal = AbortSignal.timeout(ANSWER_MS_MAX);
    const request = get(url, { agent: false, signal }, (response) => {
      read(response).then(resolve, reject);
    });
    request.on("error", reject);
    return promise;
  }

  close(): Promise<void> {
    return this.#network.close();
  }

  async #start(kind: "agent" | "coordinator", name: string, config: object): Promise<void> {
    await mkdir(this.#dir, { recursive: true, mode: 0o700 });
    const file = join(this.#dir, `${name}.yaml`);
    // JSON is YAML.
    await writeFile(file, JSON.stringify(config, null, 2), { mode: 0o600 });
    const command = [process.execPath, ENTRY, kind, "--config", file];
    const child = this.#network.start(name, command, join(this.#dir, `${name}.log`));
    this.#processes.set(name, child);
  }
}

async function read(response: IncomingMessage): Promise<Answer> {
  let body = "";
  for await (const part of response) body += String(part);
  const outcome = String(response.headers["prestage-outcome"] ?? "");
  return { status: response.statusCode ?? 0, outcome, body };
}

/** Looks until it holds; says what did not when the time is over. Gives the milliseconds it took. */
export async function until(
  what: string,
  holds: () => Promise<boolean>,
  { withinMs = 100_000, everyMs = 50 } = {},
): Promise<number> {
  const startMs = systemClock.monotonic();
  for (;;) {
    const held = await holds();
    const tookMs = systemClock.monotonic() - startMs;
    if (tookMs > withinMs) throw new Error(`not within ${withinMs} ms: ${what}`);
    if (held) return tookMs;
    await systemClock.sleep(everyMs);
  }
}
