#!/usr/bin/env node
/**
 * The commands of both sides. A command's module is loaded when it is the one that was asked for,
 * so that a daemon carries nothing of the others; what a command needs is imported when it runs.
 */
import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { reportFailure, type Shell } from "../shared/cli/command.ts";
import { addDaemon } from "../shared/cli/daemon.ts";
import { ERRORS } from "../shared/errors.ts";
import { compileBriefly } from "../shared/runtime/compiler.ts";
import { endWithin, processTerminal, terminalClock } from "../shared/runtime/terminal.ts";

const RUN = "Run:";
const DECLARE = "Declare and stage:";
const SEE = "See:";
const CONTROL = "Control:";
const TRUST = "Trust:";

const VERSION_FLAGS = ["-V", "--version"];

/** With more, code that was compiled at length pays off. */
const FEW_SERIES = 24;

/** How long libraries get to let go of the process after the command is done. */
const END_WITHIN_MS = 2_000;

type Add = (program: Command, shell: Shell) => void | Promise<void>;

/** In the order of the help; each adds the commands it names. */
const COMMANDS: readonly { names: readonly string[]; add: Add }[] = [
  {
    names: ["demo"],
    add: async (program, shell) => {
      const { addDemo } = await import("./demo/command.ts");
      addDemo(program, shell, RUN);
    },
  },
  { names: ["coordinator", "agent"], add: addDaemons },
  { names: ["join"], add: addJoining },
  {
    names: ["apply"],
    add: async (program, shell) => {
      const { addApply } = await import("../coordinator/cli/apply.ts");
      addApply(program, shell, DECLARE);
    },
  },
  {
    names: ["publish"],
    add: async (program, shell) => {
      const { addPublish } = await import("../agent/cli/artifacts.ts");
      addPublish(program, shell, DECLARE, async (...wish) => {
        const { startFollowing } = await import("../coordinator/cli/follow.ts");
        await startFollowing(...wish);
      });
    },
  },
  {
    names: ["follow"],
    add: async (program, shell) => {
      const { addFollow } = await import("../coordinator/cli/follow.ts");
      addFollow(program, shell, DECLARE);
    },
  },
  {
    names: ["stage"],
    add: async (program, shell) => {
      const { addStage } = await import("../coordinator/cli/stage.ts");
      addStage(program, shell, DECLARE);
    },
  },
  {
    names: ["stages"],
    add: async (program, shell) => {
      const { addStages } = await import("../coordinator/cli/stages.ts");
      addStages(program, shell, DECLARE);
    },
  },
  {
    names: ["get"],
    add: async (program, shell) => {
      const { addGet } = await import("../agent/cli/artifacts.ts");
      addGet(program, shell, DECLARE);
    },
  },
  {
    names: ["status", "hosts", "top", "doctor"],
    add: async (program, shell) => {
      const { addFleet } = await import("../coordinator/cli/fleet.ts");
      addFleet(program, shell, SEE);
    },
  },
  {
    names: ["plan", "why"],
    add: async (program, shell) => {
      const { addPlan } = await import("../coordinator/cli/plan.ts");
      addPlan(program, shell, SEE);
    },
  },
  { names: ["forecast"], add: addForecasts },
  { names: ["backtest"], add: addBacktests },
  {
    names: ["signals", "events"],
    add: async (program, shell) => {
      const { addSignals } = await import("../coordinator/cli/signals.ts");
      addSignals(program, shell, SEE);
    },
  },
  {
    names: ["models"],
    add: async (program, shell) => {
      const { addModels } = await import("../coordinator/cli/models.ts");
      addModels(program, shell, SEE);
    },
  },
  {
    names: ["budgets"],
    add: async (program, shell) => {
      const { addBudgets } = await import("../coordinator/cli/budgets.ts");
      addBudgets(program, shell, SEE);
    },
  },
  {
    names: ["pause", "resume"],
    add: async (program, shell) => {
      const { addControl } = await import("../coordinator/cli/control.ts");
      addControl(program, shell, CONTROL);
    },
  },
  { names: ["import"], add: addImports },
  {
    names: ["publisher-key"],
    add: async (program, shell) => {
      const { addPublisherKey } = await import("../agent/cli/publisher-key.ts");
      addPublisherKey(program, shell, TRUST);
    },
  },
  {
    names: ["publishers"],
    add: async (program, shell) => {
      const { addPublishers } = await import("../coordinator/cli/publishers.ts");
      addPublishers(program, shell, TRUST);
    },
  },
  {
    names: ["join-token", "token", "audit"],
    add: async (program, shell) => {
      const { addTrust } = await import("../coordinator/cli/trust.ts");
      addTrust(program, shell, TRUST);
    },
  },
];

