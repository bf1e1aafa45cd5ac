#!/usr/bin/env node
/** The one entry: the commands of both sides. What a command needs is imported when it runs. */
import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { addGet, addPublish } from "../agent/cli/artifacts.ts";
import { addJoin } from "../agent/cli/join.ts";
import { addApply } from "../coordinator/cli/apply.ts";
import { addControl } from "../coordinator/cli/control.ts";
import { addFleet } from "../coordinator/cli/fleet.ts";
import { addPlan } from "../coordinator/cli/plan.ts";
import { addStage } from "../coordinator/cli/stage.ts";
import { addTrust } from "../coordinator/cli/trust.ts";
import { reportFailure, type Shell } from "../shared/cli/command.ts";
import { addDaemon } from "../shared/cli/daemon.ts";
import { ERRORS } from "../shared/errors.ts";
import { endWithin, processTerminal, terminalClock } from "../shared/runtime/terminal.ts";
import { addDemo } from "./demo/command.ts";

const RUN = "Run:";
const DECLARE = "Declare and stage:";
const SEE = "See:";
const CONTROL = "Control:";
const TRUST = "Trust:";

/** How long libraries get to let go of the process after the command is done. */
const END_WITHIN_MS = 2_000;

export function buildProgram(shell: Shell): Command {
  const program = new Command("prestage")
    .description(
      "Has the data, the code and the warm capacity on a host before the request for it arrives.",
    )
    .version(softwareVersion(), "-V, --version")
    .configureOutput({ writeOut: shell.terminal.out, writeErr: shell.terminal.err })
    .configureHelp({ showGlobalOptions: false, sortSubcommands: false })
    .enablePositionalOptions() // `publish --version V` is not the program's
    .showHelpAfterError("(add --help for what it takes)")
    .exitOverride();
  addDemo(program, shell, RUN);
  addDaemons(program, shell);
  addJoin(program, shell, RUN, {
    enroll: async (options) => {
      const { enroll } = await import("../agent/trust/enroll.ts");
      await enroll({ ...options, clock: shell.clock });
    },
  });
  addApply(program, shell, DECLARE);
  addPublish(program, shell, DECLARE);
  addStage(program, shell, DECLARE);
  addGet(program, shell, DECLARE);
  addFleet(program, shell, SEE);
  addPlan(program, shell, SEE);
  addControl(program, shell, CONTROL, {
    openTrace: async (path, format, signal) => {
      const { readTrace } = await import("../coordinator/demand/import.ts");
      return readTrace(path, { format, signal });
    },
  });
  addTrust(program, shell, TRUST);
  return program;
}

function addDaemons(program: Command, shell: Shell): void {
  addDaemon(program, shell, {
    name: "coordinator",
    group: RUN,
    summary: "the coordinator daemon",
    description:
      "Runs the coordinator until SIGTERM. At its first start it makes the fleet's certificate " +
      "authority and writes DATA/cli.json, with which the other commands speak to it.",
    run: async (options) => {
      const { runCoordinator } = await import("../coordinator/main.ts");
      await runCoordinator(options);
    },
  });
  addDaemon(program, shell, {
    name: "agent",
    group: RUN,
    summary: "the agent daemon of a host",
    description:
      "Runs the agent of this host until SIGTERM. The host must have joined the fleet before " +
      "(prestage join), which also writes a first agent.yaml.",
    run: async (options) => {
      const { runAgent } = await import("../agent/main.ts");
      await runAgent(options);
    },
  });
}

function softwareVersion(): string {
  const file = new URL("../package.json", import.meta.url);
  return JSON.parse(readFileSync(file, "utf8")).version;
}

/** Runs the command the terminal's arguments name; sets the exit code, never throws. */
export async function runProgram(shell: Shell): Promise<void> {
  const program = buildProgram(shell);
  try {
    await program.parseAsync([...shell.terminal.args], { from: "user" });
  } catch (cause) {
    if (cause instanceof CommanderError) shell.terminal.setExit(usageExit(cause));
    else reportFailure(shell.terminal, cause, shell.terminal.args.includes("--json"));
  }
}

function usageExit(cause: CommanderError): number {
  return cause.exitCode === 0 ? 0 : ERRORS.USAGE.exit;
}

if (import.meta.main) {
  const terminal = processTerminal();
  await runProgram({ terminal, clock: terminalClock });
  endWithin(END_WITHIN_MS);
}
