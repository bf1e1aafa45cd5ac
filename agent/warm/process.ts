/**
 * The driver `process`: an environment is a command on this host that answers HTTP on a port of the
 * loopback it is given. Each runs in its own process group, which ends as a whole; its id travels
 * in its variables and in a record on disk, so that a later agent finds what this one left behind.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdir, rm } from "node:fs/promises";
import { get } from "node:http";
import { createServer } from "node:net";
import { join } from "node:path";
import { PrestageError } from "../../shared/errors.ts";
import type { Clock } from "../../shared/runtime/clock.ts";
import type { Log } from "../../shared/runtime/log.ts";
import { sendSignal } from "../../shared/runtime/signal.ts";
import type { Workload } from "../../shared/workload.ts";
import type { Driver, Exit, LaunchSpec, Running } from "./driver.ts";
import { ENVIRONMENT_VARIABLE, EnvironmentRecords, sweep } from "./orphans.ts";
import { OutputTail } from "./output-tail.ts";

const LOOPBACK = "127.0.0.1";
const PROBE_MS = 1000;

export type ProcessDriverDeps = { clock: Clock; log: Log };

export type ProcessDriverOptions = {
  /** For records and working folders of environments; kept between runs of the agent. */
  dir: string;
  /** Variables every environment gets, such as PATH; the agent's own are not passed on. */
  baseEnv: Record<string, string>;
  /** From asking to forcing when a launch is given up. Default 500 ms. */
  abortGraceMs?: number;
};

export class ProcessDriver implements Driver {
  readonly #deps: ProcessDriverDeps;
  readonly #options: Required<ProcessDriverOptions>;
  readonly #records: EnvironmentRecords;
  /** Ports handed out and not yet given back. */
  readonly #ports = new Set<number>();

  constructor(deps: ProcessDriverDeps, options: ProcessDriverOptions) {
    this.#deps = deps;
    this.#options = { abortGraceMs: 500, ...options };
    this.#records = new EnvironmentRecords(join(options.dir, "environments"));
  }

