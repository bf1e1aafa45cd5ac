/**
 * One coordinator and its agents as separate processes in a folder: configured, joined with real
 * join tokens, and asked through the same API and sockets that the commands use.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Published, publishArtifact } from "../../agent/cli/artifacts.ts";
import type { Enroll } from "../../agent/cli/join.ts";
import { ApiClient } from "../../coordinator/cli/client.ts";
import { type Access, readAccess } from "../../coordinator/cli/context.ts";
import { type Api, boundApi } from "../../coordinator/cli/session.ts";
import type { HostList, JoinTokenGiven, Status } from "../../shared/api.ts";
import { PrestageError } from "../../shared/errors.ts";
import type { ReplaySettings } from "../../shared/replay.ts";
import type { Clock } from "../../shared/runtime/clock.ts";
import { ARTIFACT_VERSION, type DemoArtifact } from "./artifacts.ts";
import type { Child, Children } from "./children.ts";

export type FleetDeps = { clock: Clock; children: Children; enroll: Enroll };

export type FleetOptions = {
  /** Everything the fleet writes lies here. */
  dir: string;
  hosts: number;
  replay: ReplaySettings;
  diskBytesPerHost: number;
  memoryBytesPerHost: number;
  /** Fleet-wide budget of background transfers. */
  stagingBytesPerSecond: number;
};

const PRESTAGE = new URL("../prestage.mjs", import.meta.url).pathname;
const START_WITHIN_MS = 60_000;
const POLL_MS = 50;
const SITE = "demo";

/**
 * All "hosts" share this machine, so that its load says nothing about one of them: pre-staging is
 * not stopped for it. Reports come often because a real second is a demand minute.
 */
function coordinatorConfig({ dir, replay, stagingBytesPerSecond }: FleetOptions): object {
  return {
    dataDir: join(dir, "coordinator"),
    fleet: "demo",
    listen: { host: "127.0.0.1", port: 0 },
    hostnames: ["127.0.0.1", "localhost"],
    plan: { tickMs: 250 },
    qos: {
      peakCpu: 1,
      stagingBytesPerSecond,
      perHostBytesPerSecond: stagingBytesPerSecond,
    },
    logLevel: "info",
    replay,
  };
}

function agentConfig(host: string, url: string, options: FleetOptions): object {
  return {
    dataDir: join(options.dir, host),
    coordinator: url,
    host,
    site: SITE,
    router: { host: "127.0.0.1", port: 0 },
    mesh: { listen: "127.0.0.1", port: 0 },
    store: { quotaBytes: options.diskBytesPerHost, reserveRatio: 0 },
    environments: { memoryBytes: options.memoryBytesPerHost },
    peakCpu: 1,
    sampleMs: 2_000,
    reportMs: 250,
    recordsMs: 250,
    logLevel: "info",
    replay: options.replay,
  };
}

export class Fleet {
  readonly #deps: FleetDeps;
  readonly #options: FleetOptions;
  readonly #hosts: string[];
  #coordinator: Child | undefined;
  #agents: Child[] = [];
  #client: ApiClient | undefined;

  constructor(deps: FleetDeps, options: FleetOptions) {
    this.#deps = deps;
    this.#options = options;
    this.#hosts = Array.from({ length: options.hosts }, (_, i) => `host-${i + 1}`);
  }

