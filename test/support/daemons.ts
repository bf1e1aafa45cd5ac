/** Daemons as processes of their own in one folder, and commands as a person types them. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "vitest";
import { Children } from "../../packaging/demo/children.ts";
import { runProgram } from "../../packaging/prestage.ts";
import { systemClock } from "../../shared/runtime/clock.ts";
import { ENTRY } from "./coordinator.ts";
import { FakeTerminal } from "./terminal.ts";

export const HOLDS_WITHIN_MS = 100_000;

export class Daemons {
  readonly #children: Children;
  /** Where configs, logs and data lie; set before anything is started. */
  folder = "";
  /** All that commands printed. */
  printed = "";

  constructor(env: NodeJS.ProcessEnv = process.env) {
    this.#children = new Children({ clock: systemClock, nodePath: process.execPath, env });
  }

  /** Of a coordinator whose data folder is `coordinator`. */
  get context(): string {
    return join(this.folder, "coordinator", "cli.json");
  }

  readonly run = async (args: string[], stdin = ""): Promise<FakeTerminal> => {
    const env = { PRESTAGE_CONTEXT: this.context };
    const terminal = new FakeTerminal(args, { env, stdin });
    await runProgram({ terminal, clock: systemClock });
    this.printed += terminal.stdout + terminal.errors;
    return terminal;
  };

  readonly json = async <T>(args: string[], stdin = ""): Promise<T> => {
    const terminal = await this.run([...args, "--json"], stdin);
    expect(terminal.errors).toBe("");
    expect(terminal.exit).toBe(0);
    return JSON.parse(terminal.stdout);
  };

  readonly until = async (what: string, holds: () => Promise<boolean>): Promise<void> => {
    const endMs = systemClock.monotonic() + HOLDS_WITHIN_MS;
    while (!(await holds())) {
      expect(systemClock.monotonic(), what).toBeLessThan(endMs);
      await systemClock.sleep(100);
    }
  };

  readonly start = async (kind: "agent" | "coordinator", name: string, config: object) => {
    const file = join(this.folder, `${name}.yaml`);
    await writeFile(file, JSON.stringify(config));
    const args = [ENTRY, kind, "--config", file, "--stop-with-stdin"];
    return this.#children.start(name, args, { logFile: join(this.folder, `${name}.log`) });
  };

  stop(): Promise<void> {
    return this.#children.stop();
  }
}
