/** A real coordinator as a process of its own, and the commands against it. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Children } from "../../packaging/demo/children.ts";
import { runProgram } from "../../packaging/prestage.ts";
import { systemClock } from "../../shared/runtime/clock.ts";
import { FakeTerminal } from "./terminal.ts";

export const ENTRY = new URL("../../packaging/prestage.mjs", import.meta.url).pathname;
const START_WITHIN_MS = 60_000;

export class TestCoordinator {
  readonly dir: string;
  readonly context: string;
  readonly #children = new Children({
    clock: systemClock,
    nodePath: process.execPath,
    env: process.env,
  });

  /** `folder` exists; data and logs go below it. */
  constructor(folder: string) {
    this.dir = join(folder, "coordinator");
    this.context = join(this.dir, "cli.json");
  }

  async start(): Promise<void> {
    await mkdir(this.dir, { recursive: true });
    const file = join(this.dir, "..", "coordinator.yaml");
    const config = {
      dataDir: this.dir,
      listen: { host: "127.0.0.1", port: 0 },
      hostnames: ["127.0.0.1"],
    };
    await writeFile(file, JSON.stringify(config));
    this.#children.start(
      "coordinator",
      [ENTRY, "coordinator", "--config", file, "--stop-with-stdin"],
      { logFile: join(this.dir, "..", "coordinator.log") },
    );
    const endMs = systemClock.monotonic() + START_WITHIN_MS;
    while (!(await readFile(this.context).then(Boolean, () => false))) {
      if (systemClock.monotonic() > endMs) throw new Error("the coordinator does not start");
      await systemClock.sleep(50);
    }
  }

  async stop(): Promise<void> {
    await this.#children.stop();
  }

  /** A command as a person would type it. */
  async run(args: readonly string[], stdin = ""): Promise<FakeTerminal> {
    const env = { PRESTAGE_CONTEXT: this.context };
    const terminal = new FakeTerminal(args, { env, stdin });
    await runProgram({ terminal, clock: systemClock });
    return terminal;
  }

  /** What a command that succeeds gives with --json. */
  async json<T>(args: readonly string[], stdin = ""): Promise<T> {
    const terminal = await this.run([...args, "--json"], stdin);
    if (terminal.exit !== 0) throw new Error(terminal.errors);
    return JSON.parse(terminal.stdout);
  }
}