  /** The context file with which other commands can look at this fleet while it runs. */
  get contextFile(): string {
    return join(this.#options.dir, "coordinator", "cli.json");
  }

  api(signal: AbortSignal): Api {
    return boundApi(async () => {
      if (!this.#client) throw new PrestageError("UNAVAILABLE", "the fleet has not been started");
      return this.#client;
    }, signal);
  }

  /** Starts everything; resolves with the routers' URLs, in the order of the hosts. */
  async start(signal: AbortSignal): Promise<string[]> {
    const { dir } = this.#options;
    await mkdir(dir, { recursive: true, mode: 0o700 });
    this.#coordinator = await this.#startDaemon("coordinator", coordinatorConfig(this.#options));
    const access = await this.#until("the coordinator", signal, () => this.#access());
    this.#client = new ApiClient(access);
    await Promise.all(this.#hosts.map((host) => this.#join(host, access.url, signal)));
    for (const host of this.#hosts)
      this.#agents.push(
        await this.#startDaemon("agent", agentConfig(host, access.url, this.#options), host),
      );
    return this.#until("the agents", signal, () => this.#routers(signal));
  }

  /** Publishes every folder under `root`, spread over the agents; the bytes stay at the origin. */
  async publish(
    artifacts: readonly DemoArtifact[],
    origin: { root: string; url: string },
    options: { signal: AbortSignal; progress: (bytes: number) => void },
  ): Promise<void> {
    const waiting = artifacts.toSorted((a, b) => b.bytes - a.bytes);
    const work = async (host: string) => {
      for (let next = waiting.shift(); next; next = waiting.shift()) {
        await this.#publishOne(host, next.name, origin, options.signal);
        options.progress(next.bytes);
      }
    };
    await Promise.all(this.#hosts.map(work));
  }

  #publishOne(
    host: string,
    name: string,
    origin: { root: string; url: string },
    signal: AbortSignal,
  ): Promise<Published> {
    const wish = {
      from: { dir: join(origin.root, name), originUrl: `${origin.url}/${name}/` },
      name,
      version: ARTIFACT_VERSION,
      tags: [],
    };
    return publishArtifact(join(this.#options.dir, host), wish, { signal });
  }

  status(signal: AbortSignal): Promise<Status> {
    return this.api(signal).get<Status>("status");
  }

  /** Throws when one of its processes has ended. */
  check(): void {
    this.#deps.children.check([...(this.#coordinator ? [this.#coordinator] : []), ...this.#agents]);
  }

  async stop(): Promise<void> {
    await this.#client?.close();
    await this.#deps.children.stop(this.#agents);
    if (this.#coordinator) await this.#deps.children.stop([this.#coordinator]);
  }

  async #startDaemon(
    kind: "agent" | "coordinator",
    config: object,
    name: string = kind,
  ): Promise<Child> {
    const file = join(this.#options.dir, `${name}.yaml`);
    // JSON is YAML.
    await writeFile(file, JSON.stringify(config, null, 2), { mode: 0o600 });
    const args = [PRESTAGE, kind, "--config", file, "--stop-with-stdin"];
    return this.#deps.children.start(name, args, {
      logFile: join(this.#options.dir, `${name}.log`),
    });
  }

  async #join(host: string, url: string, signal: AbortSignal): Promise<void> {
    const body = { ttlMs: 600_000, host, site: SITE };
    const { token } = await this.api(signal).post<JoinTokenGiven>("join-tokens", body);
    const dir = join(this.#options.dir, host);
    await mkdir(dir, { recursive: true, mode: 0o700 });
    await this.#deps.enroll({ dir, coordinatorUrl: url, token, host, site: SITE, signal });
  }

  async #access(): Promise<Access | null> {
    try {
      return await readAccess(this.contextFile);
    } catch (cause) {
      if (cause instanceof PrestageError && cause.code === "UNAUTHENTICATED") return null;
      throw cause;
    }
  }

  async #routers(signal: AbortSignal): Promise<string[] | null> {
    const { hosts } = await this.api(signal).get<HostList>("hosts");
    const urls = this.#hosts.map((name) => {
      const found = hosts.find((h) => h.host === name);
      return found?.connected ? found.routerUrl : null;
    });
    return urls.every((url) => url !== null) ? urls : null;
  }

  async #until<T>(what: string, signal: AbortSignal, look: () => Promise<T | null>): Promise<T> {
    const untilMs = this.#deps.clock.monotonic() + START_WITHIN_MS;
    for (;;) {
      signal.throwIfAborted();
      this.check();
      const found = await look();
      if (found !== null) return found;
      if (this.#deps.clock.monotonic() > untilMs)
        throw new PrestageError("TIMEOUT", `${what} did not start within a minute`);
      await this.#deps.clock.sleep(POLL_MS, { signal });
    }
  }
}
