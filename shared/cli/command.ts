/**
 * What every command of `prestage` does alike: `--json`, an error that says what to do on stderr,
 * an honest exit code, a progress bar when a person waits. The command itself is a function of a
 * `Call` and knows nothing of processes.
 */
import type { Command } from "commander";
import { ERRORS, PrestageError } from "../errors.ts";
import type { Clock } from "../runtime/clock.ts";
import { type Progress, progressBar } from "../runtime/progress.ts";
import { Interrupted, type Terminal } from "../runtime/terminal.ts";

export type Shell = { terminal: Terminal; clock: Clock };

export type Call<Options> = {
  options: Options;
  /** Positional arguments in order; a missing optional one is "". */
  arg: (index: number) => string;
  /** A positional argument that takes several. */
  args: (index: number) => string[];
  terminal: Terminal;
  clock: Clock;
  /** Aborts on Ctrl-C. */
  signal: AbortSignal;
  json: boolean;
  /** Prints the one result: as JSON with `--json`, else as `text` makes it. */
  show(value: unknown, text: () => string): void;
  progress(label: string): Progress;
};

/** Exit code of a bug: not in the table of operating failures. */
const BUG_EXIT = 70;

/**
 * Adds a command whose work is `run`. `examples` are shown below its help: a command line, then
 * what it does.
 */
export function addCommand<Options extends object = object>(
  parent: Command,
  shell: Shell,
  spec: {
    usage: string;
    group?: string;
    /** What the parent runs when no subcommand is named. */
    isDefault?: boolean;
    summary: string;
    /** Default: the summary. */
    description?: string;
    examples?: [command: string, what: string][];
    setup?: (command: Command) => void;
    run: (call: Call<Options>) => Promise<void>;
  },
): Command {
  const command = parent
    .command(spec.usage, { isDefault: spec.isDefault === true })
    .summary(spec.summary);
  command.description(spec.description ?? `${spec.summary}.`);
  if (spec.group) command.helpGroup(spec.group);
  spec.setup?.(command);
  command.option("--json", "print the result as JSON on stdout");
  if (spec.examples) command.addHelpText("after", exampleText(spec.examples));
  return command.action(async () => {
    const options = command.opts<Options & { json?: boolean }>();
    await runCall(shell, options.json === true, async (json) => {
      await spec.run({
        options,
        arg: (index) => command.processedArgs[index] ?? "",
        args: (index) => command.processedArgs[index] ?? [],
        terminal: shell.terminal,
        clock: shell.clock,
        signal: shell.terminal.interrupted,
        json,
        show: (value, text) =>
          shell.terminal.out(json ? `${JSON.stringify(value, null, 2)}\n` : text()),
        progress: (label) => progressBar(shell.terminal, shell.clock, label),
      });
    });
  });
}

function exampleText(examples: [string, string][]): string {
  const lines = examples.map(([command, what]) => `  $ ${command}\n      ${what}`);
  return `\nExamples:\n${lines.join("\n")}`;
}

async function runCall(
  { terminal }: Shell,
  json: boolean,
  run: (json: boolean) => Promise<void>,
): Promise<void> {
  try {
    await run(json);
  } catch (cause) {
    reportFailure(terminal, cause, json);
  }
}

/** Says what went wrong and what to do, and sets the exit code. */
export function reportFailure(terminal: Terminal, cause: unknown, json: boolean): void {
  const interrupted = terminal.interrupted.aborted ? terminal.interrupted.reason : undefined;
  if (interrupted instanceof Interrupted) {
    terminal.setExit(interrupted.exit);
    return;
  }
  const failure = failureOf(cause);
  if (json) terminal.out(`${JSON.stringify({ error: failure }, null, 2)}\n`);
  terminal.err(`prestage: ${failure.message}\n`);
  if (failure.remedy) terminal.err(`  ${failure.remedy}\n`);
  if (failure.code === "BUG")
    for (let error = cause; error instanceof Error; error = error.cause)
      terminal.err(`${error.stack ?? error.message}\n`);
  terminal.setExit(exitOf(failure.code));
}

export type Failure = {
  code: string;
  message: string;
  remedy: string;
  details: Record<string, unknown>;
};

type ListenError = Error & { code: string; address?: string; port?: number };
const LISTEN_PROBLEMS: Record<string, string> = {
  EADDRINUSE: "another process has it",
  EADDRNOTAVAIL: "this machine has no such address",
  EACCES: "this user may not",
};

/** What Node throws when a server cannot take its address. */
function isListenError(error: Error): error is ListenError {
  return "syscall" in error && (error.syscall === "listen" || error.syscall === "bind");
}

/** What a person and a machine are told of a failure; a bug gets the code `BUG`. */
export function failureOf(cause: unknown): Failure {
  for (let error = cause; error instanceof Error; error = error.cause) {
    if (error instanceof PrestageError) {
      const { code, message, remedy, details } = error;
      return { code, message, remedy, details };
    }
    if (isListenError(error)) {
      const { code: why, address = "?", port = "?" } = error;
      const message = `cannot listen on ${address}:${port}: ${LISTEN_PROBLEMS[why] ?? why}`;
      const { remedy } = ERRORS.ADDRESS_UNUSABLE;
      return { code: "ADDRESS_UNUSABLE", message, remedy, details: { address, port, why } };
    }
  }
  const message = cause instanceof Error ? cause.message : String(cause);
  return {
    code: "BUG",
    message,
    remedy: "This is a bug of Prestage: please report it.",
    details: {},
  };
}

export function exitOf(code: string): number {
  return code in ERRORS ? ERRORS[code as keyof typeof ERRORS].exit : BUG_EXIT;
}
