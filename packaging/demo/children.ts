/**
 * The processes of a demo, none of which outlives it: each has its own process group and a pipe on
 * stdin whose end tells it to stop, whatever happened to the demo.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, existsSync, openSync, readFileSync } from "node:fs";
import { PrestageError } from "../../shared/errors.ts";
import type { Clock } from "../../shared/runtime/clock.ts";

export type Child = {
  readonly name: string;
  /** First line of its stdout; rejects when it ends before. Only with `firstLine`. */
  readonly firstLine: Promise<string>;
  /** Null while it runs. */
  readonly ended: () => { code: number | null; signal: NodeJS.Signals | null } | null;
  readonly handle: ChildProcess;
  readonly logFile: string;
};

const STOP_WITHIN_MS = 6_000;
const LOG_TAIL_CHARS = 1_500;

type Environment = Readonly<Record<string, string | undefined>>;

export class Children {
  readonly #clock: Clock;
  readonly #nodePath: string;
  readonly #env: Environment;
  readonly #running = new Set<Child>();

  constructor(deps: { clock: Clock; nodePath: string; env: Environment }) {
    this.#clock = deps.clock;
    this.#nodePath = deps.nodePath;
    this.#env = deps.env;
  }

  /** Starts `node ARGS`; its output goes to `logFile`, or its stdout to `firstLine`. */
  start(
    name: string,
    args: readonly string[],
    { logFile, firstLine = false }: { logFile: string; firstLine?: boolean },
  ): Child {
    const log = openSync(logFile, "a", 0o600);
    const child = spawn(this.#nodePath, args, {
      detached: true,
      env: this.#env,
      stdio: ["pipe", firstLine ? "pipe" : log, log],
    });
    closeSync(log);
    let ended: ReturnType<Child["ended"]> = null;
    const started: Child = {
      name,
      handle: child,
      logFile,
      ended: () => ended,
      firstLine: firstLine ? readFirstLine(name, child) : Promise.resolve(""),
    };
    this.#running.add(started);
    const end = (code: number | null, signal: NodeJS.Signals | null) => {
      ended = { code, signal };
      this.#running.delete(started);
    };
    child.once("exit", end);
    child.once("error", () => end(null, null));
    // A child that is gone closes its end of the pipe; that is no failure of ours.
    child.stdin?.on("error", () => {});
    return started;
  }

  /** Throws when one of the processes has ended by itself, with the end of its log. */
  check(children: readonly Child[]): void {
    for (const child of children) {
      const ended = child.ended();
      if (!ended) continue;
      const log = existsSync(child.logFile) ? readFileSync(child.logFile, "utf8") : "(no log)";
      const tail = log.slice(-LOG_TAIL_CHARS);
      throw new PrestageError(
        "ENVIRONMENT_FAILED",
        `the demo's ${child.name} ended (${ended.signal ?? `exit code ${ended.code}`}):\n${tail}`,
      );
    }
  }

  /** Asks them to stop, then makes them; resolves when they are gone. */
  async stop(children: readonly Child[] = [...this.#running]): Promise<void> {
    await Promise.all(children.map((child) => this.#stop(child)));
  }

  async #stop(child: Child): Promise<void> {
    if (child.ended()) return;
    const { promise: gone, resolve } = Promise.withResolvers<void>();
    child.handle.once("exit", () => resolve());
    child.handle.stdin?.end();
    child.handle.kill("SIGTERM");
    const cancel = this.#clock.after(STOP_WITHIN_MS, () => child.handle.kill("SIGKILL"));
    await gone;
    cancel();
  }
}

function readFirstLine(name: string, child: ChildProcess): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  let text = "";
  child.stdout?.setEncoding("utf8").on("data", (part: string) => {
    text += part;
    const end = text.indexOf("\n");
    if (end >= 0) resolve(text.slice(0, end));
  });
  child.once("exit", () => {
    reject(new PrestageError("ENVIRONMENT_FAILED", `the demo's ${name} ended at once`));
  });
  promise.catch(() => {});
  return promise;
}
