/**
 * Other programs (git, rsync) as the sources run them: without a shell, with an environment of
 * their own, ended when they fall silent or nobody waits any more.
 */
import { type ChildProcess, spawn } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { PrestageError } from "../../shared/errors.ts";
import type { Clock } from "../../shared/runtime/clock.ts";

export type ProgramRun = {
  name: string;
  args: readonly string[];
  env: Record<string, string>;
  cwd?: string;
  /** Written to its standard input, which is then closed. */
  input?: string;
  /** A file opened for writing that takes its standard output. */
  outputFd?: number;
  /** Silence on both outputs after which it counts as stuck; null: it has a limit of its own. */
  stallMs: number | null;
  signal: AbortSignal;
};
export type Ended = { code: number | null; output: Buffer; said: string };

const END_WITHIN_MS = 2_000;
const OUTPUT_BYTES_MAX = 64 << 20;
const SAID_MAX = 4_000;

export class Programs {
  readonly #clock: Clock;
  readonly #env: Record<string, string>;

  /** `env`: what every program gets, such as PATH and HOME. */
  constructor(clock: Clock, env: Record<string, string>) {
    this.#clock = clock;
    this.#env = env;
  }

  /**
   * Runs it to its end, whatever that is. Throws UNAVAILABLE when it is not installed, TIMEOUT
   * when it fell silent, TOO_LARGE when it prints without end, the signal's reason.
   */
  async run(run: ProgramRun): Promise<Ended> {
    const child = this.#spawn(run);
    const parts: Buffer[] = [];
    let bytes = 0;
    child.stdout?.on("data", (part: Buffer) => {
      bytes += part.length;
      if (bytes > OUTPUT_BYTES_MAX) child.kill("SIGKILL");
      else parts.push(part);
    });
    child.stdin?.end(run.input ?? "");
    const { code, said } = await this.#ended(child, run, run.stallMs);
    if (bytes > OUTPUT_BYTES_MAX)
      throw new PrestageError("TOO_LARGE", `${run.name} lists over ${OUTPUT_BYTES_MAX} bytes`);
    return { code, output: Buffer.concat(parts), said };
  }

  /** Starts it for a conversation, whose pace is its user's; `stop` ends it. */
  talk(run: Omit<ProgramRun, "input" | "outputFd" | "stallMs">): {
    input: Writable;
    output: Readable;
    stop(): Promise<{ said: string }>;
  } {
    const child = this.#spawn(run);
    const ended = this.#ended(child, run, null);
    ended.catch(() => null); // `stop` throws the same
    const { stdin, stdout } = child;
    if (!stdin || !stdout) throw new PrestageError("INTERNAL", `${run.name} has no pipes`);
    return {
      input: stdin,
      output: stdout,
      stop: () => {
        child.kill("SIGKILL");
        stdout.destroy(); // what nobody reads any more would keep it from closing
        return ended;
      },
    };
  }

  #spawn({ name, args, env, cwd, outputFd }: Omit<ProgramRun, "stallMs">): ChildProcess {
    const child = spawn(name, [...args], {
      cwd,
      env: { ...this.#env, ...env },
      stdio: ["pipe", outputFd ?? "pipe", "pipe"],
    });
    child.stdin?.on("error", () => null); // it ended before it read all: its exit code tells
    return child;
  }

  #ended(
    child: ChildProcess,
    { name, signal }: Pick<ProgramRun, "name" | "signal">,
    stallMs: number | null,
  ): Promise<{ code: number | null; said: string }> {
    let said = "";
    let stalled = false;
    let force = () => {};
    // git and rsync clean up behind them when they are asked to end.
    const end = () => {
      child.kill("SIGTERM");
      force = this.#clock.after(END_WITHIN_MS, () => child.kill("SIGKILL"));
    };
    const watch = () => {
      if (stallMs === null) return () => {};
      return this.#clock.after(stallMs, () => {
        stalled = true;
        end();
      });
    };
    let cancel = watch();
    const alive = () => {
      cancel();
      cancel = watch();
    };
    if (stallMs !== null) child.stdout?.on("data", alive);
    child.stderr?.on("data", (text: Buffer) => {
      alive();
      said = (said + text.toString("utf8")).slice(-SAID_MAX);
    });
    signal.addEventListener("abort", end, { once: true });
    if (signal.aborted) end();
    return new Promise<{ code: number | null; said: string }>((resolve, reject) => {
      child.once("error", (cause) => reject(notStarted(name, cause)));
      child.once("close", (code) => {
        if (signal.aborted) reject(signal.reason);
        else if (stalled)
          reject(new PrestageError("TIMEOUT", `${name} heard nothing for too long`));
        else resolve({ code, said });
      });
    }).finally(() => {
      cancel();
      force();
      signal.removeEventListener("abort", end);
    });
  }
}

function notStarted(name: string, cause: NodeJS.ErrnoException): PrestageError {
  if (cause.code !== "ENOENT")
    return new PrestageError("UNAVAILABLE", `${name} cannot be started`, { cause });
  return new PrestageError("UNAVAILABLE", `${name} is not installed on this host`, {
    cause,
    remedy: `Install ${name}, or publish from a host that has it.`,
  });
}
