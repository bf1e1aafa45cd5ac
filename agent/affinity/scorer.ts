/**
 * This host's score for each application: what the shipped model says of the live metrics, moved
 * at once by what requests really took. Without a model the documented prior is the score.
 */
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import {
  type AffinityInput,
  AffinityModelMeta,
  FEATURES,
  featureVector,
  META_FILE,
  MODEL_BYTES_MAX,
  MODEL_FILE,
  priorGoodness,
} from "../../shared/affinity.ts";
import {
  corrected,
  emptyRecord,
  fadedTo,
  type LatencyRecord,
  observed,
} from "../../shared/affinity-correction.ts";
import type { AffinityScore } from "../../shared/domain.ts";
import { PrestageError } from "../../shared/errors.ts";
import type { Clock } from "../../shared/runtime/clock.ts";
import type { Log } from "../../shared/runtime/log.ts";
import { ModelSession } from "./session.ts";

/** Live metrics for one application; what requests took is remembered here. */
export type ScoreInput = { workload: string } & Omit<AffinityInput, "latencyRatio" | "failures">;

/** Applications remembered; the longest unseen goes first. */
const RECORDS_MAX = 10_000;
/** How far the model's answer to its own check may be off. */
const CHECK_TOLERANCE = 1e-4;

type Model = { version: number; session: ModelSession };

export class AffinityScorer {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #records = new Map<string, LatencyRecord>();
  readonly #running = new Set<Promise<unknown>>();
  #model: Model | null = null;

  constructor(deps: { clock: Clock; log: Log }) {
    this.#clock = deps.clock;
    this.#log = deps.log;
  }

  /** 0 while the prior is the model. */
  get modelVersion(): number {
    return this.#model?.version ?? 0;
  }

  /** Takes the model in an activated artifact tree; see `load`. */
  async loadFrom(dir: string): Promise<void> {
    const onnx = await readBounded(join(dir, MODEL_FILE));
    const text = (await readBounded(join(dir, META_FILE))).toString("utf8");
    await this.load(onnx, parseMeta(text));
  }

  /**
   * Takes a model once it has proved itself on its own check. Throws CORRUPT, and keeps the one it
   * has, when the model is for other features, cannot run or computes something else.
   */
  async load(onnx: Uint8Array, meta: AffinityModelMeta): Promise<void> {
    if (meta.features.join() !== FEATURES.join())
      throw corrupt("the affinity model is made for other features", { features: meta.features });
    const session = await ModelSession.open(onnx).catch((cause: unknown) => {
      throw corrupt("the affinity model cannot be opened", {}, cause);
    });
    const [score] = await session.score([meta.check.features]).catch(() => []);
    if (score === undefined || !(Math.abs(score - meta.check.score) <= CHECK_TOLERANCE)) {
      await session.close();
      throw corrupt("the affinity model fails its own check", { score, check: meta.check });
    }
    const old = this.#model;
    this.#model = { version: meta.version, session };
    this.#log.info({ version: meta.version }, "affinity model in use");
    await this.#release(old);
  }

  /** The model's score for each feature vector, before any correction. */
  async score(rows: readonly ArrayLike<number>[]): Promise<number[]> {
    const model = this.#model;
    if (model === null) return rows.map((row) => priorGoodness(Array.from(row)));
    const run = model.session.score(rows);
    this.#running.add(run);
    return run.finally(() => this.#running.delete(run));
  }

  /**
   * Tells what a request that found a warm environment took, so that the next score shows it.
   * `expectedMs` null compares with this host's own past.
   */
  observeLatency(
    workload: string,
    expectedMs: number | null,
    actualMs: number,
    failed = false,
  ): void {
    const nowMs = this.#clock.monotonic();
    const record = this.#records.get(workload) ?? emptyRecord(nowMs);
    this.#records.delete(workload);
    this.#records.set(
      workload,
      observed(record, { latencyMs: actualMs, expectedMs, failed }, nowMs),
    );
    if (this.#records.size <= RECORDS_MAX) return;
    const [oldest] = this.#records.keys();
    if (oldest !== undefined) this.#records.delete(oldest);
  }

  /** Score of each application on this host now. */
  async scores(inputs: readonly ScoreInput[]): Promise<AffinityScore[]> {
    const nowMs = this.#clock.monotonic();
    const rows = inputs.map((input) => {
      const record = fadedTo(this.#records.get(input.workload) ?? emptyRecord(nowMs), nowMs);
      const latencyRatio = 2 ** record.log2Ratio;
      const features = featureVector({ ...input, latencyRatio, failures: record.failures });
      return { workload: input.workload, features, record };
    });
    const modelVersion = this.modelVersion;
    const scores = await this.score(rows.map((row) => row.features));
    return rows.map(({ workload, record }, i) => ({
      workload,
      modelVersion,
      ...corrected(Math.min(1, Math.max(0, scores[i] ?? 0)), record),
    }));
  }

  /** Frees the native session; the prior is the model again. */
  async close(): Promise<void> {
    const old = this.#model;
    this.#model = null;
    await this.#release(old);
  }

  async #release(model: Model | null): Promise<void> {
    await Promise.allSettled(this.#running);
    await model?.session.close();
  }
}

async function readBounded(file: string): Promise<Buffer> {
  const { size } = await stat(file).catch((cause: unknown) => {
    throw corrupt("the affinity artifact lacks a file", { file }, cause);
  });
  if (size > MODEL_BYTES_MAX)
    throw new PrestageError("TOO_LARGE", "an affinity model this large is refused", {
      details: { file, bytes: size, bytesMax: MODEL_BYTES_MAX },
    });
  return readFile(file);
}

function parseMeta(text: string): AffinityModelMeta {
  try {
    return AffinityModelMeta.parse(JSON.parse(text));
  } catch (cause) {
    throw corrupt("the affinity model's description cannot be read", {}, cause);
  }
}

function corrupt(
  message: string,
  details: Record<string, unknown>,
  cause?: unknown,
): PrestageError {
  return new PrestageError("CORRUPT", message, { details, cause });
}
