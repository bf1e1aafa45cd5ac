/**
 * Users' own models at work: each in its process, each asked once a minute for all series at once.
 * The answers are kept, so that forecasts never wait; a model that fails is asked no more.
 */
import { PrestageError } from "../../../shared/errors.ts";
import type { Clock } from "../../../shared/runtime/clock.ts";
import type { Log } from "../../../shared/runtime/log.ts";
import { LEVELS } from "../levels.ts";
import { filled } from "../recurrent/window.ts";
import type { ModelShape } from "./contract.ts";
import { ModelProcess, type ProcessLimits } from "./process.ts";

/** Each takes a process with onnxruntime in it: some 80 MB. */
export const MODELS_MAX = 4;
/** Series one question holds; the model's time limit is for that many. */
const ROWS_MAX = 256;
/** Older answers are for another time. */
const STALE_BINS_MAX = 5;

/** The end of a series: what comes next is asked for. */
export type Asked = { key: string; startMs: number; binMs: number; counts: Float64Array };
export type ModelState = { state: "ready" | "starting" | "failed"; error: string | null };

type Answers = { fromMs: number; binMs: number; rows: Map<string, Float64Array> };
type Running = {
  host: ModelProcess;
  shape: ModelShape;
  state: ModelState;
  answers: Answers | null;
};

export class ImportedModels {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #limits: Partial<ProcessLimits>;
  readonly #running = new Map<string, Running>();

  constructor(deps: { clock: Clock; log: Log }, limits: Partial<ProcessLimits> = {}) {
    this.#clock = deps.clock;
    this.#log = deps.log;
    this.#limits = limits;
  }

  /** Bins of past that the models look at. */
  get context(): number {
    return Math.max(0, ...[...this.#running.values()].map(({ shape }) => shape.context));
  }

  state(name: string): ModelState {
    return this.#running.get(name)?.state ?? { state: "starting", error: null };
  }

  /** Starts and checks a model; takes the place of one of the same name only when it is right. */
  async start(name: string, model: Uint8Array): Promise<ModelShape> {
    if (!this.#running.has(name) && this.#running.size >= MODELS_MAX)
      throw new PrestageError("TOO_LARGE", `there are ${MODELS_MAX} models already: remove one`);
    const host = new ModelProcess(this.#clock, this.#limits);
    const shape = await host.start(model);
    this.remove(name);
    const state: ModelState = { state: "ready", error: null };
    this.#running.set(name, { host, shape, state, answers: null });
    return shape;
  }

  /** A model that was right when it was added, but could not be started now. */
  failed(name: string, shape: ModelShape, cause: unknown): void {
    const host = new ModelProcess(this.#clock, this.#limits);
    const running: Running = {
      host,
      shape,
      state: { state: "ready", error: null },
      answers: null,
    };
    this.#running.set(name, running);
    this.#fail(name, running, cause);
  }

  remove(name: string): void {
    this.#running.get(name)?.host.stop();
    this.#running.delete(name);
  }

  close(): void {
    for (const name of [...this.#running.keys()]) this.remove(name);
  }

  /** Asks every model about every series that is long enough for it. */
  async ask(series: readonly Asked[]): Promise<void> {
    for (const [name, running] of this.#running) {
      if (running.state.state !== "ready") continue;
      try {
        running.answers = await answersFor(running, series);
      } catch (cause) {
        if (this.#running.get(name) === running) this.#fail(name, running, cause);
      }
    }
  }

  /**
   * What each model says of the bins from `startMs` on: rows of `LEVELS`. Nothing of a model that
   * has not been asked about this series lately.
   */
  outlook(key: string, startMs: number, binMs: number): Map<string, Float64Array> {
    const outlook = new Map<string, Float64Array>();
    for (const [name, { answers }] of this.#running) {
      const rows = answers?.rows.get(key);
      if (!answers || !rows || answers.binMs !== binMs) continue;
      const stale = (startMs - answers.fromMs) / binMs;
      if (!Number.isInteger(stale) || stale < 0 || stale > STALE_BINS_MAX) continue;
      outlook.set(name, rows.subarray(stale * LEVELS.length));
    }
    return outlook;
  }

  #fail(name: string, running: Running, cause: unknown): void {
    running.host.stop();
    running.answers = null;
    const error = cause instanceof Error ? cause.message : String(cause);
    running.state = { state: "failed", error };
    this.#log.error({ model: name, err: cause }, "a user's forecast model failed");
  }
}

async function answersFor(
  { host, shape }: Running,
  series: readonly Asked[],
): Promise<Answers | null> {
  const [first] = series;
  if (!first) return null;
  const { binMs } = first;
  const fromMs = first.startMs + first.counts.length * binMs;
  const rows = new Map<string, Float64Array>();
  const long = series.filter(({ counts }) => counts.length >= shape.context);
  for (let at = 0; at < long.length; at += ROWS_MAX) {
    const part = long.slice(at, at + ROWS_MAX);
    const pasts = part.map(({ counts }) =>
      Float32Array.from(filled(counts, binMs).subarray(counts.length - shape.context)),
    );
    const answers = await host.forecast(pasts);
    for (const [i, { key }] of part.entries()) rows.set(key, answers[i] ?? new Float64Array());
  }
  return { fromMs, binMs, rows };
}