/** The program with the one command that is named, or with all; the version needs none. */
export async function buildProgram(shell: Shell, name?: string): Promise<Command> {
  const program = new Command("prestage")
    .description(
      "Has the data, the code and the warm capacity on a host before the request for it arrives.",
    )
    .version(softwareVersion(), VERSION_FLAGS.join(", "))
    .configureOutput({ writeOut: shell.terminal.out, writeErr: shell.terminal.err })
    .configureHelp({ showGlobalOptions: false, sortSubcommands: false })
    .enablePositionalOptions() // `publish --version V` is not the program's
    .showHelpAfterError("(add --help for what it takes)")
    .exitOverride();
  const named = COMMANDS.filter(({ names }) => name !== undefined && names.includes(name));
  if (name !== undefined && VERSION_FLAGS.includes(name)) return program;
  for (const { add } of named.length > 0 ? named : COMMANDS) await add(program, shell);
  return program;
}

async function addJoining(program: Command, shell: Shell): Promise<void> {
  const { addJoin } = await import("../agent/cli/join.ts");
  addJoin(program, shell, RUN, {
    enroll: async (options) => {
      const { enroll } = await import("../agent/trust/enroll.ts");
      await enroll({ ...options, clock: shell.clock });
      // Only to have its code in the cache: the agent's first start is then as light as any.
      await import("../agent/main.ts");
    },
  });
}

async function addForecasts(program: Command, shell: Shell): Promise<void> {
  const { addForecast } = await import("../coordinator/cli/forecast.ts");
  addForecast(program, shell, SEE, async () => {
    const { forecastFiles } = await import("../coordinator/forecasting.ts");
    return (files, ...asked) => {
      if (files.length <= FEW_SERIES) compileBriefly();
      return forecastFiles(files, ...asked);
    };
  });
}

async function addBacktests(program: Command, shell: Shell): Promise<void> {
  const { addBacktest } = await import("../coordinator/cli/backtest.ts");
  addBacktest(program, shell, SEE, async () => {
    const { DEFAULT_POLICIES, runBacktest } = await import("../coordinator/backtesting.ts");
    return { policies: DEFAULT_POLICIES, run: runBacktest };
  });
}

async function addImports(program: Command, shell: Shell): Promise<void> {
  const { addImport } = await import("../coordinator/cli/import.ts");
  addImport(program, shell, CONTROL, {
    find: async (patterns) => {
      const { findFiles } = await import("../coordinator/recordings.ts");
      return findFiles(patterns);
    },
    files: async (options, { terminal, clock, signal }) => {
      const { openFiles } = await import("../coordinator/recordings.ts");
      return openFiles({ ...options, stdin: terminal.stdin, nowMs: clock.now(), signal });
    },
    prometheus: async (settings, { clock, signal }) => {
      const { openPrometheus } = await import("../coordinator/prometheus-input.ts");
      const { systemRandom } = await import("../shared/runtime/random.ts");
      return openPrometheus(settings, { clock, random: systemRandom(), signal });
    },
  });
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
      const { loadLean } = await import("../shared/runtime/memory.ts");
      const { runCoordinator } = await loadLean(() => import("../coordinator/main.ts"));
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
      const { collectSeldom, loadLean } = await import("../shared/runtime/memory.ts");
      collectSeldom();
      const { runAgent } = await loadLean(() => import("../agent/main.ts"));
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
  const program = await buildProgram(shell, shell.terminal.args[0]);
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

/** The whole of a process. */
export async function main(): Promise<void> {
  const terminal = processTerminal();
  await runProgram({ terminal, clock: terminalClock });
  endWithin(END_WITHIN_MS);
}

if (import.meta.main) await main();
