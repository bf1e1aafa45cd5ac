/**
 * A coordinator and agents as processes of their own, their files below one folder, and commands
 * as a person types them.
 */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { callAgent } from "../../agent/cli/local.ts";
import { type Child, Children } from "../../packaging/demo/children.ts";
import { runProgram } from "../../packaging/prestage.ts";
import type { HostList } from "../../shared/api.ts";
import { systemClock } from "../../shared/runtime/clock.ts";
import { FakeTerminal } from "./terminal.ts";

export const ENTRY = new URL("../../packaging/prestage.mjs", import.meta.url).pathname;
export const HOLDS_WITHIN_MS = 100_000;
/** Of the agent's config; the site is told when it joins, too. */
export type AgentSettings = { site?: string; [setting: string]: unknown };
const ANY_PORT = { host: "127.0.0.1", port: 0 };

export class Daemons {
  readonly #children: Children;
  readonly #running = new Map<string, Child>();
  /** Where configs, logs and data lie; set before anything is started. */
  folder = "";
  /** All that commands printed. */
  printed = "";

  constructor(env: NodeJS.ProcessEnv = process.env) {
    this.#children = new Children({ clock: systemClock, nodePath: process.execPath, env });
  }

  /** The data folder of a host, or of the `coordinator`. */
  dataDir(name: string): string {
    return join(this.folder, name);
  }

  get context(): string {
    return join(this.dataDir("coordinator"), "cli.json");
  }

  readonly run = async (args: readonly string[], stdin = ""): Promise<FakeTerminal> => {
    const env = { PRESTAGE_CONTEXT: this.context };
    const terminal = new FakeTerminal(args, { env, stdin });
    await runProgram({ terminal, clock: systemClock });
    this.printed += terminal.stdout + terminal.errors;
    return terminal;
  };

  /** What a command that succeeds gives with --json. */
  readonly json = async <T>(args: readonly string[], stdin = ""): Promise<T> => {
    const { exit, stdout, errors } = await this.run([...args, "--json"], stdin);
    if (exit !== 0 || errors !== "") throw new Error(`${args.join(" ")}: exit ${exit} ${errors}`);
    return JSON.parse(stdout);
  };

  readonly until = async (what: string, holds: () => Promise<boolean>): Promise<void> => {
    const endMs = systemClock.monotonic() + HOLDS_WITHIN_MS;
    let cause: unknown;
    const holdsNow = () =>
      holds().catch((failure: unknown) => {
        cause = failure;
        return false;
      });
    while (!(await holdsNow())) {
      if (systemClock.monotonic() > endMs) throw new Error(`never held: ${what}`, { cause });
      await systemClock.sleep(100);
    }
  };

  /** Resolves when it listens and a command finds it. */
  async startCoordinator(settings: object = {}): Promise<void> {
    await mkdir(this.dataDir("coordinator"), { recursive: true });
    await this.#start("coordinator", "coordinator", {
      listen: ANY_PORT,
      hostnames: ["127.0.0.1"],
      ...settings,
    });
    await this.until("coordinator", () => readFile(this.context).then(Boolean, () => false));
  }

  /** Joins and starts each; resolves when all are connected. The settings go into its config. */
  async startAgents(hosts: Readonly<Record<string, AgentSettings>>): Promise<void> {
    const { url } = JSON.parse(await readFile(this.context, "utf8"));
    const start = async ([host, settings]: [string, AgentSettings]) => {
      const { token } = await this.json<{ token: string }>(["join-token", "--host", host]);
      const site = settings.site ? ["--site", settings.site] : [];
      const where = ["--coordinator", url, "--host", host, "--data", this.dataDir(host), ...site];
      await this.json(["join", "--token-file", "-", ...where], `${token}\n`);
      await this.#start("agent", host, {
        coordinator: url,
        host,
        router: ANY_PORT,
        mesh: { listen: "127.0.0.1", port: 0 },
        peakCpu: 1,
        sampleMs: 500,
        reportMs: 200,
        ...settings,
      });
    };
    await Promise.all(Object.entries(hosts).map(start));
    await this.until("agents are connected", async () => {
      const { hosts: known } = await this.json<HostList>(["hosts"]);
      return Object.keys(hosts).every((name) => known.some((h) => h.host === name && h.connected));
    });
  }

  /** What the agent's own status says. */
  status<T>(host: string): Promise<T> {
    const signal = AbortSignal.timeout(30_000);
    return callAgent<T>(this.dataDir(host), { method: "GET", path: "/status" }, { signal });
  }

  log(name: string): Promise<string> {
    return readFile(join(this.folder, `${name}.log`), "utf8");
  }

  /** A host's agent, or the `coordinator`. */
  kill(name: string): void {
    this.#running.get(name)?.handle.kill("SIGKILL");
  }

  stop(): Promise<void> {
    return this.#children.stop();
  }

  async #start(kind: "agent" | "coordinator", name: string, settings: object): Promise<void> {
    const file = join(this.folder, `${name}.yaml`);
    await writeFile(file, JSON.stringify({ dataDir: this.dataDir(name), ...settings }));
    const args = [ENTRY, kind, "--config", file, "--stop-with-stdin"];
    const logFile = join(this.folder, `${name}.log`);
    this.#running.set(name, this.#children.start(name, args, { logFile }));
  }
}
