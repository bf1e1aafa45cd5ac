/** A daemon as a command: it runs in the foreground of its process until it is told to stop. */
import type { Command } from "commander";
import { endOf } from "../runtime/terminal.ts";
import { addCommand, type Shell } from "./command.ts";

export type RunDaemon = (options: { configFile: string; signal: AbortSignal }) => Promise<void>;

export function addDaemon(
  program: Command,
  shell: Shell,
  spec: {
    name: "agent" | "coordinator";
    group: string;
    summary: string;
    description: string;
    run: RunDaemon;
  },
): void {
  const { name, group, summary, description } = spec;
  addCommand<{ config: string; stopWithStdin?: boolean }>(program, shell, {
    usage: name,
    group,
    summary,
    description,
    examples: [[`prestage ${name} --config /etc/prestage/${name}.yaml`, "run it until SIGTERM"]],
    setup: (command) => {
      command
        .requiredOption("--config <file>", `${name}.yaml`)
        .option("--stop-with-stdin", "also stop when stdin ends: with a parent that is gone");
    },
    run: async ({ options, terminal, signal }) => {
      const stop = options.stopWithStdin
        ? AbortSignal.any([signal, endOf(terminal.stdin)])
        : signal;
      await spec.run({ configFile: options.config, signal: stop });
    },
  });
}
