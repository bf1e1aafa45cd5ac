/** Real agents as processes of their own, of one real coordinator. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Children } from "../../packaging/demo/children.ts";
import type { HostList } from "../../shared/api.ts";
import { systemClock } from "../../shared/runtime/clock.ts";
import { ENTRY, type TestCoordinator } from "./coordinator.ts";

const START_WITHIN_MS = 100_000;

export class TestAgents {
  readonly #coordinator: TestCoordinator;
  readonly #folder: string;
  readonly #children = new Children({
    clock: systemClock,
    nodePath: process.execPath,
    env: process.env,
  });

  constructor(coordinator: TestCoordinator, folder: string) {
    this.#coordinator = coordinator;
    this.#folder = folder;
  }

  dataDir(host: string): string {
    return join(this.#folder, host);
  }

  /** Joins and starts each; resolves when all are connected. `settings` go into agent.yaml. */
  async start(hosts: Record<string, object>): Promise<void> {
    const { url } = JSON.parse(await readFile(this.#coordinator.context, "utf8"));
    await Promise.all(
      Object.entries(hosts).map(async ([host, settings]) => {
        const ask = ["join-token", "--host", host];
        const { token } = await this.#coordinator.json<{ token: string }>(ask);
        const data = ["--data", this.dataDir(host)];
        const join = ["join", "--coordinator", url, "--token-file", "-", "--host", host, ...data];
        await this.#coordinator.json(join, `${token}\n`);
        await this.#run(host, url, settings);
      }),
    );
    const names = Object.keys(hosts);
    await this.until(async () => {
      const { hosts: known } = await this.#coordinator.json<HostList>(["hosts"]);
      return names.every((name) => known.some((h) => h.host === name && h.connected));
    });
  }

  /** What the agent's own status says. */
  async status<T>(host: string): Promise<T> {
    const { callAgent } = await import("../../agent/cli/local.ts");
    const signal = AbortSignal.timeout(30_000);
    return callAgent<T>(this.dataDir(host), { method: "GET", path: "/status" }, { signal });
  }

  async until(holds: () => Promise<boolean>): Promise<void> {
    const endMs = systemClock.monotonic() + START_WITHIN_MS;
    while (!(await holds().catch(() => false))) {
      if (systemClock.monotonic() > endMs) throw new Error(`never held: ${holds}`);
      await systemClock.sleep(100);
    }
  }

  log(host: string): Promise<string> {
    return readFile(join(this.#folder, `${host}.log`), "utf8");
  }

  async stop(): Promise<void> {
    await this.#children.stop();
  }

  async #run(host: string, coordinator: string, settings: object): Promise<void> {
    const file = join(this.#folder, `${host}.yaml`);
    const config = {
      dataDir: this.dataDir(host),
      coordinator,
      host,
      router: { host: "127.0.0.1", port: 0 },
      mesh: { listen: "127.0.0.1", port: 0 },
      peakCpu: 1,
      sampleMs: 500,
      reportMs: 200,
      ...settings,
    };
    await writeFile(file, JSON.stringify(config));
    const logFile = join(this.#folder, `${host}.log`);
    this.#children.start(host, [ENTRY, "agent", "--config", file, "--stop-with-stdin"], {
      logFile,
    });
  }
}
