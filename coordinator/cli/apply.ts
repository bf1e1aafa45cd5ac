/** `prestage apply`: declare workloads, artifacts, categories and QoS classes. */
import { readFile } from "node:fs/promises";
import type { Command } from "commander";
import type { Applied } from "../../shared/api.ts";
import type { Shell } from "../../shared/cli/command.ts";
import { PrestageError } from "../../shared/errors.ts";
import { addApiCommand } from "./session.ts";

export function addApply(program: Command, shell: Shell, group: string): void {
  addApiCommand<{ file: string; dryRun?: boolean }>(program, shell, {
    usage: "apply",
    group,
    summary: "declare workloads, artifacts, categories, QoS classes",
    description:
      "Declares the workloads of FILE: those that are new or changed take effect, those the file " +
      "does not name stay as they are. A mistake anywhere in the file changes nothing; all " +
      "mistakes are shown at once, with line and key.",
    examples: [
      ["prestage apply -f workloads.yaml", "check it and declare what it says"],
      ["prestage apply -f workloads.yaml --dry-run", "only check it, without a coordinator"],
    ],
    setup: (command) => {
      command
        .requiredOption("-f, --file <file>", "workloads.yaml; - reads stdin")
        .option("--dry-run", "check the file and change nothing");
    },
    run: async (call, api) => {
      const { file } = call.options;
      const text = await readInput(file, call.terminal.stdin);
      const { readYaml } = await import("../../shared/config.ts");
      const { WorkloadsFile } = await import("../../shared/workload.ts");
      const declared = readYaml(text, file === "-" ? "stdin" : file, WorkloadsFile);
      if (call.options.dryRun) {
        const names = declared.workloads.map((w) => w.name);
        call.show(
          { valid: true, workloads: names },
          () => `${file}: ${names.length} workloads, valid\n`,
        );
        return;
      }
      const applied = await api.post<Applied>("workloads", declared);
      call.show(applied, () => appliedText(applied));
    },
  });
}

async function readInput(file: string, stdin: AsyncIterable<Buffer | string>): Promise<string> {
  if (file === "-") {
    const parts: string[] = [];
    for await (const part of stdin) parts.push(String(part));
    return parts.join("");
  }
  return readFile(file, "utf8").catch((cause: unknown) => {
    throw new PrestageError("USAGE", `cannot read ${file}`, { cause });
  });
}

export function appliedText(applied: Applied): string {
  const line = (what: string, names: string[]) =>
    names.length > 0 ? `${what.padEnd(9)}  ${names.join(", ")}\n` : "";
  const { added, changed, removed, unchanged } = applied;
  return (
    line("added", added) +
    line("changed", changed) +
    line("removed", removed) +
    line("unchanged", unchanged)
  );
}
