/**
 * A user's model in a process of its own: onnxruntime computes in native code, where only killing
 * the process ends a model that never stops, grows without end, or crashes. A thread was refused:
 * it can neither be killed in native code nor be kept from taking the coordinator down.
 */
import { type ChildProcess, fork } from "node:child_process";
import { readFile } from "node:fs/promises";
import { PrestageError } from "../../../shared/errors.ts";
import { assert } from "../../../shared/runtime/assert.ts";
import type { Clock } from "../../../shared/runtime/clock.ts";
import { checkAnswer, checkDeclared, type ModelShape, trialPast } from "./contract.ts";
import type { Answer, Question } from "./main.ts";

export type ProcessLimits = {
  openMs: number;
  /** For all rows of one question. */
  answerMs: number;
  /** Resident memory; watched on Linux only. */
  memoryBytes: number;
};
export const LIMITS: ProcessLimits = { openMs: 20_000, answerMs: 5_000, memoryBytes: 512 << 20 };
const WATCH_MS = 100;
const TRIAL_ROWS = 3;

export class ModelProcess {
  readonly #clock: Clock;
  readonly #limits: ProcessLimits;
  #child: ChildProcess | null = null;
  #shape: ModelShape | null = null;
  #asking = false;

  constructor(clock: Clock, limits: Partial<ProcessLimits> = {}) {
    this.#clock = clock;
    this.#limits = { ...LIMITS, ...limits };
  }

  get open(): boolean {
    return this.#child !== null && this.#shape !== null;
  }

  /**
   * Starts the process, loads the model, checks what it declares and tries it. Throws USAGE with
   * what is not as expected, TIMEOUT, or TOO_LARGE for its memory; the process has then ended.
   */
  async start(model: Uint8Array): Promise<ModelShape> {
    assert(!this.#child, "a model process starts once");
    // Nothing of the coordinator's environment, and so no secret, reaches the process.
    const child = fork(new URL("./main.ts", import.meta.url), {
      serialization: "advanced",
      stdio: ["ignore", "ignore", "ignore", "ipc"],
      env: {},
      execArgv: ["--max-old-space-size=64"],
    });
    this.#child = child;
    try {
      const opened = await this.#ask({ kind: "open", model }, this.#limits.openMs);
      assert(opened.ok && opened.kind === "open", "a model that opens says what it declares");
      this.#shape = checkDeclared(opened.inputs, opened.outputs);
      await this.#try();
      return this.#shape;
    } catch (cause) {
      this.stop();
      throw cause;
    }
  }

  /** Per series the quantiles of the next `horizon` bins, row by row. */
  async forecast(pasts: readonly Float32Array[]): Promise<Float64Array[]> {
    const shape = this.#shape;
    assert(shape, "a model that forecasts was started");
    const answers: Float64Array[] = [];
    const rowsMax = shape.batches ? pasts.length : 1;
    for (let at = 0; at < pasts.length; at += rowsMax) {
      const rows = pasts.slice(at, at + rowsMax);
      const past = new Float32Array(rows.length * shape.context);
      for (const [row, values] of rows.entries()) past.set(values, row * shape.context);
      answers.push(...(await this.#run(past, rows.length, shape)));
    }
    return answers;
  }

  stop(): void {
    this.#child?.kill("SIGKILL");
    this.#child = null;
    this.#shape = null;
  }

  async #try(): Promise<void> {
    const shape = this.#shape;
    assert(shape, "a model that is tried was checked");
    const rows = shape.batches ? TRIAL_ROWS : 1;
    await this.#run(trialPast(rows, shape), rows, shape);
  }

  async #run(past: Float32Array, rows: number, shape: ModelShape): Promise<Float64Array[]> {
    const question = { kind: "run", past, rows, context: shape.context } as const;
    const answer = await this.#ask(question, this.#limits.answerMs);
    assert(answer.ok && answer.kind === "run", "a question is answered in kind");
    const checked = checkAnswer(answer.quantiles, rows, shape);
    if (checked) return checked;
    throw new PrestageError(
      "USAGE",
      `for ${rows} daily waves or counts the model gave ${answer.quantiles.length} numbers of ` +
        `which some are not finite, or not ${rows} × ${shape.horizon} × levels of them`,
    );
  }

  /** One at a time. What goes wrong ends the process. */
  async #ask(question: Question, limitMs: number): Promise<Answer & { ok: true }> {
    const child = this.#child;
    assert(child && !this.#asking, "a running model is asked one thing at a time");
    this.#asking = true;
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const late = this.#clock.after(limitMs, () =>
      reject(new PrestageError("TIMEOUT", `the model took over ${limitMs} ms`)),
    );
    const ended = () => reject(new PrestageError("USAGE", "the model's process ended by itself"));
    child.once("message", (answer) => resolve(answer as Answer));
    child.once("error", reject);
    child.once("exit", ended);
    const watch = new AbortController();
    const watched = this.#watch(child, watch.signal, reject);
    try {
      child.send(question);
      const answer = await promise;
      if (!answer.ok) throw new PrestageError("USAGE", answer.message);
      return answer;
    } catch (cause) {
      this.stop();
      throw cause;
    } finally {
      this.#asking = false;
      late();
      watch.abort();
      await watched;
      child.removeAllListeners();
      // An error event without a listener would end the coordinator.
      child.on("error", () => {});
    }
  }

  async #watch(
    { pid }: ChildProcess,
    signal: AbortSignal,
    reject: (cause: PrestageError) => void,
  ): Promise<void> {
    const { memoryBytes } = this.#limits;
    while (!signal.aborted) {
      const bytes = await residentBytes(pid);
      if (bytes > memoryBytes)
        reject(
          new PrestageError("TOO_LARGE", `the model took over ${memoryBytes} bytes of memory`),
        );
      await this.#clock.sleep(WATCH_MS, { signal }).catch((cause: unknown) => {
        if (!signal.aborted) throw cause;
      });
    }
  }
}

/** 0 where it cannot be known. */
async function residentBytes(pid: number | undefined): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  return 1024 * Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0);
}
