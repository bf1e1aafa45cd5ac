/**
 * The affinity model in onnxruntime: its only importer on this side, loaded with the first model
 * because it brings tens of megabytes. One thread and no spinning keep an idle agent idle.
 */
import type { InferenceSession, Tensor } from "onnxruntime-node";
import { FEATURES } from "../../shared/affinity.ts";

export class ModelSession {
  readonly #session: InferenceSession;
  readonly #tensor: typeof Tensor;

  private constructor(session: InferenceSession, tensor: typeof Tensor) {
    this.#session = session;
    this.#tensor = tensor;
  }

  /** Rejects when the bytes are no model onnxruntime can run. */
  static async open(onnx: Uint8Array): Promise<ModelSession> {
    const runtime = await import("onnxruntime-node");
    const session = await runtime.InferenceSession.create(onnx, {
      executionProviders: ["cpu"],
      executionMode: "sequential",
      intraOpNumThreads: 1,
      interOpNumThreads: 1,
      enableCpuMemArena: false,
      extra: { session: { intra_op: { allow_spinning: "0" } } },
    });
    return new ModelSession(session, runtime.Tensor);
  }

  /** One score per row; each row is a vector of `FEATURES`. */
  async score(rows: readonly ArrayLike<number>[]): Promise<number[]> {
    if (rows.length === 0) return [];
    const flat = new Float32Array(rows.length * FEATURES.length);
    rows.forEach((row, i) => {
      flat.set(row, i * FEATURES.length);
    });
    const features = new this.#tensor("float32", flat, [rows.length, FEATURES.length]);
    const results = await this.#session.run({ features }, ["score"]);
    return Array.from(results.score?.data ?? [], Number);
  }

  close(): Promise<void> {
    return this.#session.release();
  }
}
