/**
 * The process as a value that is passed in: arguments, environment, streams, exit code and the
 * signals that mean "stop". Commands get this instead of touching `process`.
 */
import { homedir } from "node:os";
import type { Readable } from "node:stream";
import { systemClock } from "./clock.ts";

export type Terminal = {
  /** What stands after the program's name. */
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly home: string;
  /** The Node that runs this, to start the same for a child. */
  readonly nodePath: string;
  readonly stdin: Readable;
  /** For what draws on the terminal by itself (progress bars); text goes through `err`. */
  readonly stderr: NodeJS.WritableStream;
  /** People are looking: progress and colours make sense. */
  readonly outIsTty: boolean;
  readonly errIsTty: boolean;
  readonly columns: number;
  out(text: string): void;
  err(text: string): void;
  setExit(code: number): void;
  /** Ends a process at once; no failure when it is gone already. */
  kill(pid: number): void;
  /** Aborts at the first SIGINT, SIGTERM or SIGHUP. */
  readonly interrupted: AbortSignal;
};

/** Why `interrupted` aborted. */
export class Interrupted extends Error {
  override name = "Interrupted";
  readonly signal: NodeJS.Signals;

  constructor(signal: NodeJS.Signals) {
    super(`stopped by ${signal}`);
    this.signal = signal;
  }

  /** What a shell expects of a program that a signal ended. */
  get exit(): number {
    return 128 + { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 }[this.signal as "SIGINT"];
  }
}

/** The terminal of this process. Call it once, at the very start. */
export function processTerminal(): Terminal {
  // onnxruntime sends usage data to its maker unless this is set before it is loaded.
  process.env.ORT_DISABLE_TELEMETRY ??= "1";
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
    process.on(signal, () => stop.abort(new Interrupted(signal)));
  for (const stream of [process.stdout, process.stderr])
    stream.on("error", (cause: NodeJS.ErrnoException) => {
      if (cause.code !== "EPIPE") throw cause;
      stop.abort(new Interrupted("SIGHUP"));
    });
  return {
    args: process.argv.slice(2),
    env: process.env,
    home: homedir(),
    nodePath: process.execPath,
    // Opened when it is read: few commands do.
    get stdin() {
      return process.stdin;
    },
    stderr: process.stderr,
    outIsTty: process.stdout.isTTY === true,
    errIsTty: process.stderr.isTTY === true,
    columns: process.stdout.columns ?? 100,
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    setExit: (code) => {
      process.exitCode = code;
    },
    kill: (pid) => {
      try {
        process.kill(pid, "SIGKILL");
      } catch (cause) {
        if ((cause as NodeJS.ErrnoException).code !== "ESRCH") throw cause;
      }
    },
    interrupted: stop.signal,
  };
}

/**
 * Ends the process once its command is done, even when a library left a timer or socket behind
 * that would keep it: after `graceMs` of having nothing of ours to do.
 */
export function endWithin(graceMs: number): void {
  const timer = setTimeout(() => process.exit(), graceMs);
  timer.unref();
}

/** Aborts when the stream ends: a child that must not outlive the parent that holds its pipe. */
export function endOf(stream: Readable): AbortSignal {
  const ended = new AbortController();
  const abort = () => ended.abort(new Interrupted("SIGTERM"));
  for (const event of ["end", "close", "error"]) stream.once(event, abort);
  stream.resume();
  return ended.signal;
}

/** The clock commands wait and measure by. */
export const terminalClock = systemClock;