  async recover(): Promise<number> {
    const ended = await this.#records.recover(this.#deps.clock);
    await rm(join(this.#options.dir, "work"), { recursive: true, force: true });
    return ended;
  }

  async launch(spec: LaunchSpec, { signal }: { signal: AbortSignal }): Promise<Running> {
    signal.throwIfAborted();
    const work = join(this.#options.dir, "work", spec.id);
    await this.#records.open(spec.id);
    await mkdir(work, { recursive: true, mode: 0o700 });
    const port = await this.#takePort();
    const gone = async () => {
      this.#ports.delete(port);
      await rm(work, { recursive: true, force: true });
      await this.#records.close(spec.id);
    };
    let child: ChildProcess;
    try {
      child = this.#spawn(spec, port, work);
    } catch (cause) {
      await gone();
      throw cause;
    }
    const one = new RunningProcess(child, port, spec.id, { ...this.#deps, gone });
    try {
      if (child.pid !== undefined) await this.#records.started(spec.id, child.pid);
      await this.#untilReady(one, spec, signal);
      return one;
    } catch (cause) {
      await one.stop(this.#options.abortGraceMs);
      throw cause;
    }
  }

  #spawn(spec: LaunchSpec, port: number, work: string): ChildProcess {
    const { command, env } = spec.workload.environment;
    const fill = (text: string) => fillIn(text, spec, port);
    const [program, ...args] = command.map(fill);
    if (program === undefined) throw new PrestageError("CONFIG_INVALID", "the command is empty");
    const given = Object.entries(env).map(([name, value]) => [name, fill(value)] as const);
    return spawn(program, args, {
      cwd: work,
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
      env: {
        ...this.#options.baseEnv,
        PORT: String(port),
        ...Object.fromEntries(given),
        [ENVIRONMENT_VARIABLE]: spec.id,
      },
    });
  }

  /** A free port of the loopback. Another program may take it first; then the launch fails. */
  async #takePort(): Promise<number> {
    for (;;) {
      const server = createServer();
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      server.once("error", reject);
      server.listen(0, LOOPBACK, resolve);
      await promise;
      const address = server.address();
      const closed = Promise.withResolvers<void>();
      server.close(() => closed.resolve());
      await closed.promise;
      if (address === null || typeof address === "string" || this.#ports.has(address.port))
        continue;
      this.#ports.add(address.port);
      return address.port;
    }
  }

  async #untilReady(one: RunningProcess, spec: LaunchSpec, signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps;
    const { path, timeoutMs, intervalMs } = spec.workload.environment.readiness;
    const deadlineMs = clock.monotonic() + timeoutMs;
    let last = "no answer yet";
    for (;;) {
      signal.throwIfAborted();
      if (one.exit) throw one.failed(`ended before it was ready (${describe(one.exit)})`);
      const probe = await probeOnce(one.port, path);
      if (probe.ready) return;
      last = probe.detail;
      if (clock.monotonic() >= deadlineMs)
        throw one.failed(`not ready within ${timeoutMs} ms: GET ${path}: ${last}`);
      await Promise.race([clock.sleep(intervalMs, { signal }), one.ended]);
    }
  }
}

type RunningDeps = ProcessDriverDeps & { gone(): Promise<void> };

class RunningProcess implements Running {
  readonly port: number;
  readonly exited: Promise<Exit>;
  /** Settles when the first process ended; what it started may still be there. */
  readonly ended: Promise<Exit>;
  exit: Exit | null = null;
  readonly #child: ChildProcess;
  readonly #id: string;
  readonly #deps: RunningDeps;
  readonly #output = new OutputTail(8192);
  #stopping: Promise<void> | null = null;

  constructor(child: ChildProcess, port: number, id: string, deps: RunningDeps) {
    this.port = port;
    this.#child = child;
    this.#id = id;
    this.#deps = deps;
    child.stdout?.on("data", (chunk: Buffer) => this.#output.add(chunk));
    child.stderr?.on("data", (chunk: Buffer) => this.#output.add(chunk));
    const { promise, resolve } = Promise.withResolvers<Exit>();
    this.ended = promise;
    const end = (exit: Exit) => {
      this.exit ??= exit;
      resolve(this.exit);
    };
    child.once("exit", (code, signal) => end({ code, signal }));
    child.once("error", (cause) => {
      this.#output.add(Buffer.from(`${cause.message}\n`));
      // Without a pid it never ran; otherwise the exit is still to come.
      if (child.pid === undefined) end({ code: null, signal: cause.message });
    });
    this.exited = this.#cleanUp();
  }

  outputTail(): string {
    return this.#output.text();
  }

  failed(why: string): PrestageError {
    const details = { output: this.outputTail() };
    return new PrestageError("ENVIRONMENT_FAILED", `the process ${why}`, { details });
  }

  stop(graceMs: number): Promise<void> {
    this.#stopping ??= this.#stop(graceMs);
    return this.#stopping;
  }

  async #stop(graceMs: number): Promise<void> {
    this.#signalGroup("SIGTERM");
    const cancel = this.#deps.clock.after(graceMs, () => this.#signalGroup("SIGKILL"));
    await this.exited;
    cancel();
  }

  /** Only while our child holds the number: after its exit it may mean somebody else. */
  #signalGroup(signal: "SIGTERM" | "SIGKILL"): void {
    const { pid } = this.#child;
    if (pid !== undefined && !this.exit) sendSignal(-pid, signal);
  }

  /** Whether some process still is in our child's group, or in a stranger's of that number. */
  #groupLives(): boolean {
    return this.#child.pid !== undefined && sendSignal(-this.#child.pid, 0);
  }

  async #cleanUp(): Promise<Exit> {
    const exit = await this.ended;
    try {
      if (this.#groupLives()) await sweep(new Set([this.#id]), this.#deps.clock);
      await this.#deps.gone();
    } catch (cause) {
      this.#deps.log.warn({ environment: this.#id, err: cause }, "could not clear up after it");
    }
    // A survivor that holds the pipes must not hold us.
    this.#child.stdout?.destroy();
    this.#child.stderr?.destroy();
    return exit;
  }
}

/** `{artifact:AS}`, `{port}` and `{category}` replaced; an unknown artifact is an error. */
export function fillIn(
  text: string,
  spec: { workload: Workload; category: string; artifacts: Record<string, string> },
  port: number,
): string {
  return text.replace(/\{(port|category|artifact:([^}]*))\}/g, (_, word: string, as: string) => {
    if (word === "port") return String(port);
    if (word === "category") return spec.category;
    const path = spec.artifacts[as];
    if (path !== undefined) return path;
    throw new PrestageError(
      "CONFIG_INVALID",
      `{artifact:${as}}: no artifact is declared as ${as}`,
      {
        details: { workload: spec.workload.name, known: Object.keys(spec.artifacts) },
      },
    );
  });
}

function describe({ code, signal }: Exit): string {
  return code === null ? String(signal) : `exit code ${code}`;
}

function probeOnce(port: number, path: string): Promise<{ ready: boolean; detail: string }> {
  const { promise, resolve } = Promise.withResolvers<{ ready: boolean; detail: string }>();
  const request = get(
    {
      host: LOOPBACK,
      port,
      path,
      agent: false,
      timeout: PROBE_MS,
      headers: { "prestage-shadow": "1" },
    },
    (response) => {
      response.resume();
      const status = response.statusCode ?? 0;
      resolve({ ready: status >= 200 && status < 400, detail: `status ${status}` });
    },
  );
  request.on("timeout", () => request.destroy(new Error(`no answer in ${PROBE_MS} ms`)));
  request.on("error", (cause) => resolve({ ready: false, detail: cause.message }));
  return promise;
}
